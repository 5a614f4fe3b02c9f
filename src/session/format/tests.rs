//! Every recorded session, from the cookie to the record, through the configuration that a user would write.

use super::*;
use crate::config::{self, environment::Environment};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

/// What a user would write for the app that a row was recorded from, and the user's id in it.
struct Setup {
    /// `@` stands for the secrets of the row.
    section: &'static str,
    user: Option<&'static str>,
    /// When the row was recorded, in seconds since the Unix epoch.
    recorded: u64,
}

/// The first moment that lies behind the timestamps of every cookie but Fastify's.
const RECORDED: u64 = 1_795_217_100;

fn setup(row: &Json) -> Setup {
    let framework = row["framework"].as_str().unwrap();
    let (section, user) = match framework {
        "express-session+connect-redis" | "express-session (created by hand, accepted by the app)" => {
            ("format = 'express'\nuser = 'user.id'\nsecrets = @", Some("42"))
        }
        "express-session+connect-redis+passport 0.7.0" => {
            ("format = 'express'\nuser = ['passport.user', 'passport.user.id']\nsecrets = @", Some("42"))
        }
        "Flask-Session redis" if row["notes"].as_str().unwrap().contains("signer=True") => {
            ("format = 'flask'\nuser = 'user.id'\nsecrets = @", Some("42"))
        }
        "Flask-Session redis" => ("format = 'flask'\nuser = 'user.id'", Some("42")),
        "Flask-Login 0.6.3 on Flask-Session" => ("format = 'flask'", Some("42")),
        "Django cached_db" => ("format = 'django'\nprefix = ':1:django.contrib.sessions.cached_db'", Some("42")),
        "Django django-redis-sessions" => ("format = 'django'\nprefix = 'session:'\nsecrets = @", Some("42")),
        "Django cache sessions (django-redis, zlib+JSON)" => {
            ("format = 'django'\nprefix = 'myapp:3:django.contrib.sessions.cache'", Some("42"))
        }
        _ if framework.starts_with("Django cache sessions") => ("format = 'django'", Some("42")),
        "starlette-session" => ("format = 'starlette'\nuser = 'user.id'\ncookie = 'cookie22'\nsecrets = @", Some("42")),
        "starsessions" => ("format = 'starlette'\nuser = 'user.id'", Some("42")),
        "PHP session redis" => ("format = 'php'\nuser = 'user.id'", Some("42")),
        "Laravel redis session" => ("format = 'laravel'\nsecrets = @", Some("42")),
        "Rails" => ("format = 'rails'\nuser = 'user_id'", Some("42")),
        _ => panic!("no set-up is known for {framework}"),
    };
    // What has no expected record has no user either.
    let user = user.filter(|_| !row["expected_decoded_json"].is_null());
    Setup { section, user, recorded: RECORDED }
}

/// The section as it is read from a file, with the secrets of the row.
fn section(setup: &Setup, row: &Json) -> session::Session {
    let mut text = format!("[store]\nurl = 'redis://h'\n[session]\n{}\n", setup.section);
    text = text.replace('@', &row["secrets"].to_string());
    text += "[[rules]]\ndest = 'http://a'\n";
    let loaded = config::read("gateway.toml", &text, &Environment::default());
    let shown = loaded.diagnostics.render(&loaded.source, false);
    let config = loaded.config.filter(|_| !loaded.diagnostics.has_errors());
    config.unwrap_or_else(|| panic!("{shown}")).sessions.remove(0)
}

/// Equal, where a number may be written in several ways.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => {
            let float = |number: &serde_json::Number| number.to_string().parse::<f64>().ok();
            let whole = |number: &serde_json::Number| number.to_string().bytes().all(|byte| byte.is_ascii_digit());
            one == other || (!(whole(one) && whole(other)) && float(one) == float(other))
        }
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// The value of a cookie in a Cookie header.
fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a [u8]> {
    let mut pairs = header.split("; ").filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes())
}

#[test]
fn every_recorded_session_is_read_as_its_app_reads_it() {
    let rows = include_str!("../../../tests/fixtures/sessions.jsonl");
    assert!(rows.lines().count() >= 7);
    for line in rows.lines() {
        let row: Json = serde_json::from_str(line).unwrap();
        let setup = setup(&row);
        let config = section(&setup, &row);
        let format = Format::compile(&config, &config.format);
        let header = row["cookie"].as_str().unwrap();
        let now = Duration::from_secs(setup.recorded);
        let value = cookie(header, format.cookie_name(false)).unwrap();
        let companion = format.companion().and_then(|name| cookie(header, name));
        let id = format.verify(Presented { value, companion, now }).unwrap_or_else(|why| panic!("{why}: {row}"));
        assert_eq!(format.key(&id), row["redis_key"].as_str().unwrap());
        if let Some(own) = format.own() {
            let set = format!("{}={}", format.cookie_name(false), own.sign(&id));
            assert!(row["set_cookie"][0].as_str().unwrap().starts_with(&set), "{set}");
        }

        let record = STANDARD.decode(row["redis_value_b64"].as_str().unwrap()).unwrap();
        let opened = format.open(&record, &Selection::whole(), now).unwrap_or_else(|why| panic!("{why}: {row}"));
        let mut read: Json = serde_json::from_str(&json::write(&opened.data)).unwrap();
        // What Laravel keeps for the next page alone was not recorded.
        read.as_object_mut().unwrap().remove("_flash");
        let expected = &row["expected_decoded_json"];
        assert!(expected.is_null() || same(&read, expected), "{read}\n{expected}");
        let user = config.user.iter().find_map(|path| match opened.data.at(path) {
            Some(Value::Text(text) | Value::Integer(text)) => Some(text.as_str()),
            _ => None,
        });
        assert_eq!(user, setup.user, "{read}");
    }
}
