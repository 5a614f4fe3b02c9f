//! The PROXY protocol: believed from trusted balancers, in time, and from nobody else.

use crate::harness::{Connection, Gateway, Message, Upstream, open_gateway};

fn stage(server: &str) -> (Upstream, Gateway) {
    let app = Upstream::echo();
    let gateway = open_gateway(server, &app.url());
    (app, gateway)
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

/// 192.0.2.7:12345 to 10.0.0.1:443.
const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xBB];
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n";

fn send(gateway: &Gateway, beginning: &[u8]) -> Option<Message> {
    let mut connection = Connection::open(gateway.address);
    connection.try_write([beginning, GET].concat());
    connection.response(false)
}

#[test]
fn a_trusted_balancer_speaks_for_its_client() {
    for mode in ["required", "optional"] {
        let (app, gateway) = stage(&format!("proxy_protocol = \"{mode}\"\ntrusted_proxies = \"127.0.0.1\""));
        let tls = [&IPV4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        for (header, proto) in
            [(LINE.to_vec(), "http"), (v2(0x21, 0x11, &IPV4), "http"), (v2(0x21, 0x11, &tls), "https")]
        {
            assert_eq!(send(&gateway, &header).unwrap().status(), 200, "{mode}");
            let seen = app.last();
            assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.7"), "the client is no trusted proxy");
            assert_eq!(seen.header("x-forwarded-proto"), Some(proto));
        }
        for local in [v2(0x20, 0x00, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
            assert_eq!(send(&gateway, &local).unwrap().status(), 200);
            let seen = app.last();
            assert_eq!(seen.header("x-forwarded-for"), Some("1.1.1.1, 127.0.0.1"), "the balancer's own word counts");
        }
        let without = send(&gateway, b"").map(|answer| answer.status());
        assert_eq!(without, (mode == "optional").then_some(200), "{mode}");
    }
}

#[test]
fn a_header_may_come_in_pieces_but_not_slowly() {
    let server = "proxy_protocol = \"required\"\ntrusted_proxies = \"127.0.0.1\"\n\
                  [server.limits]\nheader_timeout = \"400ms\"";
    let (app, gateway) = stage(server);
    let mut pieces = Connection::open(gateway.address);
    for byte in LINE {
        pieces.write([*byte]);
    }
    pieces.write(GET);
    assert_eq!(pieces.response(false).unwrap().status(), 200);
    for beginning in [&b""[..], b"PRO", b"\r\n\r\n\0", &v2(0x21, 0x11, &IPV4)[..20]] {
        let mut slow = Connection::open(gateway.address);
        slow.write(beginning);
        assert!(slow.is_closed(), "{beginning:?}");
    }
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn malformed_headers_end_the_connection() {
    let (app, gateway) = stage("proxy_protocol = \"optional\"\ntrusted_proxies = \"127.0.0.1\"");
    let beyond = [&IPV4[..], &[0x20, 0xFF, 0xFF, 1]].concat();
    for header in [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n".to_vec(),
        b"PROXY TCP4 999.0.2.7 10.0.0.1 12345 443\r\n".to_vec(),
        [b"PROXY ", &[b'x'; 200][..], b"\r\n"].concat(),
        v2(0x11, 0x11, &IPV4),
        v2(0x21, 0x11, &beyond),
        v2(0x21, 0x11, &IPV4[..4]),
        v2(0x21, 0x12, &IPV4),
    ] {
        assert!(send(&gateway, &header).is_none(), "{header:?}");
    }
    assert!(app.requests().is_empty());
}

#[test]
fn a_stranger_speaks_for_nobody() {
    let (app, gateway) = stage("proxy_protocol = \"optional\"\ntrusted_proxies = \"10.0.0.0/8\"");
    let line = send(&gateway, LINE).unwrap();
    assert_eq!(line.status(), 400, "it is no HTTP");
    assert_eq!(send(&gateway, b"").unwrap().status(), 200);
    assert_eq!(app.last().header("x-forwarded-for"), Some("127.0.0.1"));
    let (app, gateway) = stage("proxy_protocol = \"required\"\ntrusted_proxies = \"10.0.0.0/8\"");
    assert!(send(&gateway, LINE).is_none());
    assert!(send(&gateway, b"").is_none());
    assert!(app.requests().is_empty());
}

/// Whoever a balancer speaks for is counted, not the balancer: one client's share is not another's.
#[test]
fn limits_count_the_client_that_the_balancer_speaks_for() {
    let app = Upstream::echo();
    let gateway = Gateway::start(format!(
        "proxy_protocol = \"required\"\ntrusted_proxies = \"127.0.0.1\"\n[limits.few]\nrequests = 2\nper = \"1h\"\nby = \"ip\"\n\
         [upstreams]\napp = \"{}\"\n[[rules]]\nsession = \"off\"\ndest = \"app\"\nlimit = \"few\"\n",
        app.url()
    ));
    let ask = |beginning: &[u8], lines: &str| {
        let mut connection = Connection::open(gateway.address);
        connection.write([beginning, format!("GET / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n").as_bytes()].concat());
        connection.response(false).unwrap().status()
    };
    let line = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 12345 443\r\n").into_bytes();
    for client in ["192.0.2.7", "192.0.2.8"] {
        let statuses = [(); 3].map(|()| ask(&line(client), ""));
        assert_eq!(statuses, [200, 200, 429], "{client}");
    }
    // Connections of the balancer's own, which it may use for requests of others.
    for own in [v2(0x20, 0x00, &[]), b"PROXY UNKNOWN\r\n".to_vec(), v2(0x20, 0x11, &IPV4)] {
        assert_eq!(ask(&own, "X-Forwarded-For: 192.0.2.7\r\n"), 429, "the client that has had its share");
    }
    for client in ["192.0.2.20", "192.0.2.21", "192.0.2.22"] {
        assert_eq!(ask(b"PROXY UNKNOWN\r\n", &format!("X-Forwarded-For: {client}\r\n")), 200, "{client}");
    }
    for own in [&b"PROXY UNKNOWN\r\n"[..], &v2(0x20, 0x00, &[])] {
        let mut check = Connection::open(gateway.address);
        check.write([own, b"GET /_onedoor/healthz HTTP/1.0\r\n\r\n"].concat());
        assert_eq!(check.response(false).unwrap().status(), 200, "its checks are under no limit");
    }
}
