//! gorilla/sessions with boj/redistore: gob or JSON, signed or encrypted as well.

use crate::suite::{App, Place, Secret, compare, run};
use std::{process::Command, sync::LazyLock};

const OURS: &str = "a hash key that only the site knows";
const FOREIGN: &str = "a hash key that somebody else knows";
const BLOCK_KEY: &str = "0123456789abcdef0123456789abcdef";

/// The app's program, which one build makes for all tests.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let program = concat!(env!("CARGO_TARGET_TMPDIR"), "/gorilla");
    let built = Command::new("go")
        .args(["build", "-o", program, "app.go"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/frameworks/gorilla"))
        // Where Debian's packages of libraries are.
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", "")])
        .status()
        .unwrap();
    assert!(built.success(), "{built}");
    program.to_owned()
});

fn start(place: &Place, serializer: &str, block_key: &str) -> App {
    let mut command = Command::new(&*PROGRAM);
    command
        .env("PORT", place.port.to_string())
        .env("REDIS_PORT", &place.redis_port)
        .env("SERIALIZER", serializer)
        .env("HASH_KEY", if place.secret == Secret::Ours { OURS } else { FOREIGN })
        .env("BLOCK_KEY", block_key);
    let session = format!(
        "format = 'gorilla'\ncookie = 'session'\nsecrets = '{OURS}'\nblock_keys = ['{block_key}']\nuser = 'user'\nroles = 'roles'"
    );
    App::start(place, "gorilla", "session", &session, command)
}

#[test]
fn gorilla_keeps_its_users_in_gob() {
    run(true, |place| start(place, "gob", ""));
}

#[test]
fn gorilla_keeps_its_users_in_json_under_encrypted_ids() {
    run(true, |place| start(place, "json", BLOCK_KEY));
}

#[test]
fn what_gorilla_is_given_is_judged_as_it_does() {
    compare("gorilla", |place| start(place, "gob", ""));
}

#[test]
fn what_gorilla_with_json_is_given_is_judged_as_it_does() {
    compare("gorilla-json", |place| start(place, "json", BLOCK_KEY));
}
