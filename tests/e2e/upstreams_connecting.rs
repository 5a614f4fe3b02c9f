//! Upstreams that cannot be connected to: nobody answers there at all, not even to say no.

use crate::harness::{Connection, Gateway, Listener, Setup, Upstream, eventually, get, open_rule, post};
use socket2::{Domain, Socket, Type};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

/// What nobody waits for who has been told `connect_timeout`: Linux itself gives up after more than two minutes.
const TOO_LONG: Duration = Duration::from_secs(60);

/// An address where connections are neither made nor refused: its queue is full, and the kernel drops what knocks.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let knock = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
        let queued: Vec<_> = std::iter::from_fn(knock).take(16).collect();
        assert!(queued.len() < 16, "its queue is full");
        Self { address, _listener: listener, _queued: queued }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[test]
fn where_nobody_answers_the_client_is_told_after_connect_timeout() {
    let hole = BlackHole::new();
    for scheme in ["http", "h2c", "https"] {
        let url = hole.url().replace("http", scheme);
        let gateway = Gateway::start(open_rule(&format!("{{ endpoints = \"{url}\", connect_timeout = \"300ms\" }}")));
        let begun = Instant::now();
        for request in [get("/page"), post("/page", "a=1")] {
            let response = gateway.send(&request);
            assert_eq!((response.status(), response.reason().as_str()), (502, "upstream_unreachable"), "{scheme}");
        }
        assert!(begun.elapsed() < TOO_LONG, "{scheme}");
        assert!(gateway.log_line("/page")["cause"].as_str().unwrap().contains("no connection within 300ms"));
    }
}

#[test]
fn where_somebody_else_answers_nobody_notices() {
    let (hole, app) = (BlackHole::new(), Upstream::echo());
    let endpoints = format!("[\"{}\", \"{}\"]", hole.url(), app.url());
    let settings = "connect_timeout = \"100ms\", balance = \"round_robin\"";
    let gateway = Gateway::start(open_rule(&format!("{{ endpoints = {endpoints}, {settings} }}")));
    let begun = Instant::now();
    for n in 0..20 {
        assert_eq!(post(&format!("/{n}"), "a=1").send(gateway.address).status(), 200, "nothing of it was sent before");
    }
    assert!(begun.elapsed() < TOO_LONG);
    assert_eq!(app.requests().len(), 20, "and it is sent once");
    gateway.log_line("an endpoint failed too often and gets no requests");
    let up = format!("onedoor_endpoint_up{{upstream=\"app\",endpoint=\"{}\"}} 0", hole.url());
    eventually("it is measured", || gateway.measures(&up).then_some(()));
}

#[test]
fn where_nobody_listens_any_more_what_is_open_ends_with_its_request() {
    let app = Listener::bind();
    let upstream = format!("{{ endpoints = {:?}, keepalive = \"1h\" }}", app.url());
    let gateway = Setup::new(open_rule(&upstream)).one_worker().start();
    let ask = |path: &str| {
        let mut client = Connection::open(gateway.address);
        client.write(get(path).bytes(gateway.address));
        let mut upstream = app.accept();
        upstream.request().unwrap();
        (client, upstream)
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let [(mut client, mut unused), (mut other, mut in_use)] = [ask("/1"), ask("/2")];
    unused.write(ok);
    assert_eq!(client.response(false).unwrap().text(), "ok");
    // It takes no more connections, serves those that it has, and waits for their end.
    let (mut client, mut busy) = (Connection::open(gateway.address), unused);
    client.write(get("/3").bytes(gateway.address));
    assert_eq!(busy.request().unwrap().target(), "/3", "until now it is kept");
    drop(app);
    assert_eq!(gateway.get("/4").status(), 502);
    for (client, upstream) in [(&mut client, &mut busy), (&mut other, &mut in_use)] {
        upstream.write(ok);
        assert_eq!(client.response(false).unwrap().text(), "ok");
        assert!(upstream.is_closed());
    }
}
