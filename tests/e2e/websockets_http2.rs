//! WebSockets over HTTP/2 (RFC 8441): asked for by extended CONNECT, and HTTP/1.1 to their services.

use crate::harness::{
    Connection, Gateway, Http2, Listener, Outcome, Redis,
    frames::{DATA, END_STREAM},
    open_gateway, record, store_session,
};
use ring::digest;

const HELLO: [u8; 8] = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
/// 1001 as a server says it.
const AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

fn accept_of(key: &str) -> String {
    let sum = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, sum.as_bytes());
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, sum)
}

/// The upstream's side of a WebSocket that it agrees to.
fn agree(app: &Listener) -> Connection {
    let mut upstream = app.accept();
    let seen = upstream.head().unwrap();
    assert_eq!(
        (seen.method(), seen.header("upgrade"), seen.header("connection")),
        ("GET", Some("websocket"), Some("Upgrade"))
    );
    assert_eq!((seen.header("sec-websocket-version"), seen.header(":protocol")), (Some("13"), None));
    let accept = accept_of(seen.header("sec-websocket-key").unwrap());
    upstream.write(format!(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ));
    upstream
}

fn h2c(app: &Listener, server: &str) -> Gateway {
    open_gateway(&format!("h2c = true\n{server}"), &app.url())
}

/// Both ends of a tunnel.
fn tunnel(gateway: &Gateway, app: &Listener, fields: &[(&str, &str)]) -> (Http2, Connection) {
    let mut client = Http2::open(gateway.address, &[]);
    client.websocket(1, fields);
    let upstream = agree(app);
    assert_eq!(client.outcome(1), Outcome::Status(200));
    (client, upstream)
}

#[test]
fn bytes_pass_both_ways_and_each_end_is_told_of_the_others() {
    let app = Listener::bind();
    let gateway = h2c(&app, "");
    let (mut client, mut upstream) = tunnel(&gateway, &app, &[(":path", "/chat")]);
    client.send(DATA, 0, 1, &HELLO);
    assert_eq!(upstream.some().unwrap(), HELLO);
    upstream.write(HELLO);
    assert_eq!(client.bytes(1, HELLO.len()), HELLO);
    client.get(3, &[(":path", "/beside")]);
    let mut beside = app.accept();
    assert_eq!(beside.request().unwrap().target(), "/beside", "other requests go on beside it");
    beside.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.outcome(3), Outcome::Status(200));
    client.send(DATA, END_STREAM, 1, &[]);
    assert!(upstream.is_closed());
    upstream.close();
    let line = gateway.log_line("\"/chat\"");
    assert_eq!((line["status"].as_i64(), line["received"].as_u64()), (Some(200), Some(8)), "{line}");
}

#[test]
fn who_does_not_agree_opens_no_tunnel() {
    let app = Listener::bind();
    let gateway = h2c(&app, "");
    let agreed = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), 502),
        (format!("{agreed}\r\n"), 502),
        (format!("{agreed}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403),
    ] {
        let mut client = Http2::open(gateway.address, &[]);
        client.websocket(1, &[]);
        let mut upstream = app.accept();
        upstream.head().unwrap();
        upstream.write(&answer);
        assert_eq!(client.outcome(1), Outcome::Status(status), "{answer}");
        upstream.close();
    }
    for protocol in ["connect-udp", "-"] {
        let mut client = Http2::open(gateway.address, &[]);
        client.websocket(1, &[(":protocol", protocol)]);
        assert!(!matches!(client.outcome(1), Outcome::Status(200..400)), "{protocol}");
    }
    assert!(app.is_idle());
}

#[test]
fn session_and_origin_are_asked_for_and_the_tunnel_ends_with_its_session() {
    let (redis, app) = (Redis::start(), Listener::bind());
    let (store, url, secret) = (redis.url(), app.url(), crate::harness::SECRET);
    let gateway = Gateway::start(format!(
        "h2c = true\n[store]\nurl = \"{store}\"\n[session]\nformat = \"express\"\nsecrets = [\"{secret}\"]\n\
         user = \"user.id\"\nlogin = \"https://id.test/\"\n[upstreams]\napp = \"{url}\"\n[[rules]]\ndest = \"app\"\n"
    ));
    let cookie = store_session(&redis, "one", &record("42", "[]"));
    let ask = |fields: &[(&str, &str)]| {
        let mut client = Http2::open(gateway.address, &[]);
        client.websocket(1, fields);
        client.outcome(1)
    };
    assert_eq!(ask(&[]), Outcome::Status(401));
    assert_eq!(ask(&[("cookie", &cookie), ("origin", "http://evil.test")]), Outcome::Status(403));
    assert!(app.is_idle());
    let (mut client, mut upstream) = tunnel(&gateway, &app, &[("cookie", &cookie), ("origin", "http://a.test")]);
    gateway.armed();
    redis.ask(&["DEL", "sess:one"]);
    let heard = client.bytes(1, 4);
    assert_eq!(heard[2..4], [0x03, 0xf0], "{heard:?}");
    assert_eq!(upstream.some().unwrap()[0], 0x88);
}

#[test]
fn a_drain_says_1001_on_the_stream_and_waits_for_its_end() {
    let app = Listener::bind();
    let mut gateway = h2c(&app, "drain = \"60s\"");
    let (mut client, mut upstream) = tunnel(&gateway, &app, &[]);
    gateway.process.signal("TERM");
    assert_eq!(client.bytes(1, AWAY.len()), AWAY);
    assert_eq!(upstream.some().unwrap()[..2], [0x88, 0x82]);
    client.send(DATA, END_STREAM, 1, &[0x88, 0x80, 0, 0, 0, 0]);
    upstream.write(AWAY);
    upstream.close();
    assert_eq!(gateway.process.exit_code(), Some(0));
    assert!(gateway.output().contains("the gateway leaves"), "{}", gateway.output());
}
