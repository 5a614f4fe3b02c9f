//! What the gateway matched is what nginx, Django and PHP behind it route.

use crate::{
    differential::{App, compare},
    harness::Dir,
};
use std::process::Command;

#[test]
fn nginx_routes_what_was_matched() {
    let dir = Dir::new();
    let app = App::start("nginx", |address| {
        let text = include_str!("nginx/nginx.conf").replace("PORT", &address.port().to_string());
        dir.write("nginx.conf", text);
        let mut command = Command::new("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(dir.path()).arg("-c").arg(dir.path().join("nginx.conf"));
        command
    });
    compare(&app, 0x1234_5678_9abc_def1);
}

#[test]
fn django_routes_what_was_matched() {
    let app = App::start("django", |_| {
        let mut command = Command::new(".venv/bin/python");
        command.arg("routes.py");
        command
    });
    compare(&app, 0x0fed_cba9_8765_4321);
}

#[test]
fn php_routes_what_was_matched() {
    let app = App::start("php", |address| {
        let mut command = Command::new("php");
        command.args(["-S", &address.to_string(), "routes.php"]);
        command
    });
    compare(&app, 0x0bad_5eed_0bad_5eed);
}
