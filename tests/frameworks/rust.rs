//! tower-sessions on axum and actix-session, each with its Redis store.

use crate::suite::{App, Place, Secret, compare, run};
use std::process::Command;

const OURS: &str = "a master key that only the site knows, of sixty-four bytes at least";
const FOREIGN: &str = "another master key that somebody else knows, sixty-four bytes at least";

/// Where `tests/run frameworks` has built the apps.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/frameworks/debug");

/// Starts an app with its cookie secured in one of its ways, which `session` names as well.
fn start(place: &Place, name: &str, security: &str, session: &str) -> App {
    let mut command = Command::new(format!("{PROGRAMS}/{name}-app"));
    command
        .env("PORT", place.port.to_string())
        .env("REDIS_PORT", &place.redis_port)
        .env("SESSION_SECRET", if place.secret == Secret::Ours { OURS } else { FOREIGN })
        .env("COOKIE", security);
    let session = format!("format = '{name}'\n{session}\nuser = 'user.id'\nroles = 'user.roles'");
    App::start(place, name, "id", &session, command)
}

fn keyed(security: &str) -> String {
    format!("secrets = '{OURS}'\ncookie_security = '{security}'")
}

#[test]
fn tower_sessions_keeps_its_users() {
    run(false, |place| start(place, "tower", "", ""));
}

#[test]
fn tower_sessions_keeps_its_users_under_signed_ids() {
    run(true, |place| start(place, "tower", "signed", &keyed("signed")));
}

#[test]
fn tower_sessions_keeps_its_users_under_encrypted_ids() {
    run(true, |place| start(place, "tower", "private", &keyed("private")));
}

#[test]
fn actix_session_keeps_its_users_under_encrypted_ids() {
    run(true, |place| start(place, "actix", "private", &format!("secrets = '{OURS}'")));
}

#[test]
fn actix_session_keeps_its_users_under_signed_ids() {
    run(true, |place| start(place, "actix", "signed", &keyed("signed")));
}

#[test]
fn what_tower_sessions_is_given_is_judged_as_it_does() {
    compare("tower", |place| start(place, "tower", "", ""));
}

#[test]
fn what_the_jars_are_given_is_judged_as_they_do() {
    for (name, security) in [("tower", "signed"), ("tower", "private"), ("actix", "signed"), ("actix", "private")] {
        compare(&format!("{name}-{security}"), |place| start(place, name, security, &keyed(security)));
    }
}
