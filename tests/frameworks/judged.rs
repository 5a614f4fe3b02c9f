//! Odd cookies and records (`tests/fixtures/judged`), given to a running app and to the gateway before it: whom the
//! gateway lets pass, the app knows as the same user.

use crate::harness::{Connection, Gateway, Message, Redis, get};
use fixture::{File, Row};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::{net::SocketAddr, path::Path};

#[path = "../fixtures/judged.rs"]
mod fixture;

/// Gives app and gateway every row of a file. A cookie that the app has just set stands in for the recorded one, which
/// may be too old: `fresh` is its line and its record's key.
pub(crate) fn compare(name: &str, gateway: &Gateway, redis: &Redis, fresh: Option<(String, String)>) {
    let path = format!("{}/tests/fixtures/judged/{name}.tsv", env!("CARGO_MANIFEST_DIR"));
    let file = File::read(Path::new(&path));
    let (line, key) = match fresh {
        Some((line, key)) => (line.into_bytes(), key),
        None => (file.cookie, file.key.clone()),
    };
    let (mut passed, mut wrong) = (0, Vec::new());
    for Row { is_cookie, note, bytes, .. } in &file.rows {
        let (line, key, record) = match is_cookie {
            true => (bytes, &file.key, &file.record),
            false => (&line, &key, bytes),
        };
        redis.set(key, record);
        let answer = ask(line, gateway.address);
        if matches!(answer.status(), 400 | 401) {
            continue;
        }
        passed += 1;
        let told = seen(&answer).unwrap_or_default();
        let known = user(&answer);
        if told.is_empty() || known.as_ref() != Some(&told) {
            wrong.push(format!("{note}: told {told}, known {known:?}: {}", answer.text()));
        }
    }
    assert!(wrong.is_empty() && passed > 5, "{name}: {passed} passed, wrong:\n{}", wrong.join("\n"));
}

fn ask(line: &[u8], address: SocketAddr) -> Message {
    let mut head = get("/").bytes(address);
    head.truncate(head.len() - b"\r\n".len());
    let mut connection = Connection::open(address);
    connection.write([&head, &b"Cookie: "[..], line, b"\r\n\r\n"].concat());
    connection.response(false).unwrap_or_else(|| panic!("no answer to {}", line.escape_ascii()))
}

/// Whom the app knows.
fn user(answer: &Message) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    match &body["user"]["id"] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whom the gateway told the app.
fn seen(answer: &Message) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let told = body["seen"]["x-forwarded-user"].as_str()?;
    Some(percent_decode_str(told).decode_utf8_lossy().into_owned())
}
