//! Odd cookies and records (`tests/fixtures/judged`), given to a running app and to the gateway before it: whom the
//! gateway lets pass, the app knows as the same user.

use crate::harness::{Connection, Gateway, Message, Redis, get};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::{fs, net::SocketAddr};

/// A file of `tests/fixtures/judged`.
struct File {
    /// What stands in for the half that a row does not name: the record's key, a Cookie line, a record.
    key: String,
    cookie: Vec<u8>,
    record: Vec<u8>,
    rows: Vec<Row>,
}

struct Row {
    is_cookie: bool,
    note: String,
    bytes: Vec<u8>,
}

impl File {
    fn read(name: &str) -> Self {
        let path = format!("{}/tests/fixtures/judged/{name}.tsv", env!("CARGO_MANIFEST_DIR"));
        let mut file = Self { key: String::new(), cookie: Vec::new(), record: Vec::new(), rows: Vec::new() };
        for line in fs::read_to_string(path).unwrap().lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["key", key] => file.key = key.to_owned(),
                ["cookie", line] => file.cookie = unescape(line),
                ["record", record] => file.record = unescape(record),
                [half, _, _, note, bytes] => {
                    file.rows.push(Row { is_cookie: half == "cookie", note: note.to_owned(), bytes: unescape(bytes) });
                }
                _ => {}
            }
        }
        file
    }
}

/// Gives app and gateway every row of a file. A cookie that the app has just set stands in for the recorded one, which
/// may be too old: `fresh` is its line and its record's key.
pub(crate) fn compare(name: &str, gateway: &Gateway, redis: &Redis, fresh: Option<(String, String)>) {
    let file = File::read(name);
    let (line, key) = match fresh {
        Some((line, key)) => (line.into_bytes(), key),
        None => (file.cookie, file.key.clone()),
    };
    let (mut passed, mut wrong) = (0, Vec::new());
    for Row { is_cookie, note, bytes } in &file.rows {
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

/// Bytes as the files write them.
fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}
