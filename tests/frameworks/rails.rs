//! Action Dispatch's sessions in redis-actionpack and in the cache store.

use crate::suite::{App, Place, compare, run};
use std::process::Command;

fn start(place: &Place, store: &str, prefix: &str) -> App {
    let mut command = Command::new("puma");
    command
        .args(["--quiet", "--bind", &format!("tcp://127.0.0.1:{}", place.port), "config.ru"])
        .env("STORE", store)
        .env("REDIS_PORT", &place.redis_port);
    let session = format!("format = \"rails\"\nprefix = \"{prefix}\"\nuser = \"user.id\"\nroles = \"user.roles\"");
    App::start(place, "rails", "_app_session", &session, command)
}

#[test]
fn rails_keeps_its_users_in_redis_actionpack() {
    run(false, |place| start(place, "redis", "session:"));
}

#[test]
fn rails_keeps_its_users_in_the_cache_store() {
    run(false, |place| start(place, "cache", "_session_id:"));
}

#[test]
fn what_redis_actionpack_is_given_is_judged_as_it_does() {
    compare("rails", |place| start(place, "redis", "session:"));
}

#[test]
fn what_the_cache_store_is_given_is_judged_as_it_does() {
    compare("rails-cache", |place| start(place, "cache", "_session_id:"));
}
