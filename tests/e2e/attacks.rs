//! Attacks and what looks like them, row by row: `tests/fixtures/attacks` says what becomes of each, and whatever the
//! row says, one request stays one request, nobody but the gateway says who asks, and a line in the log stays a line.

mod corpus;
mod witness;

use crate::harness::{Connection, Http2, Message, Outcome};
use corpus::{Row, rows};
use witness::Stage;

/// Sends a message and reads as many answers as the row expects, then asks once more on the same connection: what
/// comes back must be the answer to that, or the end.
fn exchange(stage: &Stage, row: &Row, bytes: &[u8]) -> Vec<u16> {
    let mut connection = Connection::open(stage.gateway.address);
    connection.try_write(bytes);
    if row.is_cut() {
        connection.finish();
    }
    let to_head = bytes.starts_with(b"HEAD ");
    let mut statuses = Vec::new();
    while statuses.len() < row.answers() {
        let Some(answer) = connection.response(to_head) else { break };
        stage.judge_answer(row, &answer);
        statuses.push(answer.status());
    }
    if !row.is_cut() && connection.try_write(stage.sentinel()) {
        let mut more = Vec::new();
        while let Some(answer) = connection.response(false) {
            more.push((answer.status(), answer.text()));
        }
        let sound = more.len() <= 1 && more.iter().all(|(status, text)| *status >= 400 || text.contains("/sentinel"));
        stage.expect(sound, || format!("{row}: behind the answers came {more:?}"));
    }
    statuses
}

/// A message over HTTP/1.1.
fn over_http1(stage: &Stage, row: &Row, bytes: &[u8]) -> Vec<Message> {
    let statuses = exchange(stage, row, bytes);
    let seen = stage.take();
    stage.judge(row, &statuses, &seen, "HTTP/1.1");
    seen
}

/// The same over HTTP/2, where it can be said there: what is refused may also end the stream or the connection.
fn over_http2(stage: &Stage, row: &Row, fields: &[(&str, &str)]) -> Vec<Message> {
    let mut http2 = Http2::open(stage.gateway.address, &[]);
    http2.get(1, fields);
    let statuses: Vec<u16> = match http2.outcome(1) {
        Outcome::Status(status) => vec![status],
        Outcome::Reset(_) | Outcome::Gone(_) => Vec::new(),
    };
    let seen = stage.take();
    if statuses.is_empty() {
        stage.expect(row.is_refused() && seen.is_empty(), || format!("{row} over HTTP/2: no answer, and {seen:?}"));
    } else {
        stage.judge(row, &statuses, &seen, "HTTP/2");
    }
    seen
}

#[test]
fn paths() {
    let stage = Stage::new("");
    for row in rows("paths") {
        let target = row.request();
        let head = b" HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";
        over_http1(&stage, &row, &[b"GET ", &target[..], head].concat());
        if let Ok(target) = std::str::from_utf8(&target)
            && target.starts_with('/')
        {
            over_http2(&stage, &row, &[(":authority", "site.test"), (":path", target)]);
        }
    }
    stage.conclude();
}

#[test]
fn messages() {
    let stage = Stage::new("");
    for row in rows("messages") {
        over_http1(&stage, &row, &row.request());
    }
    stage.conclude();
}

#[test]
fn benign() {
    let stage = Stage::new("");
    for row in rows("benign") {
        over_http1(&stage, &row, &row.request());
    }
    stage.conclude();
}

#[test]
fn hosts() {
    let stage = Stage::new("");
    for row in rows("hosts") {
        let lines = row.request();
        over_http1(&stage, &row, &[b"GET / HTTP/1.1\r\n", &lines[..], b"Connection: close\r\n\r\n"].concat());
    }
    stage.conclude();
}

/// On every rule: nothing that a client says about itself gets through, and what is harmless does.
#[test]
fn fields() {
    let stage = Stage::new("");
    for row in rows("fields") {
        for path in ["/public/x", "/optional/x", "/admin/x"] {
            let lines = row.request();
            let head = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nCookie: {}\r\n", stage.cookies.ada);
            let seen = over_http1(&stage, &row, &[head.as_bytes(), &lines, b"Connection: close\r\n\r\n"].concat());
            is_from_ada(&stage, &row, &seen);
            let Some(fields) = row.fields() else { continue };
            let usual = [(":authority", "site.test"), (":path", path), ("cookie", &stage.cookies.ada)];
            let given = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            is_from_ada(&stage, &row, &over_http2(&stage, &row, &usual.into_iter().chain(given).collect::<Vec<_>>()));
        }
    }
    stage.conclude();
}

/// Whatever a row says, the upstream is told of the session's user, or of nobody where nobody is looked for.
fn is_from_ada(stage: &Stage, row: &Row, seen: &[Message]) {
    for request in seen {
        let user = (!request.target().starts_with("/public")).then_some("ada");
        let told = request.header("x-forwarded-user");
        stage.expect(told == user, || format!("{row}: the upstream is told of {told:?}"));
    }
}

#[test]
fn cookies() {
    let stage = Stage::new("");
    for row in rows("cookies") {
        let value = stage.fill(&row.request());
        let head = b"GET /admin/x HTTP/1.1\r\nHost: site.test\r\nCookie: ";
        over_http1(&stage, &row, &[head, &value[..], b"\r\nConnection: close\r\n\r\n"].concat());
        if let Ok(value) = std::str::from_utf8(&value)
            && !value.contains("\r\n")
            && value.trim_matches([' ', '\t']) == value
        {
            over_http2(&stage, &row, &[(":authority", "site.test"), (":path", "/admin/x"), ("cookie", value)]);
        }
    }
    stage.conclude();
}

/// Where a browser that must log in is sent back to.
#[test]
fn returns() {
    let stage = Stage::new("");
    for row in rows("returns") {
        over_http1(&stage, &row, &row.request());
    }
    stage.conclude();
}
