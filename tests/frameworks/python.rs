//! Flask, Django and Starlette, each with the ways in which it can keep a session.

use crate::suite::{App, Place, Secret, compare, run};
use std::process::Command;

const OURS: &str = "a secret that only the site knows";
const FOREIGN: &str = "another secret that somebody else knows";

/// Starts the app in a folder; `session` has the user where the counter site has it, unless it says otherwise.
fn start(place: &Place, folder: &str, cookie: &'static str, session: &str, variables: &[(&str, &str)]) -> App {
    let mut command = Command::new(".venv/bin/python");
    command
        .arg("app.py")
        .envs(variables.iter().copied())
        .env("PORT", place.port.to_string())
        .env("REDIS_PORT", &place.redis_port)
        .env("SESSION_SECRET", if place.secret == Secret::Ours { OURS } else { FOREIGN });
    App::start(place, folder, cookie, session, command)
}

fn flask(place: &Place, variables: &[(&str, &str)]) -> App {
    start(place, "flask", "session", "format = 'flask'\nuser = 'user.id'\nroles = 'user.roles'", variables)
}

fn django(place: &Place, prefix: &str, variables: &[(&str, &str)]) -> App {
    let session = format!("format = 'django'\nprefix = '{prefix}'\nroles = 'roles'\nlogin = '/login'");
    start(place, "django", "sessionid", &session, variables)
}

fn signed_flask(place: &Place) -> App {
    let session = format!("format = 'flask'\nsecrets = '{OURS}'\nuser = 'user.id'\nroles = 'user.roles'");
    start(place, "flask", "session", &session, &[("SIGNER", "yes")])
}

fn starsessions(place: &Place) -> App {
    let session = "format = 'starlette'\nuser = 'user.id'\nroles = 'user.roles'";
    start(place, "starlette", "session", session, &[])
}

fn starlette_session(place: &Place) -> App {
    let session =
        format!("format = 'starlette'\ncookie = 'session'\nsecrets = '{OURS}'\nuser = 'user.id'\nroles = 'user.roles'");
    start(place, "starlette", "session", &session, &[("SIGNER", "yes")])
}

const CACHE: &str = ":1:django.contrib.sessions.cache";

#[test]
fn flask_keeps_its_users_in_messagepack() {
    run(false, |place| flask(place, &[]));
}

#[test]
fn flask_keeps_its_users_in_json() {
    run(false, |place| flask(place, &[("SERIALIZER", "json")]));
}

#[test]
fn flask_keeps_its_users_under_a_signed_id() {
    run(true, signed_flask);
}

#[test]
fn flask_login_keeps_its_users_where_they_are_looked_for_unasked() {
    let session = "format = 'flask'\nroles = 'user.roles'";
    run(false, |place| start(place, "flask", "session", session, &[("LOGIN", "yes")]));
}

#[test]
fn django_redis_keeps_its_users_in_pickles() {
    run(false, |place| django(place, CACHE, &[]));
}

#[test]
fn django_redis_keeps_its_users_in_packed_json() {
    let variables = [("SERIALIZER", "json.JSONSerializer"), ("COMPRESSOR", "zlib.ZlibCompressor")];
    run(false, |place| django(place, CACHE, &variables));
}

#[test]
fn django_redis_keeps_its_users_in_messagepack() {
    run(false, |place| django(place, CACHE, &[("SERIALIZER", "msgpack.MSGPackSerializer")]));
}

#[test]
fn django_itself_keeps_its_users_in_pickles() {
    run(false, |place| django(place, CACHE, &[("BACKEND", "django")]));
}

#[test]
fn django_keeps_its_users_in_cache_and_database() {
    run(false, |place| {
        django(
            place,
            ":1:django.contrib.sessions.cached_db",
            &[("ENGINE", "django.contrib.sessions.backends.cached_db")],
        )
    });
}

#[test]
fn django_redis_sessions_keeps_its_users_in_signed_records() {
    let session = format!("format = 'django'\nsecrets = '{OURS}'\nroles = 'roles'\nlogin = '/login'");
    run(true, |place| start(place, "django", "sessionid", &session, &[("ENGINE", "redis_sessions.session")]));
}

#[test]
fn starsessions_keeps_its_users() {
    run(false, starsessions);
}

#[test]
fn starlette_session_keeps_its_users_under_a_signed_id() {
    run(true, starlette_session);
}

#[test]
fn what_flask_is_given_is_judged_as_it_does() {
    compare("flask", |place| flask(place, &[]));
}

#[test]
fn what_flask_with_json_is_given_is_judged_as_it_does() {
    compare("flask-json", |place| flask(place, &[("SERIALIZER", "json")]));
}

#[test]
fn what_flask_with_signed_ids_is_given_is_judged_as_it_does() {
    compare("flask-signed", signed_flask);
}

#[test]
fn what_django_is_given_is_judged_as_it_does() {
    compare("django", |place| django(place, CACHE, &[]));
}

#[test]
fn what_starsessions_is_given_is_judged_as_it_does() {
    compare("starsessions", starsessions);
}

#[test]
fn what_starlette_session_is_given_is_judged_as_it_does() {
    compare("starlette-session", starlette_session);
}
