//! Messages: nothing of a client's framing reaches an upstream, and what is ambiguous is refused.

use crate::harness::{Connection, Gateway, Message, Upstream, get, open_gateway, post};
use std::time::Duration;

fn stage(server: &str) -> (Upstream, Gateway) {
    let app = Upstream::echo();
    let gateway = open_gateway(server, &app.url());
    (app, gateway)
}

/// Sends bytes with `HOST` replaced by the gateway's own, and answers the first response.
fn send(gateway: &Gateway, bytes: &str) -> Option<Message> {
    let mut connection = Connection::open(gateway.address);
    connection.try_write(bytes.replace("HOST", &gateway.address.to_string()));
    connection.response(false)
}

#[track_caller]
fn refused(gateway: &Gateway, app: &Upstream, status: u16, bytes: &str) {
    let before = app.requests().len();
    let response = send(gateway, bytes).unwrap_or_else(|| panic!("no answer to {bytes:?}"));
    assert_eq!(response.status(), status, "{bytes:?}");
    let seen = app.requests().split_off(before);
    assert!(seen.is_empty(), "{bytes:?} reached the upstream: {seen:?}");
}

#[test]
fn hosts_that_are_not_exactly_one_host_are_refused() {
    let (app, gateway) = stage("");
    let heads = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.test/admin\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.test:x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test?x\r\n\r\n",
        "GET http://other.test/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ];
    for head in heads {
        refused(&gateway, &app, 400, head);
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    let (app, gateway) = stage("");
    let lines = [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 3",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Content-Length: -1",
        "Content-Length: 0x3",
        "Content-Length: ",
        "Content-Length: 99999999999999999999",
        "Content-Length : 3",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "X-A: 1\r\n folded: 1",
        "X-A: a\0b",
        "X A: 1",
        ": empty",
    ];
    for line in lines {
        refused(&gateway, &app, 400, &format!("POST / HTTP/1.1\r\nHost: HOST\r\n{line}\r\n\r\n0\r\n\r\n"));
    }
    refused(&gateway, &app, 400, "POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

#[test]
fn a_length_beside_chunks_does_not_reach_the_upstream_and_smuggles_nothing() {
    let (app, gateway) = stage("");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";
    for lines in ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let response =
            send(&gateway, &format!("POST /front HTTP/1.1\r\nHost: HOST\r\n{lines}\r\n\r\n0\r\n\r\n{smuggled}"));
        let status = response.map(|response| response.status());
        assert!(matches!(status, Some(200 | 400)), "{status:?}");
    }
    for request in app.requests() {
        assert_eq!(request.target(), "/front");
        let framings = request.all("content-length").len() + request.all("transfer-encoding").len();
        assert!(framings <= 1, "{:?}", request.headers);
    }
}

#[test]
fn a_broken_chunk_ends_the_upstream_request_unfinished() {
    let (app, gateway) = stage("");
    let bodies = [
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcX0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "zz\r\n",
    ];
    for body in bodies {
        let head = "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut connection = Connection::open(gateway.address);
        connection.write(format!("{head}{body}").replace("HOST", &gateway.address.to_string()));
        if let Some(response) = connection.response(false) {
            assert!(matches!(response.status(), 400 | 502), "{body:?}: {}", response.start);
        }
        assert!(app.requests().is_empty(), "{body:?} was passed on as a whole request");
    }
    assert_eq!(gateway.get("/after").status(), 200);
}

#[test]
fn methods_that_open_tunnels_or_mirror_are_refused() {
    let (app, gateway) = stage("");
    refused(&gateway, &app, 405, "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n");
    refused(&gateway, &app, 405, "TRACE / HTTP/1.1\r\nHost: HOST\r\n\r\n");
}

#[test]
fn an_unknown_expectation_is_refused_and_a_known_one_is_met_by_the_gateway() {
    let (app, gateway) = stage("");
    refused(&gateway, &app, 417, "POST / HTTP/1.1\r\nHost: HOST\r\nExpect: banana\r\nContent-Length: 3\r\n\r\n");
    let mut connection = Connection::open(gateway.address);
    let head = "POST / HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    connection.write(head.replace("HOST", &gateway.address.to_string()));
    assert_eq!(connection.response(false).unwrap().status(), 100);
    connection.write("abc");
    assert_eq!(connection.response(false).unwrap().json()["length"], 3);
    assert_eq!(app.last().header("expect"), None);
}

#[test]
fn fields_that_may_stand_once_are_refused_twice() {
    let (app, gateway) = stage("");
    for name in ["Authorization", "Content-Type", "Origin", "Referer"] {
        refused(&gateway, &app, 400, &format!("GET / HTTP/1.1\r\nHost: HOST\r\n{name}: a\r\n{name}: b\r\n\r\n"));
    }
}

#[test]
fn heads_have_limits() {
    let (app, gateway) = stage("");
    let long = "x".repeat(9 * 1024);
    let uri = send(&gateway, &format!("GET /{long} HTTP/1.1\r\nHost: HOST\r\n\r\n")).unwrap();
    assert_eq!((uri.status(), uri.reason().as_str()), (414, "uri_too_long"));
    let lines: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = send(&gateway, &format!("GET / HTTP/1.1\r\nHost: HOST\r\n{lines}\r\n")).unwrap();
    assert_eq!((many.status(), many.reason().as_str()), (431, "headers_too_large"));
    let lines: String = (0..9).map(|n| format!("X-{n}: {}\r\n", "y".repeat(4 * 1024))).collect();
    let large = send(&gateway, &format!("GET / HTTP/1.1\r\nHost: HOST\r\n{lines}\r\n")).unwrap();
    assert_eq!((large.status(), large.reason().as_str()), (431, "headers_too_large"));
    assert!(app.requests().is_empty());
    let lines: String = (0..90).map(|n| format!("X-{n}: {}\r\n", "y".repeat(200))).collect();
    let fine = send(&gateway, &format!("GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n{lines}\r\n")).unwrap();
    assert_eq!(fine.status(), 200);
}

#[test]
fn bodies_have_a_limit_where_the_file_says_so() {
    let (app, gateway) = stage("[server.limits]\nbody = \"1KiB\"");
    let large = gateway.send(&post("/", &"x".repeat(1025)));
    assert_eq!((large.status(), large.reason().as_str()), (413, "body_too_large"));
    assert!(app.requests().is_empty(), "a declared length is refused before anything is sent");
    assert_eq!(gateway.send(&post("/", &"x".repeat(1024))).status(), 200);
    let chunk = format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025));
    let head = "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(send(&gateway, &format!("{head}{chunk}")).unwrap().status(), 413);
    assert_eq!(app.requests().len(), 1, "a body cut short is not passed on as whole");
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let (_app, gateway) = stage("[server.limits]\nbody_timeout = \"200ms\"");
    let response = send(&gateway, "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    assert_eq!((response.status(), response.reason().as_str()), (408, "request_timeout"));
}

#[test]
fn slow_heads_and_idle_connections_are_closed_without_an_answer() {
    let (_app, gateway) = stage("[server.limits]\nheader_timeout = \"200ms\"");
    let mut slow = Connection::open(gateway.address);
    slow.write("GET / HT");
    assert!(slow.is_closed());
    let mut behind = Connection::open(gateway.address);
    behind.write(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\nGET / HT", gateway.address));
    assert_eq!(behind.response(false).map(|response| response.status()), Some(200));
    assert!(behind.is_closed());
    let (_app, gateway) = stage("[server.limits]\nkeepalive = \"200ms\"");
    let mut idle = Connection::open(gateway.address);
    assert_eq!(get("/").send_on(&mut idle, gateway.address).status(), 200);
    assert!(idle.is_closed());
}

#[test]
fn trailers_are_dropped() {
    let (app, gateway) = stage("");
    let response = send(
        &gateway,
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-User, X-Evil\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Forwarded-User: mallory\r\nX-Evil: mallory\r\n\r\n",
    );
    assert_eq!(response.unwrap().json()["length"], 3);
    let seen = app.last();
    assert_eq!((seen.trailers.len(), seen.header("trailer")), (0, None));
    assert!(!String::from_utf8_lossy(&seen.head).contains("mallory"));
}

#[test]
fn hop_by_hop_fields_end_here() {
    let (app, gateway) = stage("");
    let request = get("/")
        .header("Connection", "close, X-Named, Upgrade, HTTP2-Settings")
        .header("X-Named", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABk");
    assert_eq!(gateway.send(&request).status(), 200);
    let seen = app.last();
    for name in ["x-named", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_ne!(seen.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
}

#[test]
fn pipelined_requests_are_answered_in_order_and_the_old_version_is_understood() {
    let (_app, gateway) = stage("");
    let mut connection = Connection::open(gateway.address);
    let one = format!("GET /one HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address);
    connection.write(format!("{one}{}", one.replace("/one", "/two")));
    for target in ["/one", "/two"] {
        assert_eq!(connection.response(false).unwrap().json()["target"], target);
    }
    let mut old = Connection::open(gateway.address);
    old.write(format!("GET /old HTTP/1.0\r\nHost: {}\r\n\r\n", gateway.address));
    assert_eq!(old.response(false).unwrap().json()["target"], "/old");
    assert!(old.is_closed());
}

#[test]
fn a_stalled_client_does_not_hold_up_others() {
    let (_app, gateway) = stage("");
    let stalled: Vec<Connection> = (0..50)
        .map(|_| {
            let mut connection = Connection::open(gateway.address);
            connection.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
            connection
        })
        .collect();
    let mut brisk = Connection::open(gateway.address);
    brisk.patience(Duration::from_secs(5));
    assert_eq!(get("/").send_on(&mut brisk, gateway.address).status(), 200);
    drop(stalled);
}
