//! WebSockets: decided like any request, then passed byte by byte until both sides, a silence or a drain ends them.

use crate::harness::{
    Connection, Dir, Gateway, Listener, Process, Redis, Request, eventually, express_gateway, get, open_gateway,
    open_rule, record, store_session,
};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};
use tungstenite::{
    Bytes, Message, WebSocket, client,
    protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};

/// A WebSocket service that says everything back as it came. Ends with the test's process.
pub(crate) fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| converse(stream));
        }
    });
    format!("http://{address}")
}

fn converse(stream: TcpStream) -> Option<()> {
    let mut socket = tungstenite::accept_with_config(stream, Some(settings())).ok()?;
    loop {
        match socket.read().ok()? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).ok()?,
            _ => socket.flush().ok()?,
        }
    }
}

fn settings() -> WebSocketConfig {
    WebSocketConfig::default().max_frame_size(None)
}

/// A client's WebSocket, or the answer that refused it.
fn connect(address: SocketAddr, path: &str, cookie: Option<&str>) -> Result<WebSocket<TcpStream>, u16> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
    let mut request =
        tungstenite::client::IntoClientRequest::into_client_request(format!("ws://{address}{path}")).unwrap();
    if let Some(cookie) = cookie {
        request.headers_mut().insert("Cookie", cookie.parse().unwrap());
    }
    match client::client_with_config(request, stream, Some(settings())) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

/// An upgrade as it is on the wire.
fn upgrade(path: &str) -> Request {
    get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// Both ends of a tunnel as raw sockets.
fn tunnel(gateway: &Gateway, app: &Listener) -> (Connection, Connection) {
    let mut client = Connection::open(gateway.address);
    client.write(upgrade("/chat").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.head().unwrap();
    upstream.write(AGREED);
    assert_eq!(client.head().unwrap().status(), 101);
    (client, upstream)
}

#[test]
fn messages_of_every_kind_and_size_come_back_as_they_were_sent() {
    let gateway = open_gateway("", &echo());
    let mut socket = connect(gateway.address, "/", None).unwrap();
    for length in [0, 1, 125, 126, 65_535, 65_536, 16 * 1024 * 1024] {
        let sent = Bytes::from(vec![0x88; length]);
        // Sent from elsewhere: an echo of this size does not fit into the sockets' buffers.
        let mut other =
            WebSocket::from_raw_socket(socket.get_ref().try_clone().unwrap(), Role::Client, Some(settings()));
        let message = Message::Binary(sent.clone());
        let sender = thread::spawn(move || other.send(message).unwrap());
        assert!(socket.read().unwrap() == Message::Binary(sent), "{length} bytes");
        sender.join().unwrap();
    }
    socket.send(Message::Ping(Bytes::from_static(b"are you there"))).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(Bytes::from_static(b"are you there")));
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).unwrap();
    assert!(matches!(socket.read().unwrap(), Message::Close(Some(frame)) if frame.code == CloseCode::Normal));
    let open = |wanted: &str| get("/metrics").send(gateway.admin).text().contains(wanted);
    assert!(open("onedoor_websockets{rule=\"rules[0] /**\",upstream=\"app\"} 1"));
    drop(socket);
    eventually("none is open", || open("onedoor_websockets{rule=\"rules[0] /**\",upstream=\"app\"} 0").then_some(()));
    let line = gateway.log_line("\"status\":101");
    assert_eq!((line["upstream"].as_str(), line["rule"].as_str()), (Some("app"), Some("rules[0] /**")));
    let (sent, heard) = (line["received"].as_u64().unwrap(), line["bytes"].as_u64().unwrap());
    assert!(sent > 16 << 20 && heard > 16 << 20 && sent > heard, "{line}");
}

#[test]
fn a_browsers_websocket_works_through_the_gateway() {
    let gateway = open_gateway("", &echo());
    let dir = Dir::new();
    let script = dir.write(
        "client.js",
        format!(
            "const socket = new WebSocket('ws://{}/');\n\
         socket.onopen = () => socket.send('hello');\n\
         socket.onmessage = event => {{ console.log('heard ' + event.data); socket.close(1000, 'done'); }};\n\
         socket.onclose = event => console.log('closed ' + event.code + ' ' + event.wasClean);\n\
         socket.onerror = () => console.log('failed');\n",
            gateway.address
        ),
    );
    let mut node = Process::start(Command::new("node").arg("--experimental-websocket").arg(script));
    assert_eq!(node.exit_code(), Some(0));
    node.wait_for_output("heard hello");
    node.wait_for_output("closed 1000 true");
}

#[test]
fn the_upstream_sees_the_upgrade_and_the_client_its_answer() {
    let app = Listener::bind();
    let gateway = open_gateway("", &app.url());
    let mut client = Connection::open(gateway.address);
    client.write(upgrade("/chat?a=1").header("X-Forwarded-User", "root").bytes(gateway.address));
    let mut upstream = app.accept();
    let seen = upstream.head().unwrap();
    assert_eq!(seen.start, "GET /chat?a=1 HTTP/1.1");
    assert_eq!((seen.all("upgrade"), seen.all("connection")), (vec!["websocket"], vec!["Upgrade"]));
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.header("x-forwarded-user"), None);
    upstream.write(format!("{AGREED}early"));
    let answer = client.head().unwrap();
    assert_eq!((answer.status(), answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(client.some().unwrap(), b"early", "what follows the answer at once is passed on, too");
    client.write([0, 255, 10, 13]);
    assert_eq!(upstream.some().unwrap(), [0, 255, 10, 13]);
    upstream.close();
    assert!(client.is_closed());
}

#[test]
fn what_a_client_sends_too_early_waits_for_the_upstreams_word() {
    let app = Listener::bind();
    let gateway = open_gateway("", &app.url());
    let mut client = Connection::open(gateway.address);
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write([upgrade("/").bytes(gateway.address).as_slice(), smuggled].concat());
    let mut upstream = app.accept();
    upstream.head().unwrap();
    upstream.patience(Duration::from_millis(200));
    assert_eq!(upstream.some(), None, "nothing but the head is sent before the 101");
    upstream.patience(crate::harness::DEADLINE);
    upstream.write(AGREED);
    assert_eq!(client.head().unwrap().status(), 101);
    assert_eq!(upstream.some().unwrap(), smuggled);
}

#[test]
fn an_upstream_that_does_not_agree_answers_as_usual() {
    let app = Listener::bind();
    let gateway = open_gateway("", &app.url());
    let (mut client, address) = (Connection::open(gateway.address), gateway.address);
    client.write(upgrade("/").bytes(address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    upstream.write("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status(), answer.text().as_str(), answer.header("upgrade")), (426, "no", None));
    let next = thread::spawn(move || get("/next").send_on(&mut client, address));
    assert_eq!(upstream.request().unwrap().target(), "/next", "both connections are still HTTP's");
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(next.join().unwrap().status(), 200);
}

#[test]
fn only_a_websocket_that_was_asked_for_is_a_tunnel() {
    let agrees = |protocol: &'static str| {
        format!("HTTP/1.1 101 Switching\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n")
    };
    let cases: [(Request, String); 4] = [
        (get("/"), agrees("websocket")),
        (upgrade("/"), agrees("h2c")),
        (upgrade("/"), "HTTP/1.1 101 Switching\r\n\r\n".to_owned()),
        (get("/").header("Connection", "Upgrade").header("Upgrade", "h2c"), agrees("h2c")),
    ];
    for (request, says) in cases {
        let app = Listener::bind();
        let gateway = open_gateway("", &app.url());
        let mut client = Connection::open(gateway.address);
        client.write(request.bytes(gateway.address));
        let mut upstream = app.accept();
        upstream.request().unwrap();
        upstream.write(&says);
        let answer = client.response(false).unwrap();
        assert_eq!((answer.status(), answer.reason().as_str()), (502, "upstream_invalid"), "{request:?} {says:?}");
        assert!(upstream.is_closed());
    }
}

#[test]
fn another_upgrade_is_an_ordinary_request() {
    let app = crate::harness::Upstream::echo();
    let gateway = open_gateway("", &app.url());
    for (protocol, connection) in [("h2c", "Upgrade, HTTP2-Settings"), ("websocket", "close"), ("TLS/1.0", "Upgrade")] {
        let request = get("/").header("Upgrade", protocol).header("Connection", connection);
        assert_eq!(gateway.send(&request).status(), 200);
        assert_eq!(app.last().header("upgrade"), None);
    }
}

#[test]
fn access_is_decided_before_the_upgrade() {
    let redis = Redis::start();
    let gateway = express_gateway(&redis, &echo(), "login = \"https://id.test/\"", "[[rules]]\ndest = \"app\"");
    assert_eq!(connect(gateway.address, "/", None).err(), Some(401));
    let cookie = store_session(&redis, "known", &record("42", "[]"));
    let mut socket = connect(gateway.address, "/", Some(&cookie)).unwrap();
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    drop(socket);
    let line = gateway.log_line("\"status\":101");
    assert_eq!((line["user"].as_str(), line["verdict"].as_str()), (Some("42"), Some("session")), "{line}");
}

#[test]
fn a_side_that_does_not_read_slows_the_other_down() {
    let app = Listener::bind();
    let gateway = open_gateway("", &app.url());
    let (client, upstream) = tunnel(&gateway, &app);
    for (mut writer, reader) in [(client, upstream), {
        let (client, upstream) = tunnel(&gateway, &app);
        (upstream, client)
    }] {
        let (progress, written) = mpsc::channel();
        let flood = thread::spawn(move || {
            let block = vec![7; 1024 * 1024];
            for _ in 0..256 {
                if !writer.try_write(&block) || progress.send(()).is_err() {
                    break;
                }
            }
        });
        let taken = std::iter::from_fn(|| written.recv_timeout(Duration::from_secs(2)).ok()).count();
        assert!(taken < 64, "{taken} MiB were taken for a side that does not read");
        reader.close();
        drop((reader, written));
        flood.join().unwrap();
    }
}

#[test]
fn a_tunnel_outlasts_the_limits_of_requests_and_ends_after_its_own() {
    let app = Listener::bind();
    let settings = "idle_timeout = \"100ms\", response_timeout = \"300ms\", tunnel_idle = \"1s\"";
    let gateway = Gateway::start(format!(
        "[server.limits]\nkeepalive = \"100ms\"\nheader_timeout = \"100ms\"\nbody_timeout = \"100ms\"\n{}",
        open_rule(&format!("{{ endpoints = \"{}\", {settings} }}", app.url()))
    ));
    let (mut client, mut upstream) = tunnel(&gateway, &app);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(400));
        client.write([0x8a, 0x80, 0, 0, 0, 0]);
        assert_eq!(upstream.some().unwrap(), [0x8a, 0x80, 0, 0, 0, 0]);
    }
    assert_eq!(client.some().unwrap(), [0x88, 2, 0x03, 0xe9], "it has been silent for too long");
    upstream.some().unwrap();
    client.close();
    upstream.close();
    let line = gateway.log_line("\"status\":101");
    assert_eq!(line["cause"], "nothing passed within tunnel_idle");
}

#[test]
fn a_drain_closes_websockets_with_1001_behind_the_message_that_is_under_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        socket.send(Message::text("hello")).unwrap();
        let close = socket.read();
        drop(socket.flush());
        close
    });
    let mut gateway = open_gateway("drain = \"20s\"", &url);
    let mut socket = connect(gateway.address, "/", None).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    gateway.process.signal("TERM");
    let away = |close: &Message| matches!(close, Message::Close(Some(frame)) if frame.code == CloseCode::Away);
    assert!(away(&socket.read().unwrap()));
    drop(socket.flush());
    assert!(away(&service.join().unwrap().unwrap()));
    assert_eq!(gateway.process.exit_code(), Some(0));
    assert!(gateway.output().contains("the gateway leaves"), "{}", gateway.output());
}

#[test]
fn a_drain_ends_although_nobody_answers_the_goodbye() {
    let app = Listener::bind();
    let mut gateway = open_gateway("drain = \"300ms\"", &app.url());
    let (mut client, mut upstream) = tunnel(&gateway, &app);
    gateway.process.signal("TERM");
    assert_eq!(client.some().unwrap(), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(upstream.some().unwrap()[..2], [0x88, 0x82]);
    assert_eq!(gateway.process.exit_code(), Some(0));
}

#[test]
fn an_end_that_breaks_off_ends_the_other() {
    let app = Listener::bind();
    let gateway = open_gateway("", &app.url());
    let (client, mut upstream) = tunnel(&gateway, &app);
    client.close();
    drop(client);
    assert!(upstream.is_closed());
    upstream.close();
    let (mut client, upstream) = tunnel(&gateway, &app);
    upstream.close();
    drop(upstream);
    assert!(client.is_closed());
    eventually("both are logged", || (gateway.output().matches("\"status\":101").count() == 1).then_some(()));
}

#[test]
fn an_event_stream_is_passed_on_at_once_and_may_be_silent() {
    let app = Listener::bind();
    let gateway = Gateway::start(open_rule(&format!("{{ endpoints = \"{}\", idle_timeout = \"100ms\" }}", app.url())));
    let mut client = Connection::open(gateway.address);
    client.write(get("/events").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    upstream.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    assert_eq!(client.head().unwrap().status(), 200, "before the first event");
    for _ in 0..3 {
        upstream.write("data: x\n\n");
        let event = eventually("the event arrives", || client.some());
        assert!(String::from_utf8_lossy(&event).contains("data: x"));
        thread::sleep(Duration::from_millis(300));
    }
}
