//! Fastify and Koa, each with the packages that keep its sessions in Redis.

use crate::suite::{App, Place, Secret, run};
use std::process::Command;

const OURS: &str = "a secret that only the site knows";
const FOREIGN: &str = "another secret that somebody else knows";

/// Starts the app in a folder; `session` names the format and what the app does differently.
fn start(place: &Place, folder: &str, cookie: &'static str, session: &str, variables: &[(&str, &str)]) -> App {
    let mut command = Command::new("node");
    command
        .arg("app.js")
        .envs(variables.iter().copied())
        .env("PORT", place.port.to_string())
        .env("REDIS_PORT", &place.redis_port)
        .env("SESSION_SECRET", if place.secret == Secret::Ours { OURS } else { FOREIGN });
    let session = format!("{session}\nsecrets = '{OURS}'\nuser = 'user.id'\nroles = 'user.roles'");
    App::start(place, folder, cookie, &session, command)
}

fn fastify(place: &Place, variables: &[(&str, &str)]) -> App {
    start(place, "fastify", "sessionId", "format = 'fastify'", variables)
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
    let session = "format = 'koa'\ncookie = 'koa.sess'\nprefix = ''";
    run(true, |place| start(place, "koa", "koa.sess", session, &[("PACKAGE", "koa-session")]));
}
