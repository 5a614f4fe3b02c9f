//! PHP's own sessions with phpredis, by each of its handlers.

use crate::suite::{App, Place, compare, run};
use std::process::Command;

fn start(place: &Place, handler: &str) -> App {
    let mut command = Command::new("php");
    command
        .args(["-d", "session.save_handler=redis", "-d", &format!("session.serialize_handler={handler}")])
        .args(["-d", &format!("session.save_path=tcp://127.0.0.1:{}", place.redis_port)])
        .args(["-S", &format!("127.0.0.1:{}", place.port), "index.php"]);
    App::start(place, "php", "PHPSESSID", "format = \"php\"\nuser = \"user.id\"\nroles = \"user.roles\"", command)
}

#[test]
fn php_keeps_its_users() {
    run(false, |place| start(place, "php"));
}

#[test]
fn php_serialize_keeps_its_users() {
    run(false, |place| start(place, "php_serialize"));
}

#[test]
fn igbinary_keeps_its_users() {
    run(false, |place| start(place, "igbinary"));
}

#[test]
fn what_each_handler_is_given_is_judged_as_it_does() {
    for handler in ["php", "php_serialize", "igbinary"] {
        compare(handler, |place| start(place, handler));
    }
}
