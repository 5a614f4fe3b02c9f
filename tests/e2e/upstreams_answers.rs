//! Answers of upstreams, byte by byte: what is sound passes, what is not reaches nobody as if it were, and no byte of
//! one answer is ever taken for the next.

use crate::harness::{
    Connection, Gateway, Listener, Reply, Request, Setup, Upstream, get, open_rule, post, post_http2,
};
use std::time::Duration;

/// What the client sees.
#[derive(Debug, Clone, Copy)]
enum Sees {
    /// This status, this Content-Length and this body.
    Whole(u16, Option<&'static str>, &'static str),
    /// 502 `upstream_invalid`.
    Refused,
    /// 502, or an answer that is visibly cut off.
    Broken,
}
use Sees::{Broken, Refused, Whole};

/// One worker: its kept connection is the one that the next request would go to.
fn lonely(upstream: &str) -> Gateway {
    Setup::new(open_rule(upstream)).one_worker().start()
}

/// Sends a request for each of these answers, and after each another one, which must get its own.
fn judge(method: &str, table: &'static [(&'static str, Sees)]) {
    let app = Upstream::start(move |request| match request.target().trim_start_matches('/').parse::<usize>() {
        Ok(row) => Reply::raw(table[row].0),
        Err(_) => Reply::new(200, &[], "the next"),
    });
    // Those that are only over when their connection is.
    let closing = Upstream::start(move |request| match request.target().trim_start_matches('/').parse::<usize>() {
        Ok(row) => Reply::raw(table[row].0).close(),
        Err(_) => Reply::new(200, &[], "the next").close(),
    });
    for app in [app, closing] {
        let gateway =
            lonely(&format!("{{ endpoints = {:?}, response_timeout = \"30s\", idle_timeout = \"1s\" }}", app.url()));
        for (row, (bytes, sees)) in table.iter().enumerate() {
            let mut client = Connection::open(gateway.address);
            client.write(Request::new(method, &format!("/{row}")).bytes(gateway.address));
            let response = client.response(method == "HEAD");
            match (sees, response) {
                (Whole(status, length, body), Some(response)) => {
                    let seen = (response.status(), response.header("content-length"), response.text());
                    assert_eq!(seen, (*status, *length, (*body).to_owned()), "{bytes:?}");
                }
                (Refused, Some(response)) => {
                    let seen = (response.status(), response.reason());
                    assert_eq!(seen, (502, "upstream_invalid".to_owned()), "{bytes:?}");
                }
                (Broken, Some(response)) => assert_eq!(response.status(), 502, "{bytes:?}"),
                (Broken, None) => {}
                (sees, None) => panic!("{bytes:?} should be {sees:?} and broke off"),
            }
            for _ in 0..2 {
                assert_eq!(gateway.get("/next").text(), "the next", "after {bytes:?}");
            }
        }
    }
}

#[test]
fn sound_answers_pass() {
    judge(
        "GET",
        &[
            (
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/10\r\nContent-Length: 4\r\n\r\n0123",
                Whole(206, Some("4"), "0123"),
            ),
            (
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n",
                Whole(416, Some("0"), ""),
            ),
            ("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Whole(205, Some("0"), "")),
            ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", Whole(200, Some("2"), "ok")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Whole(200, Some("2"), "ok")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n",
                Whole(200, None, "ok"),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n0002\r\nok\r\n000\r\n\r\n", Whole(200, None, "ok")),
            ("HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\nok", Whole(799, Some("2"), "ok")),
        ],
    );
}

#[test]
fn answers_before_the_answer_are_passed_over() {
    judge(
        "GET",
        &[
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                Whole(200, Some("2"), "ok"),
            ),
            (
                "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                Whole(200, Some("2"), "ok"),
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n\
             HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                Whole(204, None, ""),
            ),
            ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nevil", Refused),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Refused),
        ],
    );
}

#[test]
fn answers_that_have_no_body_have_none_whatever_they_say() {
    judge(
        "GET",
        &[
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Whole(204, None, "")),
            (
                "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                Whole(204, None, ""),
            ),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Whole(304, None, "")),
            (
                "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
                Whole(304, None, ""),
            ),
        ],
    );
    judge(
        "HEAD",
        &[
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Whole(200, Some("5"), "")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, Some("5"), "")),
            ("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", Whole(404, None, "")),
        ],
    );
}

#[test]
fn framing_that_may_be_read_in_two_ways_is_refused_or_settled() {
    judge(
        "GET",
        &[
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                Whole(200, None, "ok"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                Whole(200, None, "ok"),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Refused),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                Refused,
            ),
        ],
    );
}

#[test]
fn what_is_no_answer_is_refused() {
    judge(
        "GET",
        &[
            ("HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nNo colon\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("HTTP/1.1 200 OK\r\nX-A: a\r\n folded\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Refused),
            ("ICY 200 OK\r\n\r\nok", Refused),
            ("<html>hello</html>\r\n\r\n", Refused),
        ],
    );
}

#[test]
fn chunks_that_are_none_from_the_first_are_refused() {
    judge(
        "GET",
        &[
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", Refused),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n", Refused),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", Refused),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n", Refused),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<html>hello\r\n</html>", Refused),
        ],
    );
}

#[test]
fn bodies_that_break_off_are_never_whole() {
    judge(
        "GET",
        &[
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX0\r\n\r\n", Broken),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", Broken),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Broken),
        ],
    );
}

#[test]
fn what_breaks_off_at_once_is_seen_to_have_been_answered() {
    const ANSWERS: [&str; 6] = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nno field\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    ];
    let app = Upstream::start(|request| {
        let row: usize = request.target().trim_start_matches('/').parse().unwrap();
        Reply::raw(ANSWERS[row]).close()
    });
    let gateway = Gateway::start(format!("h2c = true\n{}", open_rule(&format!("{:?}", app.url()))));
    for (row, bytes) in ANSWERS.iter().enumerate() {
        let path = format!("/{row}");
        let mut client = Connection::open(gateway.address);
        client.write(post(&path, "a=1").bytes(gateway.address));
        assert_eq!(client.head().unwrap().status(), 200, "{bytes:?}");
        let body: Vec<u8> = std::iter::from_fn(|| client.some()).flatten().collect();
        assert!(client.is_closed() && !body.ends_with(b"0\r\n\r\n") && body.len() < 9, "{bytes:?}");
        let answer = post_http2(gateway.address, &path, &[], b"a=1", &[]);
        assert!(answer.status == 200 && answer.body.is_err(), "{bytes:?}: {answer:?}");
    }
    assert_eq!(app.requests().len(), 2 * ANSWERS.len(), "and nothing is sent twice");
}

#[test]
fn what_follows_an_answer_is_no_answer() {
    judge(
        "GET",
        &[
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
                Whole(200, Some("2"), "ok"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
                Whole(200, None, "ok"),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok more than it said", Whole(200, Some("2"), "ok")),
            ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", Whole(204, None, "")),
        ],
    );
}

#[test]
fn what_comes_on_an_unused_connection_is_no_answer() {
    let app = Listener::bind();
    let gateway = lonely(&format!("{{ endpoints = {:?}, keepalive = \"1h\" }}", app.url()));
    let ask = || {
        let mut client = Connection::open(gateway.address);
        client.write(get("/").bytes(gateway.address));
        client
    };
    for stale in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 408 Too Slow\r\nContent-Length: 0\r\n\r\n",
        "x",
    ] {
        let mut client = ask();
        let mut upstream = app.accept();
        upstream.request().unwrap();
        upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response(false).unwrap().text(), "ok");
        upstream.write(stale);
        assert!(upstream.is_closed(), "{stale:?}");
    }
    let _client = ask();
    app.accept().request().unwrap();
}

#[test]
fn a_connection_is_kept_as_long_as_both_sides_keep_it() {
    let app = Listener::bind();
    // Each row would keep it for an hour if the gateway did not follow the one that says less.
    for (ours, theirs) in [("1h", "timeout=1"), ("1h", "max=100, timeout=2"), ("1s", "timeout=3600"), ("0s", "x")] {
        let gateway = lonely(&format!("{{ endpoints = {:?}, keepalive = {ours:?} }}", app.url()));
        let mut client = Connection::open(gateway.address);
        client.write(get("/").bytes(gateway.address));
        let mut upstream = app.accept();
        upstream.request().unwrap();
        upstream.write(format!("HTTP/1.1 200 OK\r\nKeep-Alive: {theirs}\r\nContent-Length: 2\r\n\r\nok"));
        assert_eq!(client.response(false).unwrap().text(), "ok");
        assert!(upstream.is_closed(), "{ours} and {theirs}");
    }
}

#[test]
fn the_time_that_an_upstream_keeps_a_connection_counts_from_its_head_at_the_latest() {
    let app = Listener::bind();
    let gateway = lonely(&format!("{{ endpoints = {:?}, keepalive = \"1h\" }}", app.url()));
    let ask = |request: Request| {
        let mut client = Connection::open(gateway.address);
        client.write(request.bytes(gateway.address));
        client
    };
    let mut client = ask(get("/slow"));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    upstream.write("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3\r\nContent-Length: 10\r\n\r\n12345");
    // All of it may have been written long ago, for all that is known here.
    std::thread::sleep(Duration::from_millis(2100));
    upstream.write("67890");
    assert_eq!(client.response(false).unwrap().text(), "1234567890");
    let mut client = ask(post("/once", "a=1"));
    let mut fresh = app.accept();
    assert_eq!(fresh.request().unwrap().target(), "/once", "it is about to close the other");
    fresh.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response(false).unwrap().text(), "ok");
    assert!(upstream.is_closed());
}

#[test]
fn a_body_that_falls_silent_is_given_up() {
    let app = Listener::bind();
    let gateway = lonely(&format!("{{ endpoints = {:?}, idle_timeout = \"300ms\" }}", app.url()));
    let mut client = Connection::open(gateway.address);
    client.write(get("/silent").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    assert!(client.response(false).is_none_or(|response| response.status() == 502));
    assert!(upstream.is_closed());
    assert_eq!(gateway.log_line("/silent")["cause"], "the upstream fell silent in the middle of its body");
}

#[test]
fn an_early_answer_spoils_its_connection_for_others() {
    let app = Listener::bind();
    let gateway = lonely(&format!("{:?}", app.url()));
    let mut client = Connection::open(gateway.address);
    client.write(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\nbegin", gateway.address));
    let mut first = app.accept();
    first.head().unwrap();
    first.write("HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nfull");
    assert_eq!(client.response(false).unwrap().status(), 413);
    let mut other = Connection::open(gateway.address);
    other.write(get("/next").bytes(gateway.address));
    let mut second = app.accept();
    assert_eq!(second.request().unwrap().target(), "/next");
    second.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(other.response(false).unwrap().text(), "ok");
}

#[test]
fn hints_without_end_are_no_answer() {
    let app = Listener::bind();
    let gateway = lonely(&format!("{{ endpoints = {:?}, response_timeout = \"1h\" }}", app.url()));
    let mut client = Connection::open(gateway.address);
    client.write(get("/").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    while upstream.try_write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(10)) {}
    let response = client.response(false).unwrap();
    assert_eq!((response.status(), response.reason().as_str()), (502, "upstream_invalid"));
}

#[test]
fn questions_about_parts_and_changes_reach_the_upstream() {
    let app = Upstream::echo();
    let gateway = lonely(&format!("{:?}", app.url()));
    let fields = [
        ("Range", "bytes=0-3, 5-"),
        ("If-Range", "\"v1\""),
        ("If-None-Match", "\"a\", W/\"b\""),
        ("If-Modified-Since", "Sat, 21 Nov 2026 00:00:00 GMT"),
        ("If-Match", "*"),
    ];
    let request = fields.iter().fold(get("/"), |request, (name, value)| request.header(name, value));
    assert_eq!(gateway.send(&request).status(), 200);
    for (name, value) in fields {
        assert_eq!(app.last().all(name), [value]);
    }
}
