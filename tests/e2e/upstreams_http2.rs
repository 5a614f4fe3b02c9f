//! Upstreams that speak HTTP/2: many requests share a connection, and one that was not looked at is not lost.

use crate::harness::{
    Connection, Gateway, Http2App, Http2Reply, Http2Setup, Listener, Message, Request, Seen, Setup, Upstream,
    eventually,
    frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS},
    get, http2_block as block, open_rule, post,
};
use rcgen::generate_simple_self_signed;
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use std::{sync::Arc, thread, time::Duration};

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// One worker, so that it is known how many connections there are.
fn gateway(upstream: &str) -> Gateway {
    Setup::new(open_rule(upstream)).one_worker().start()
}

fn echo(seen: &Seen) -> Http2Reply {
    let target = seen.url.splitn(4, '/').nth(3).unwrap_or_default();
    match target {
        "slow" => Http2Reply { delay: Duration::from_secs(1), ..Http2Reply::new("slow") },
        "empty" => Http2Reply { status: 204, ..Http2Reply::default() },
        "large" => Http2Reply::new(vec![b'x'; 3_000_000]),
        _ => {
            Http2Reply { status: 200, headers: vec![("x-app", "1")], body: seen.body.clone(), ..Http2Reply::default() }
        }
    }
}

fn app() -> Http2App {
    Http2App::start(Http2Setup::default(), echo)
}

fn listener() -> (Listener, Gateway) {
    let app = Listener::bind();
    let gateway = gateway(&format!("{:?}", app.url().replace("http", "h2c")));
    (app, gateway)
}

/// Sends a request whose answer is awaited elsewhere.
fn ask(gateway: &Gateway, request: Request) -> thread::JoinHandle<Option<Message>> {
    let address = gateway.address;
    thread::spawn(move || request.try_send(address))
}

#[test]
fn a_request_arrives_as_http2_and_its_answer_as_http1() {
    let app = app();
    let gateway = gateway(&format!("{:?}", app.url()));
    let request = get("/a%20b?c=d//e").header("Host", "Site.test:81").header("Cookie", "a=1; b=2");
    let request = request.header("Connection", "close, X-Named").header("X-Named", "1").header("TE", "gzip");
    let response = gateway.send(&request);
    assert_eq!((response.status(), response.header("x-app")), (200, Some("1")));
    let seen = app.last();
    assert_eq!((seen.method.as_str(), seen.url.as_str()), ("GET", "http://Site.test:81/a%20b?c=d//e"));
    assert_eq!((seen.all("cookie"), seen.all("x-forwarded-for")), (vec!["a=1; b=2"], vec!["127.0.0.1"]));
    for name in ["host", "connection", "x-named", "te", "transfer-encoding", "content-length"] {
        assert!(seen.all(name).is_empty(), "{name}: {seen:?}");
    }
    let response = gateway.send(&post("/", "some text"));
    assert_eq!((response.status(), response.text().as_str()), (200, "some text"));
    assert_eq!(app.last().all("content-length"), ["9"]);
    let mut chunked = Connection::open(gateway.address);
    let head = format!("POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", gateway.address);
    chunked.write(format!("{head}3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Forwarded-User: root\r\n\r\n"));
    assert_eq!(chunked.response(false).unwrap().text(), "abcdef");
    assert_eq!(app.last().trailers, None);
    assert_eq!(gateway.get("/empty").status(), 204);
    assert_eq!(gateway.get("/large").body.len(), 3_000_000);
    assert_eq!(app.accepted(), 1, "one connection is enough for one after the other");
    assert!(!gateway.output().contains("\"cut\":true"), "{}", gateway.output());
}

#[test]
fn many_requests_share_a_connection_and_the_peer_says_how_many() {
    for (streams, connections) in [(None, 1), (Some(8), 5)] {
        let app = Http2App::start(Http2Setup { streams, tls: None }, echo);
        let gateway = gateway(&format!("{:?}", app.url()));
        let asked: Vec<_> = (0..40).map(|_| ask(&gateway, get("/slow"))).collect();
        for answer in asked {
            let answer = answer.join().unwrap();
            assert_eq!(answer.map(|answer| answer.text()).as_deref(), Some("slow"));
        }
        let accepted = app.accepted();
        assert!(accepted <= connections, "{accepted} connections with {streams:?} requests at a time");
    }
}

#[test]
fn an_answer_that_is_whole_is_not_cancelled_because_its_end_comes_late() {
    let (app, gateway) = listener();
    for (length, body) in [("2", &b"ok"[..]), ("0", b"")] {
        let asked = ask(&gateway, get("/"));
        let mut http2 = app.accept_http2(&[]);
        let stream = http2.request().unwrap();
        http2.send(HEADERS, END_HEADERS, stream, &block(&[(":status", "200"), ("content-length", length)]));
        http2.send(DATA, 0, stream, body);
        assert_eq!(asked.join().unwrap().unwrap().body, body);
        http2.send(DATA, END_STREAM, stream, &[]);
        http2.send(GOAWAY, 0, 0, &[stream.to_be_bytes(), 0_u32.to_be_bytes()].concat());
        let mut frames = std::iter::from_fn(|| http2.frame());
        assert!(!frames.any(|frame| frame.kind == RST_STREAM), "{length}");
    }
    assert!(!gateway.output().contains("\"cut\":true"), "{}", gateway.output());
}

#[test]
fn a_slow_client_does_not_hold_up_the_others_on_its_connection() {
    let app = app();
    let gateway = gateway(&format!("{:?}", app.url()));
    let stalled: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Connection::open(gateway.address);
            client.write(get("/large").bytes(gateway.address));
            assert_eq!(client.head().unwrap().status(), 200);
            client
        })
        .collect();
    assert_eq!(gateway.get("/large").body.len(), 3_000_000);
    assert_eq!(app.accepted(), 1);
    drop(stalled);
}

#[test]
fn a_connection_that_is_unused_for_long_is_closed() {
    let app = Listener::bind();
    let url = app.url().replace("http", "h2c");
    let gateway = gateway(&format!("{{ endpoints = {url:?}, keepalive = \"100ms\" }}"));
    let asked = ask(&gateway, get("/"));
    let mut http2 = app.accept_http2(&[]);
    let stream = http2.request().unwrap();
    http2.answer(stream, &[(":status", "200")], None);
    assert_eq!(asked.join().unwrap().unwrap().status(), 200);
    assert!(http2.ends());
}

#[test]
fn what_was_not_looked_at_is_sent_again_whatever_it_asks_for() {
    let (app, gateway) = listener();
    // A peer that leaves says up to which request it has looked.
    let asked = ask(&gateway, post("/first", "body"));
    let mut leaving = app.accept_http2(&[]);
    let first = leaving.request().unwrap();
    leaving.send(GOAWAY, 0, 0, &[0_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    let mut next = app.accept_http2(&[]);
    let again = next.request().unwrap();
    assert_eq!((first, again), (1, 1));
    assert_eq!(next.rest(again).unwrap(), b"body", "from its beginning");
    next.answer(again, &[(":status", "201")], None);
    assert_eq!(asked.join().unwrap().unwrap().status(), 201);
    // So does one that refuses a single request.
    let asked = ask(&gateway, post("/second", "other"));
    let refused = next.request().unwrap();
    next.send(RST_STREAM, 0, refused, &REFUSED_STREAM.to_be_bytes());
    let again = next.request().unwrap();
    assert_eq!(next.rest(again).unwrap(), b"other");
    next.answer(again, &[(":status", "202")], None);
    assert_eq!(asked.join().unwrap().unwrap().status(), 202);
}

#[test]
fn what_was_begun_is_finished_on_a_connection_that_goes_away() {
    let (app, gateway) = listener();
    let asked = ask(&gateway, get("/first"));
    let mut leaving = app.accept_http2(&[]);
    let first = leaving.request().unwrap();
    leaving.send(GOAWAY, 0, 0, &[first.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    let other = ask(&gateway, get("/other"));
    let mut next = app.accept_http2(&[]);
    let second = next.request().unwrap();
    next.answer(second, &[(":status", "200")], Some(b"new"));
    assert_eq!(other.join().unwrap().unwrap().text(), "new");
    leaving.answer(first, &[(":status", "200")], Some(b"old"));
    assert_eq!(asked.join().unwrap().unwrap().text(), "old");
}

#[test]
fn what_may_have_run_is_not_sent_again() {
    let (app, gateway) = listener();
    let asked = ask(&gateway, post("/", "x"));
    let mut http2 = app.accept_http2(&[]);
    let stream = http2.request().unwrap();
    http2.send(RST_STREAM, 0, stream, &2_u32.to_be_bytes());
    let answer = asked.join().unwrap().unwrap();
    assert_eq!((answer.status(), answer.reason().as_str()), (502, "upstream_unreachable"));
    let asked = ask(&gateway, post("/", "x"));
    http2.request().unwrap();
    drop(http2);
    assert_eq!(asked.join().unwrap().unwrap().status(), 502);
    assert!(app.is_idle());
}

#[test]
fn a_client_that_leaves_ends_its_request_and_no_other() {
    let (app, gateway) = listener();
    let mut client = Connection::open(gateway.address);
    client.write(get("/left").bytes(gateway.address));
    let mut http2 = app.accept_http2(&[]);
    let left = http2.request().unwrap();
    let asked = ask(&gateway, get("/stays"));
    let stays = http2.request().unwrap();
    client.close();
    drop(client);
    assert_eq!(http2.reset(left), Some(CANCEL));
    http2.answer(stays, &[(":status", "200")], Some(b"whole"));
    assert_eq!(asked.join().unwrap().unwrap().text(), "whole");
    // The same in the middle of a body.
    let mut client = Connection::open(gateway.address);
    client.write(get("/left").bytes(gateway.address));
    let left = http2.request().unwrap();
    http2.send(HEADERS, END_HEADERS, left, &block(&[(":status", "200")]));
    http2.send(DATA, 0, left, b"begin");
    assert_eq!(client.head().unwrap().status(), 200);
    client.close();
    drop(client);
    assert_eq!(http2.reset(left), Some(CANCEL));
}

#[test]
fn a_silent_connection_gets_no_more_requests() {
    let app = Listener::bind();
    let url = app.url().replace("http", "h2c");
    let gateway = gateway(&format!("{{ endpoints = {url:?}, response_timeout = \"300ms\" }}"));
    let asked = ask(&gateway, get("/"));
    let mut silent = app.accept_http2(&[]);
    let stream = silent.request().unwrap();
    assert_eq!(asked.join().unwrap().unwrap().status(), 504);
    assert_eq!(silent.reset(stream), Some(CANCEL));
    let asked = ask(&gateway, get("/"));
    let mut next = app.accept_http2(&[]);
    let stream = next.request().unwrap();
    next.answer(stream, &[(":status", "200")], None);
    assert!(matches!(asked.join().unwrap().unwrap().status(), 200 | 504));
}

#[test]
fn answers_that_cannot_be_trusted_are_refused() {
    let many: Vec<_> = (0..20_000).map(|_| ("x-many", "vvvvvvvvvvvvvvvv")).collect();
    type Play = Box<dyn Fn(&mut crate::harness::Http2, u32)>;
    let head = |fields: &'static [(&'static str, &'static str)]| -> Play {
        Box::new(move |http2, stream| _ = http2.answer(stream, fields, None))
    };
    let plays: Vec<(&str, Play)> = vec![
        ("no status", head(&[("x-a", "1")])),
        ("two statuses", head(&[(":status", "200"), (":status", "200")])),
        ("a status that is none", head(&[(":status", "2")])),
        ("an unknown field of its own", head(&[(":status", "200"), (":strange", "1")])),
        ("a field behind others", head(&[("x-a", "1"), (":status", "200")])),
        ("capitals", head(&[(":status", "200"), ("X-Upper", "1")])),
        ("a line end", head(&[(":status", "200"), ("x-a", "1\r\nset-cookie: a=b")])),
        ("a field of the connection", head(&[(":status", "200"), ("connection", "close")])),
        ("a coding", head(&[(":status", "200"), ("transfer-encoding", "chunked")])),
        ("two lengths", head(&[(":status", "200"), ("content-length", "1"), ("content-length", "2")])),
        ("a length without a body", head(&[(":status", "200"), ("content-length", "3")])),
        ("101", head(&[(":status", "101")])),
        ("data before a head", Box::new(|http2, stream| _ = http2.send(DATA, END_STREAM, stream, b"x"))),
        (
            "a bad block",
            Box::new(|http2, stream| _ = http2.send(HEADERS, END_STREAM | END_HEADERS, stream, &[0xFF; 9])),
        ),
        ("a frame that is too long", Box::new(|http2, stream| _ = http2.send(DATA, 0, stream, &[0; 20_000]))),
        ("HTTP/1.1", Box::new(|http2, _| _ = http2.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))),
        ("an answer on another stream", Box::new(|http2, _| _ = http2.answer(99, &[(":status", "200")], None))),
        ("settings on a stream", Box::new(|http2, stream| _ = http2.send(SETTINGS, 0, stream, &[]))),
        (
            "fields without end",
            Box::new(move |http2, stream| {
                http2.send(HEADERS, 0, stream, &block(&[(":status", "200")]));
                while http2.send(CONTINUATION, 0, stream, &block(&many[..200])) {}
            }),
        ),
    ];
    let (app, gateway) = listener();
    for (what, play) in plays {
        let asked = ask(&gateway, post("/", "x"));
        let mut http2 = app.accept_http2(&[]);
        let stream = http2.request().unwrap();
        play(&mut http2, stream);
        let answer = asked.join().unwrap().unwrap_or_else(|| panic!("no answer with {what}"));
        assert_eq!(answer.status(), 502, "{what}");
        drop(http2);
        // The connection is not used again once it is gone.
        eventually("the next request finds it closed", || {
            let healthy = ask(&gateway, get("/healthy"));
            let mut next = app.accept_http2(&[]);
            let stream = next.request()?;
            next.answer(stream, &[(":status", "200"), ("content-length", "2")], Some(b"ok"));
            let answer = healthy.join().unwrap();
            drop(next);
            (answer?.text() == "ok").then_some(())
        });
    }
}

#[test]
fn a_body_that_is_cut_off_does_not_look_whole() {
    let (app, gateway) = listener();
    let length = [(":status", "200"), ("content-length", "10")];
    let open = [(":status", "200")];
    // The code of the reset; none is the end of the connection.
    for (fields, end) in [
        (&length[..], Some(2_u32)),
        (&length, Some(0)),
        (&length, None),
        (&open, Some(2)),
        (&open, Some(0)),
        (&open, None),
    ] {
        let asked = ask(&gateway, get("/").header("Accept", "*/*"));
        let mut http2 = app.accept_http2(&[]);
        let stream = http2.request().unwrap();
        http2.send(HEADERS, END_HEADERS, stream, &block(fields));
        http2.send(DATA, 0, stream, b"12345");
        if let Some(code) = end {
            http2.send(RST_STREAM, 0, stream, &code.to_be_bytes());
        }
        if end.is_some() {
            assert!(asked.join().unwrap().is_none(), "{fields:?} {end:?}");
            drop(http2);
        } else {
            drop(http2);
            assert!(asked.join().unwrap().is_none(), "{fields:?} {end:?}");
        }
    }
    // More, and less, than was said.
    for body in [&b"123"[..], b"12345678901234"] {
        let asked = ask(&gateway, get("/"));
        let mut http2 = app.accept_http2(&[]);
        let stream = http2.request().unwrap();
        http2.answer(stream, &length, Some(body));
        let answer = asked.join().unwrap();
        assert!(answer.as_ref().is_none_or(|answer| answer.status() == 502), "{answer:?}");
        drop(http2);
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_uploading() {
    let (app, gateway) = listener();
    let mut client = Connection::open(gateway.address);
    client.write(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\nbegin", gateway.address));
    let mut http2 = app.accept_http2(&[]);
    let stream = http2.request().unwrap();
    http2.answer(stream, &[(":status", "413")], Some(b"full"));
    http2.send(RST_STREAM, 0, stream, &0_u32.to_be_bytes());
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "full"));
}

#[test]
fn hints_before_the_answer_are_passed_over_and_heads_have_no_body() {
    let (app, gateway) = listener();
    let asked = ask(&gateway, get("/"));
    let mut http2 = app.accept_http2(&[]);
    let stream = http2.request().unwrap();
    http2.send(HEADERS, END_HEADERS, stream, &block(&[(":status", "103"), ("link", "</x>")]));
    http2.answer(stream, &[(":status", "200")], Some(b"ok"));
    let answer = asked.join().unwrap().unwrap();
    assert_eq!((answer.text().as_str(), answer.header("link")), ("ok", None));
    let asked = ask(&gateway, Request::new("HEAD", "/"));
    let stream = http2.request().unwrap();
    http2.answer(stream, &[(":status", "200"), ("content-length", "1234")], None);
    let head = asked.join().unwrap().unwrap();
    assert_eq!((head.status(), head.header("content-length")), (200, Some("1234")));
}

#[test]
fn a_service_without_http2_is_told_apart() {
    let app = Upstream::echo();
    let gateway =
        gateway(&format!("{{ endpoints = {:?}, connect_timeout = \"5s\" }}", app.url().replace("http", "h2c")));
    let answer = gateway.get("/");
    assert_eq!((answer.status(), answer.reason().as_str()), (502, "upstream_unreachable"));
}

#[test]
fn https_speaks_what_the_service_prefers() {
    let identity = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = |protocols: &[&[u8]]| {
        let key = PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Some(Arc::new(config))
    };
    let app = Http2App::start(Http2Setup { tls: tls(&[b"h2"]), streams: None }, echo);
    let upstream = format!("{{ endpoints = {:?}, tls = {{ ca = \"own.pem\" }} }}", app.url());
    let gateway = Setup::new(open_rule(&upstream)).file("own.pem", identity.cert.pem()).start();
    let asked: Vec<_> = (0..20).map(|_| ask(&gateway, post("/slow", "x"))).collect();
    for answer in asked {
        assert_eq!(answer.join().unwrap().unwrap().text(), "slow");
    }
    assert!(app.accepted() <= 2, "{} connections of two workers", app.accepted());
    assert_eq!(app.last().url, format!("{}/slow", app.url()));
}

#[test]
fn endpoints_are_checked_and_left_out_as_over_http1() {
    let (app, other) = (app(), app());
    let health = "{ path = \"/empty\", interval = \"50ms\", timeout = \"5s\", unhealthy_after = 1 }";
    let urls = format!("[{:?}, {:?}]", app.url(), other.url());
    let gateway = gateway(&format!("{{ endpoints = {urls}, balance = \"round_robin\", health = {health} }}"));
    eventually("both are asked", || (!app.requests().is_empty() && !other.requests().is_empty()).then_some(()));
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    let metric = |app: &Http2App, value: u8| {
        let line = format!("onedoor_endpoint_up{{upstream=\"app\",endpoint={:?}}} {value}", app.url());
        get("/metrics").send(gateway.admin).text().contains(&line)
    };
    assert!(metric(&app, 1) && metric(&other, 1));
    let gone = other.url();
    drop(other);
    gateway.process.wait_for_output("an endpoint fails its checks and gets no requests");
    assert!(gateway.output().contains(&gone));
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status(), 200);
    }
}
