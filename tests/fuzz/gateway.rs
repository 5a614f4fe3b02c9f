//! The whole gateway, given requests of the attack tables that were changed at random: whatever arrives, its upstream
//! sees requests that can be read in one way and say only what the gateway says, and it serves whoever comes next.

use crate::{
    corpus::rows,
    harness::{Connection, frames, get, http2_block},
    mutation::Mutations,
    witness::{Stage, fault},
};
use std::{net::SocketAddr, thread, time::Duration};

/// How many connections are open at a time, and how many each of them is followed by.
const THREADS: u64 = 6;
const RUNS: usize = 150;
/// How long an answer is waited for; a message without an end gets none.
const PATIENCE: Duration = Duration::from_millis(150);

const OF_HTTP1: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b": ",
    b" ",
    b"\t",
    b"\0",
    b"GET ",
    b"POST ",
    b" HTTP/1.1\r\n",
    b"Host: site.test\r\n",
    b"Content-Length: ",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"Connection: close\r\n",
    b"Connection: X-Forwarded-User\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Forwarded-User: root\r\n",
    b"x_forwarded_user: root\r\n",
    b"Upgrade: websocket\r\n",
    b"/admin/x",
    b"%2e%2e",
    b"//",
    b"\x80",
    b"\xff\xff",
];
const OF_HTTP2: &[&[u8]] = &[
    b"\0\0\0",
    b"\x01\x05",
    b"\x04\0",
    b"\x09\x04",
    b"\0\0\0\x01",
    b"\0\0\0\x03",
    b"\xff\xff\xff\xff",
    b"\x82\x84\x86",
    b"\x40",
    b"\0\x0atransfer",
    b":path",
    b"/admin/x",
    b"host",
    b"x-forwarded-user",
    b"\r\n",
    b"\0",
];

/// Requests as they are, those of a user with a session among them.
fn messages(cookie: &str) -> Vec<Vec<u8>> {
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nCookie: {cookie}\r\n").into_bytes();
    let mut messages: Vec<_> =
        ["benign", "messages"].iter().flat_map(|table| rows(table)).map(|row| row.request()).collect();
    for row in rows("fields") {
        messages.extend(["/admin/x", "/public/x"].map(|path| [&head(path)[..], &row.request(), b"\r\n"].concat()));
    }
    for row in rows("paths") {
        messages.push([b"GET ", &row.request()[..], b" HTTP/1.1\r\nHost: site.test\r\n\r\n"].concat());
    }
    messages
}

/// Connections of HTTP/2 as they are.
fn connections(cookie: &str) -> Vec<Vec<u8>> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let head = |method: &str, path: &str, more: &[(&str, &str)]| {
        let usual = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "site.test")];
        http2_block(&usual.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let begun = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(frames::SETTINGS, 0, 0, &[])[..]].concat();
    let whole = frames::END_HEADERS | frames::END_STREAM;
    let get = |stream, path: &str, more: &[_]| frame(frames::HEADERS, whole, stream, &head("GET", path, more));
    let post = frame(frames::HEADERS, frames::END_HEADERS, 1, &head("POST", "/x", &[("content-length", "3")]));
    let trailers = frame(frames::HEADERS, whole, 1, &http2_block(&[("x-forwarded-user", "root")]));
    let split = head("GET", "/x", &[("cookie", cookie), ("cookie", "a=1")]);
    [
        get(1, "/x", &[("x-forwarded-user", "root"), ("x_forwarded_user", "root")]),
        [get(1, "/admin/x", &[("cookie", cookie)]), get(3, "/admin/x", &[])].concat(),
        [&post[..], &frame(frames::DATA, frames::END_STREAM, 1, b"abc")].concat(),
        [&post[..], &frame(frames::DATA, 0, 1, b"abc"), &trailers].concat(),
        [
            frame(frames::HEADERS, frames::END_STREAM, 1, &split[..9]),
            frame(frames::CONTINUATION, frames::END_HEADERS, 1, &split[9..]),
        ]
        .concat(),
        [get(1, "/x", &[]), frame(frames::RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(frames::PING, 0, 0, &[0; 8])]
            .concat(),
    ]
    .map(|frames| [&begun[..], &frames].concat())
    .to_vec()
}

/// Sends, takes what comes, and tells whether a request was answered well.
fn send(address: SocketAddr, bytes: &[u8], waits: bool) -> bool {
    let mut connection = Connection::open(address);
    connection.patience(PATIENCE);
    connection.try_write(bytes);
    let first = if waits { connection.some() } else { None };
    connection.finish();
    while connection.some().is_some() {}
    first.is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200") || answer.first() == Some(&0))
}

#[test]
fn whatever_arrives_the_upstream_sees_requests_and_the_gateway_goes_on() {
    let stage = Stage::new("body_timeout = \"1s\"\nheader_timeout = \"1s\"\nkeepalive = \"1s\"");
    let (address, cookie) = (stage.gateway.address, stage.cookies.ada.clone());
    thread::scope(|scope| {
        for run in 0..THREADS {
            let (seeds, telling) =
                if run % 3 == 2 { (connections(&cookie), OF_HTTP2) } else { (messages(&cookie), OF_HTTP1) };
            scope.spawn(move || {
                let mut mutations = Mutations::of(seeds, telling, run);
                for at in 0..RUNS {
                    let changed = mutations.next();
                    if send(address, &changed, at % 4 != 0) {
                        mutations.keep(changed);
                    }
                }
            });
        }
    });
    stage.is_well();
    assert_eq!(get("/x").header("Host", "site.test").send(address).status(), 200);
    for request in stage.app.requests() {
        let head = String::from_utf8_lossy(&request.head).into_owned();
        assert_eq!(fault(&request), None, "{head}");
        let path = request.target().to_ascii_lowercase();
        if path.starts_with("/admin/") || path.starts_with("/in?") || path == "/in" {
            assert_eq!(request.header("x-forwarded-user"), Some("ada"), "{head}");
        }
    }
}
