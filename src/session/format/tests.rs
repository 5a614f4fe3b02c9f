//! Every recorded session, from the cookie to the record, through the configuration that a user would write.

use super::*;
use crate::session::tests::read_section;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

/// A cookie of this value, at the time at which the rows were recorded.
pub(super) fn presented(value: &str) -> Presented<'_> {
    Presented { value: value.as_bytes(), now: Duration::from_secs(RECORDED), ..Presented::default() }
}

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
        "@fastify/session" => ("format = 'fastify'\nuser = 'user.id'\nsecrets = @", Some("42")),
        "koa-generic-session+koa-redis" => ("format = 'koa'\nsecrets = @\nuser = 'user.id'", Some("42")),
        "koa-session+koa-redis" => {
            ("format = 'koa'\nsecrets = @\ncookie = 'koa.sess'\nprefix = ''\nuser = 'user.id'", Some("42"))
        }
        "Spring Session Data Redis (indexed repository layout)" => {
            ("format = 'spring'\nroles = 'authorities'", Some("zoe"))
        }
        "gorilla/sessions + boj/redistore" if row["secrets"][0].get("HK2").is_some() => (
            "format = 'gorilla'\ncookie = 'session-name'\nsecrets = ['new-hash-key', 'hash-key-of-32-bytes-0123456789ab']\nblock_keys = ['', '']\nuser = 'user_id'",
            Some("42"),
        ),
        "gorilla/sessions + boj/redistore" => (
            "format = 'gorilla'\ncookie = 'session-name'\nsecrets = 'hash-key-of-32-bytes-0123456789ab'\nuser = 'user_id'",
            Some("42"),
        ),
        "alexedwards/scs redisstore" if row["notes"].as_str().unwrap().contains("HASH") => {
            ("format = 'scs'\nhash_token = true\nuser = 'user_id'", Some("42"))
        }
        "alexedwards/scs redisstore" => ("format = 'scs'\nuser = 'user_id'", Some("42")),
        "tower-sessions + tower-sessions-redis-store" if row["secrets"] == serde_json::json!([]) => {
            ("format = 'tower'\nuser = 'user.id'", Some("42"))
        }
        "tower-sessions + tower-sessions-redis-store" => {
            ("format = 'tower'\ncookie_security = 'signed'\nsecrets = @\nuser = 'user.id'", Some("42"))
        }
        "actix-session redis" if row["notes"].as_str().unwrap().starts_with("Signed") => {
            ("format = 'actix'\ncookie_security = 'signed'\nsecrets = @\nuser = 'user.id'", Some("42"))
        }
        "actix-session redis" => ("format = 'actix'\nsecrets = @\nuser = 'user.id'", Some("42")),
        "starsessions" => ("format = 'starlette'\nuser = 'user.id'", Some("42")),
        "PHP session redis" => ("format = 'php'\nuser = 'user.id'", Some("42")),
        "Laravel redis session" => ("format = 'laravel'\nsecrets = @", Some("42")),
        "Rails" => ("format = 'rails'\nuser = 'user_id'", Some("42")),
        _ => panic!("no set-up is known for {framework}"),
    };
    // What has no expected record has no user either.
    let user = user.filter(|_| !row["expected_decoded_json"].is_null());
    // A minute and a half, and then it would be over.
    let recorded = if framework == "@fastify/session" { 1_795_216_700 } else { RECORDED };
    Setup { section, user, recorded }
}

/// The section as it is read from a file, with the secrets of the row.
fn section(setup: &Setup, row: &Json) -> session::Session {
    read_section(&setup.section.replace('@', &row["secrets"].to_string()))
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

/// A record as the store gives it.
fn record(recorded: &Json) -> Vec<u8> {
    let bytes = |text: &Json| STANDARD.decode(text.as_str().unwrap()).unwrap();
    let counted = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    match recorded {
        Json::Object(fields) => {
            let packed = |(name, value): (&String, &Json)| [counted(name.as_bytes()), counted(&bytes(value))].concat();
            fields.iter().flat_map(packed).collect()
        }
        text => bytes(text),
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

        let record = record(&row["redis_value_b64"]);
        let opened = format.open(&record, &Selection::whole(), now).unwrap_or_else(|why| panic!("{why}: {row}"));
        let mut read: Json = serde_json::from_str(&json::write(&opened.data)).unwrap();
        // What Laravel keeps for the next page alone was not recorded.
        read.as_object_mut().unwrap().remove("_flash");
        let expected = &row["expected_decoded_json"];
        if format.keeps_hashes() {
            // The expectation names what matters of a record that holds more.
            let expected = expected.as_object().unwrap();
            assert!(expected.iter().all(|(name, value)| same(&read[name], value)), "{read}\n{expected:?}");
        } else {
            assert!(expected.is_null() || same(&read, expected), "{read}\n{expected}");
        }
        let user = config.user.iter().find_map(|path| match opened.data.at(path) {
            Some(Value::Text(text) | Value::Integer(text)) => Some(text.as_str()),
            _ => None,
        });
        assert_eq!(user, setup.user, "{read}");
    }
}

#[test]
fn a_recorded_cookie_that_was_changed_or_cut_proves_nothing_else() {
    for line in include_str!("../../../tests/fixtures/sessions.jsonl").lines() {
        let row: Json = serde_json::from_str(line).unwrap();
        let setup = setup(&row);
        let config = section(&setup, &row);
        let format = Format::compile(&config, &config.format);
        let header = row["cookie"].as_str().unwrap();
        let now = Duration::from_secs(setup.recorded);
        let value = cookie(header, format.cookie_name(false)).unwrap();
        let companion = format.companion().and_then(|name| cookie(header, name));
        let id = format.verify(Presented { value, companion, now }).unwrap();
        // Where Django signs at all, it signs the record.
        let is_signed = setup.section.contains("secrets") && !setup.section.contains("django");
        for at in 0..value.len() {
            let cut = format.verify(Presented { value: &value[..at], companion, now });
            assert!(cut.is_err() || is_signed == (cut == Ok(id.clone())), "{at} {row}");
            for byte in *b"Aa0-_=%./|\"\0\xff" {
                let mut value = value.to_vec();
                value[at] = byte;
                // `%2f` is `%2F`; an id that is not signed is another one, or none.
                match format.verify(Presented { value: &value, companion, now }) {
                    Ok(other) => assert!(other == id || !is_signed, "{at} {byte} {row}"),
                    Err(absence) => assert!(matches!(absence, Absence::Malformed | Absence::BadSignature)),
                }
            }
        }
    }
}
