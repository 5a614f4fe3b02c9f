//! Laravel's redis driver with its session guard, in both modes of its encrypter.

use crate::suite::{App, Place, Secret, compare, run};
use std::process::Command;

const OURS: &str = "base64:a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
const FOREIGN: &str = "base64:b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28=";

fn start(place: &Place, cipher: &str, encrypts_records: bool) -> App {
    let key = if place.secret == Secret::Ours { OURS } else { FOREIGN };
    let mut command = Command::new("php");
    command
        .args(["-S", &format!("127.0.0.1:{}", place.port), "index.php"])
        .env("APP_KEY", key)
        .env("APP_CIPHER", cipher)
        .env("SESSION_ENCRYPT", if encrypts_records { "1" } else { "" })
        .env("REDIS_PORT", &place.redis_port);
    let session = format!("format = \"laravel\"\nsecrets = \"{OURS}\"\nroles = \"roles\"");
    App::start(place, "laravel", "laravel_session", &session, command)
}

#[test]
fn laravel_keeps_its_users() {
    run(true, |place| start(place, "AES-256-CBC", false));
}

#[test]
fn laravel_keeps_its_users_in_gcm_mode_and_encrypted_records() {
    run(true, |place| start(place, "AES-256-GCM", true));
}

#[test]
fn what_laravel_is_given_is_judged_as_it_does() {
    compare("laravel", |place| start(place, "AES-256-CBC", false));
}

#[test]
fn what_laravel_in_gcm_mode_is_given_is_judged_as_it_does() {
    compare("laravel-gcm", |place| start(place, "AES-256-GCM", true));
}
