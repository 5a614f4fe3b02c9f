//! HTTP/2: the same gateway, the same refusals, and floods that cost the flooder alone.

use crate::harness::{
    Connection, Gateway, Http2, Outcome, Redis, Reply, Setup, Upstream, eventually,
    frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE},
    get, http2_block as block, open_gateway, post, record, store_session,
};
use std::{
    process::Command,
    time::{Duration, Instant},
};

const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

fn stage(server: &str) -> (Upstream, Gateway) {
    let app = Upstream::echo();
    let gateway = open_gateway(&format!("h2c = true\n{server}"), &app.url());
    (app, gateway)
}

/// What becomes of one request on a connection of its own.
fn ask(gateway: &Gateway, fields: &[(&str, &str)]) -> Outcome {
    let mut http2 = Http2::open(gateway.address, &[]);
    http2.get(1, fields);
    http2.outcome(1)
}

#[track_caller]
fn refused(gateway: &Gateway, app: &Upstream, fields: &[(&str, &str)], status: u16) {
    assert_eq!(ask(gateway, fields), Outcome::Status(status), "{fields:?}");
    assert!(app.requests().is_empty(), "{fields:?} reached the upstream");
}

/// The stream was reset, or the whole connection ended.
#[track_caller]
fn broken(gateway: &Gateway, app: &Upstream, fields: &[(&str, &str)]) {
    let outcome = ask(gateway, fields);
    assert!(!matches!(outcome, Outcome::Status(200..400)), "{fields:?}: {outcome:?}");
    assert!(app.requests().is_empty(), "{fields:?} reached the upstream");
}

#[test]
fn both_protocols_are_spoken_without_tls_where_the_file_says_so_and_one_where_not() {
    let (app, gateway) = stage("");
    assert_eq!(ask(&gateway, &[(":path", "/two")]), Outcome::Status(200));
    assert_eq!(app.last().target(), "/two");
    assert_eq!(gateway.get("/one").status(), 200);
    let mut pieces = Connection::open(gateway.address);
    for byte in b"PRI\x20/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        pieces.write([*byte]);
    }
    assert_eq!(pieces.response(false).unwrap().status(), 200, "PRI is a method until it is a preface");
}

#[test]
fn who_speaks_it_where_it_is_not_served_is_told_to_speak_http_1() {
    const HTTP_1_1_REQUIRED: u32 = 13;
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    let mut http2 = Http2::open(gateway.address, &[]);
    http2.get(1, &[]);
    assert_eq!(http2.outcome(1), Outcome::Gone(Some(HTTP_1_1_REQUIRED)));
    assert!(http2.ends());
    gateway.process.wait_for_output("a client began with HTTP/2: without TLS it needs `[server] h2c = true`");
    let url = format!("http://{}/", gateway.address);
    let curl = ["-sSv", "--max-time", "20", "--http2-prior-knowledge", &url];
    let curl = Command::new("curl").args(curl).output().expect("curl (apt-get install curl)");
    let told = String::from_utf8_lossy(&curl.stderr);
    assert!(!curl.status.success() && told.contains("GOAWAY, error=13"), "{told}");
    assert!(app.requests().is_empty());
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn a_request_is_the_same_request_as_over_http_1() {
    let (app, gateway) = stage("");
    let mut http2 = Http2::open(gateway.address, &[]);
    let fields = [(":path", "/a//b?x=%41"), (":authority", "Site.test:8080"), ("cookie", "a=1"), ("cookie", "b=2")];
    http2.get(1, &fields);
    assert_eq!(http2.outcome(1), Outcome::Status(200));
    let seen = app.last();
    assert_eq!((seen.target(), seen.header("host")), ("/a/b?x=%41", Some("Site.test:8080")));
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!((seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")), (Some("127.0.0.1"), Some("http")));

    let body = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/in"), (":authority", "a.test")]);
    http2.send(HEADERS, END_HEADERS, 3, &body);
    http2.send(DATA, 0, 3, b"abc");
    http2.send(DATA, END_STREAM, 3, b"def");
    assert_eq!(http2.outcome(3), Outcome::Status(200));
    let seen = app.last();
    assert_eq!(
        (seen.method(), seen.text().as_str(), seen.header("transfer-encoding")),
        ("POST", "abcdef", Some("chunked"))
    );
    http2.get(5, &[(":method", "HEAD")]);
    assert_eq!(http2.outcome(5), Outcome::Status(200));
}

#[test]
fn sessions_count_and_cookie_crumbs_are_one_cookie() {
    let (app, redis) = (Upstream::echo(), Redis::start());
    let cookie = store_session(&redis, "ada", &record("42", "[]"));
    let text = format!(
        "h2c = true\n[store]\nurl = \"{}\"\n[session]\nformat = \"express\"\nsecrets = \"{}\"\nuser = \"user.id\"\n\
         login = \"https://id.test/\"\n[upstreams]\napp = \"{}\"\n[[rules]]\ndest = \"app\"\n",
        redis.url(),
        crate::harness::SECRET,
        app.url()
    );
    let gateway = Setup::new(text).start();
    refused(&gateway, &app, &[], 401);
    refused(&gateway, &app, &[("x-forwarded-user", "root"), ("x_forwarded_user", "root")], 401);
    refused(&gateway, &app, &[(":method", "POST"), ("cookie", &cookie), ("sec-fetch-site", "cross-site")], 403);
    let crumbs = [("cookie", "theme=dark"), ("cookie", cookie.as_str()), ("x_forwarded_user", "root")];
    assert_eq!(ask(&gateway, &crumbs), Outcome::Status(200));
    let seen = app.last();
    assert_eq!((seen.all("x-forwarded-user"), seen.header("x_forwarded_user")), (vec!["42"], None));
}

#[test]
fn messages_that_cannot_be_trusted_are_refused() {
    let (app, gateway) = stage("hosts = \"a.test\"");
    for fields in [
        &[("host", "b.test")][..],
        &[("host", "a.test"), ("host", "a.test")],
        &[(":authority", "-")],
        &[(":authority", "user@a.test")],
        &[(":authority", "")],
        &[(":path", "/%2e%2e/x")],
        &[(":path", "/../x")],
        &[(":path", "/a\\b")],
        &[(":path", "/%2fx")],
        &[("x-padded", " root")],
        &[("x-padded", "root\t")],
        &[("x\"quoted", "root")],
        &[("origin", "a"), ("origin", "b")],
    ] {
        let outcome = ask(&gateway, fields);
        assert!(
            matches!(outcome, Outcome::Status(400) | Outcome::Reset(_) | Outcome::Gone(_)),
            "{fields:?} {outcome:?}"
        );
        assert!(app.requests().is_empty(), "{fields:?} reached the upstream");
    }
    refused(&gateway, &app, &[(":authority", "b.test")], 421);
    refused(&gateway, &app, &[(":method", "TRACE")], 405);
    refused(&gateway, &app, &[("expect", "banana")], 417);
    refused(&gateway, &app, &[(":path", &format!("/{}", "x".repeat(9000)))], 414);
    let many: Vec<_> = (0..101).map(|index| (format!("x-{index}"), "1")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    refused(&gateway, &app, &many, 431);
    assert_eq!(ask(&gateway, &[("host", "A.test")]), Outcome::Status(200), "one host in two spellings is one");
}

#[test]
fn what_is_no_http2_never_reaches_an_upstream() {
    let (app, gateway) = stage("");
    for fields in [
        &[("connection", "close")][..],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("keep-alive", "timeout=5")],
        &[("te", "gzip")],
        &[("X-Upper", "1")],
        &[("x a", "1")],
        &[("x:a", "1")],
        &[("x", "a\r\nx-forwarded-user: root")],
        &[("x", "a\nb")],
        &[("x", "a\0b")],
        &[(":path", "")],
        &[(":path", "x")],
        &[(":path", "*")],
        &[(":path", "/a b")],
        &[(":path", "/a"), (":path", "/b")],
        &[(":method", "G E T")],
        &[(":unknown", "1")],
        &[("content-length", "5")],
        &[("content-length", "3"), ("content-length", "4")],
        &[(":scheme", "-"), (":path", "-")],
        &[(":method", "CONNECT"), (":scheme", "-"), (":path", "-")],
    ] {
        broken(&gateway, &app, fields);
    }
    // A body that is shorter, or longer, than it says.
    for (length, sent) in [("5", "abc"), ("2", "abc")] {
        let mut http2 = Http2::open(gateway.address, &[]);
        let head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.test"),
            ("content-length", length),
        ];
        http2.send(HEADERS, END_HEADERS, 1, &block(&head));
        http2.send(DATA, END_STREAM, 1, sent.as_bytes());
        assert!(!matches!(http2.outcome(1), Outcome::Status(200)), "{length} {sent}");
        assert!(app.requests().is_empty(), "a body cut short is not passed on as whole");
    }
    assert_eq!(ask(&gateway, &[]), Outcome::Status(200));
}

#[test]
fn trailers_are_dropped() {
    let (app, gateway) = stage("");
    let mut http2 = Http2::open(gateway.address, &[]);
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")];
    http2.send(HEADERS, END_HEADERS, 1, &block(&head));
    http2.send(DATA, 0, 1, b"abc");
    http2.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-forwarded-user", "root")]));
    assert_eq!(http2.outcome(1), Outcome::Status(200));
    let seen = app.last();
    assert_eq!((seen.text().as_str(), seen.trailers.len()), ("abc", 0));
}

#[test]
fn a_small_answer_does_not_wait_for_the_large_ones_of_its_connection() {
    const LARGE: usize = 4 << 20;
    let app = Upstream::start(|request| match request.target() {
        "/small" => Reply::new(200, &[], "small"),
        _ => Reply::new(200, &[], vec![b'x'; LARGE]),
    });
    let gateway = open_gateway("h2c = true", &app.url());
    let window = 1_u32 << 30;
    let mut http2 = Http2::open(gateway.address, &[(4, window)]);
    http2.send(WINDOW_UPDATE, 0, 0, &window.to_be_bytes());
    let (large, small) = (20, 41);
    for index in 0..large {
        http2.get(1 + 2 * index, &[(":path", "/large")]);
    }
    eventually("all downloads have begun", || (app.requests().len() == large as usize).then_some(()));
    // Nothing is read until its answer is there, so that only what waits before it comes before it.
    http2.get(small, &[(":path", "/small")]);
    eventually("it is asked for", || app.requests().iter().any(|seen| seen.target() == "/small").then_some(()));
    let mut before = 0;
    loop {
        let frame = http2.frame().expect("it is answered");
        if frame.stream == small && frame.flags & END_STREAM != 0 {
            break;
        }
        if frame.kind == DATA {
            before += frame.payload.len();
        }
    }
    let all = LARGE * large as usize;
    assert!(before < all / 3, "{before} of {all} bytes came first");
}

#[test]
fn so_many_requests_at_a_time_are_served() {
    let app = Upstream::start(|_| {
        std::thread::sleep(Duration::from_millis(300));
        Reply::new(200, &[], "")
    });
    let gateway = open_gateway("h2c = true\n[server.limits]\nhttp2_streams = 3", &app.url());
    let mut http2 = Http2::open(gateway.address, &[]);
    for stream in [1, 3, 5] {
        http2.get(stream, &[]);
    }
    http2.get(7, &[]);
    assert!(matches!(http2.outcome(7), Outcome::Reset(7)), "refused, and may be tried again");
    http2.get(9, &[]);
    assert!(matches!(http2.outcome(9), Outcome::Status(200) | Outcome::Reset(7)));
}

#[test]
fn silent_slow_and_idle_connections_end_within_their_limits() {
    let (app, gateway) = stage("[server.limits]\nheader_timeout = \"400ms\"\nkeepalive = \"800ms\"");
    let begun = Instant::now();
    let mut silent = Connection::open(gateway.address);
    let mut settled = Http2::open(gateway.address, &[]);
    let mut half_preface = Connection::open(gateway.address);
    half_preface.write("PRI * HT");
    let mut half_head = Http2::open(gateway.address, &[]);
    half_head.send(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]));
    let mut half_frame = Http2::open(gateway.address, &[]);
    half_frame.write(&[0, 0, 20, HEADERS, END_HEADERS]);
    let mut pinging = Http2::open(gateway.address, &[]);
    pinging.get(1, &[]);
    assert_eq!(pinging.outcome(1), Outcome::Status(200));
    for connection in [&mut silent, &mut half_preface] {
        assert!(connection.ends());
    }
    for connection in [&mut settled, &mut half_head, &mut half_frame] {
        assert!(connection.ends());
    }
    while pinging.send(PING, 0, 0, &[0; 8]) {
        assert!(begun.elapsed() < Duration::from_secs(15), "pings keep an idle connection");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn a_client_that_takes_nothing_holds_nothing_for_ever() {
    let app = Upstream::start(|_| Reply::new(200, &[], "x".repeat(200_000)));
    let gateway = open_gateway("h2c = true\n[server.limits]\nbody_timeout = \"200ms\"", &app.url());
    let mut http2 = Http2::open(gateway.address, &[(4, 0)]);
    http2.get(1, &[(":path", "/stuck")]);
    assert_eq!(http2.outcome(1), Outcome::Status(200));
    assert_eq!(http2.outcome(1), Outcome::Reset(8), "nothing was taken");
    assert_eq!(gateway.log_line("/stuck")["cut"], true);
    // One byte after the other does not help.
    http2.get(3, &[(":path", "/drip")]);
    assert_eq!(http2.outcome(3), Outcome::Status(200));
    let begun = Instant::now();
    eventually("the drip ends", || {
        http2.send(WINDOW_UPDATE, 0, 3, &1_u32.to_be_bytes());
        gateway.output().contains("/drip").then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(15));
    let mut taking = Http2::open(gateway.address, &[(4, 1 << 20)]);
    taking.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes());
    taking.get(1, &[]);
    assert_eq!(taking.outcome(1), Outcome::Status(200));
    assert_eq!(taking.rest(1).map(|body| body.len()), Some(200_000));
}

/// Floods until the connection ends; how many rounds that took.
fn flood(gateway: &Gateway, rounds: u32, mut round: impl FnMut(&mut Http2, u32) -> bool) -> u32 {
    let mut http2 = Http2::open(gateway.address, &[]);
    let sent = (0..rounds).find(|index| !round(&mut http2, *index)).unwrap_or(rounds);
    drop(http2);
    assert_eq!(ask(gateway, &[(":path", "/calm")]), Outcome::Status(200), "others are served");
    sent
}

#[test]
fn rapid_resets_end_the_connection() {
    let (app, gateway) = stage("");
    let sent = flood(&gateway, 100_000, |http2, index| {
        let stream = 2 * index + 1;
        http2.get(stream, &[]) && http2.send(RST_STREAM, 0, stream, &CANCEL)
    });
    assert!(sent < 100_000, "nobody stopped it");
    assert!(app.requests().len() < 5_000, "{} requests reached the upstream", app.requests().len());
}

#[test]
fn continuation_floods_end_the_connection() {
    let (_app, gateway) = stage("");
    let mut begun = false;
    let sent = flood(&gateway, 1_000_000, |http2, _| {
        let kind = if std::mem::replace(&mut begun, true) { CONTINUATION } else { HEADERS };
        http2.send(kind, 0, 1, &block(&[("x-flood", "y")]))
    });
    assert!(sent < 1_000_000, "nobody stopped it");
}

#[test]
fn many_small_references_to_one_large_field_are_not_expanded() {
    let (app, gateway) = stage("");
    let mut http2 = Http2::open(gateway.address, &[]);
    let mut block = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]);
    // A literal with incremental indexing, then one byte for each further copy.
    block.extend([0x40, 1, b'x', 0x7F, 0x81, 0x1E]);
    block.extend([b'v'; 4000]);
    block.extend([0xBE; 4000]);
    http2.send(HEADERS, END_STREAM | END_HEADERS, 1, &block);
    let outcome = http2.outcome(1);
    assert!(!matches!(outcome, Outcome::Status(200)), "{outcome:?}");
    assert!(app.requests().is_empty());
    assert_eq!(ask(&gateway, &[]), Outcome::Status(200));
}

#[test]
fn control_frames_in_masses_are_served_or_end_the_connection() {
    let (_app, gateway) = stage("");
    flood(&gateway, 20_000, |http2, _| http2.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xFF, 0xFF]));
    flood(&gateway, 20_000, |http2, _| http2.send(PING, 0, 0, &[7; 8]));
    flood(&gateway, 20_000, |http2, _| http2.send(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()));
    let mut begun = false;
    let head = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]);
    flood(&gateway, 20_000, |http2, _| {
        begun = begun || http2.send(HEADERS, END_HEADERS, 1, &head);
        http2.send(DATA, 0, 1, &[])
    });
}

#[test]
fn a_drain_says_go_away_and_finishes_what_was_begun() {
    let app = Upstream::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Reply::new(200, &[], "whole")
    });
    let mut gateway = open_gateway("h2c = true", &app.url());
    let _idle = Http2::open(gateway.address, &[]);
    let mut http2 = Http2::open(gateway.address, &[]);
    http2.get(1, &[]);
    eventually("the request is under way", || (app.accepted() > 0).then_some(()));
    gateway.process.signal("TERM");
    let (mut gone, mut body) = (false, Vec::new());
    while let Some(frame) = http2.frame() {
        gone |= frame.kind == GOAWAY;
        if frame.kind == PING && frame.flags == 0 {
            http2.send(PING, 1, 0, &frame.payload);
        }
        if frame.kind == DATA {
            body.extend(frame.payload);
        }
    }
    assert!(gone && body == b"whole", "{gone} {body:?}");
    assert_eq!(gateway.process.exit_code(), Some(0));
}

#[test]
fn an_upgrade_to_http2_is_not_offered() {
    let (app, gateway) = stage("");
    let request = get("/").header("Connection", "Upgrade, HTTP2-Settings").header("Upgrade", "h2c");
    assert_eq!(gateway.send(&request.header("HTTP2-Settings", "AAMAAABk")).status(), 200);
    assert_eq!(app.last().header("upgrade"), None);
    assert_eq!(gateway.send(&post("/", "a=1")).status(), 200);
}
