//! Fastify, Koa and Express with Passport, each with the packages that keep its sessions in Redis.

use crate::suite::{App, Place, Secret, compare, run};
use std::process::Command;

const OURS: &str = "a secret that only the site knows";
const FOREIGN: &str = "another secret that somebody else knows";

fn command(place: &Place) -> Command {
    let mut command = Command::new("node");
    command
        .arg("app.js")
        .env("PORT", place.port.to_string())
        .env("REDIS_PORT", &place.redis_port)
        .env("SESSION_SECRET", if place.secret == Secret::Ours { OURS } else { FOREIGN });
    command
}

/// Starts the app in a folder; `session` names the format and what the app does differently.
fn start(place: &Place, folder: &str, cookie: &'static str, session: &str, variables: &[(&str, &str)]) -> App {
    let mut command = command(place);
    command.envs(variables.iter().copied());
    let session = format!("{session}\nsecrets = '{OURS}'\nuser = 'user.id'\nroles = 'user.roles'");
    App::start(place, folder, cookie, &session, command)
}

fn fastify(place: &Place, variables: &[(&str, &str)]) -> App {
    start(place, "fastify", "sessionId", "format = 'fastify'", variables)
}

fn koa_session(place: &Place) -> App {
    let session = "format = 'koa'\ncookie = 'koa.sess'\nprefix = ''";
    start(place, "koa", "koa.sess", session, &[("PACKAGE", "koa-session")])
}

/// The counter site's `app`; the site as a whole is a chapter of the end-to-end tests.
fn express(place: &Place, generation: &str) -> App {
    let mut command = Command::new("node");
    command
        .arg("reader.js")
        .env("GENERATION", generation)
        .env("PORT", place.port.to_string())
        .env("REDIS_SESSION_URL", format!("redis://127.0.0.1:{}", place.redis_port))
        .env("SESSION_SECRET", OURS);
    let session = format!("format = 'express'\nsecrets = '{OURS}'\nuser = 'user.id'\nroles = 'user.roles'");
    App::start(place, "express", "connect.sid", &session, command)
}

#[test]
fn fastify_keeps_its_users() {
    run(true, |place| fastify(place, &[]));
}

#[test]
fn fastify_keeps_its_users_in_records_that_name_their_end() {
    run(true, |place| fastify(place, &[("COOKIE_MAX_AGE", "3600000")]));
}

#[test]
fn koa_generic_session_keeps_its_users() {
    run(true, |place| start(place, "koa", "koa.sid", "format = 'koa'", &[]));
}

#[test]
fn koa_session_keeps_its_users_in_a_store() {
    run(true, koa_session);
}

#[test]
fn passport_keeps_its_users() {
    run(true, |place| {
        let paths = "user = 'passport.user.id'\nroles = 'passport.user.roles'";
        let session = format!("format = 'express'\nsecrets = '{OURS}'\n{paths}");
        App::start(place, "passport", "connect.sid", &session, command(place))
    });
}

#[test]
fn what_express_is_given_is_judged_as_it_does() {
    compare("express", |place| express(place, "current"));
}

#[test]
fn what_express_4_is_given_is_judged_as_it_does() {
    compare("express", |place| express(place, "three"));
}

#[test]
fn what_fastify_is_given_is_judged_as_it_does() {
    compare("fastify", |place| fastify(place, &[]));
}

#[test]
fn what_fastify_with_ends_is_given_is_judged_as_it_does() {
    compare("fastify-age", |place| fastify(place, &[("COOKIE_MAX_AGE", "3600000")]));
}

#[test]
fn what_koa_generic_session_is_given_is_judged_as_it_does() {
    compare("koa", |place| start(place, "koa", "koa.sid", "format = 'koa'", &[]));
}

#[test]
fn what_koa_session_is_given_is_judged_as_it_does() {
    compare("koa-session", koa_session);
}
