//! Stopping: SIGTERM loses no request.

use crate::harness::{Connection, Gateway, Http2, Listener, Outcome, Setup, Upstream, eventually, get, open_gateway};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// Ends the load, also where the test fails: it would wait for it for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn under_load_every_accepted_request_is_answered() {
    load("drain = \"20s\"", &[200]);
}

#[test]
fn without_time_to_drain_it_is_answered_too_if_only_that_it_came_too_late() {
    load("drain = \"0s\"", &[200, 503]);
}

/// Stops a gateway under load; every answer has one of these statuses.
fn load(server: &str, statuses: &[u16]) {
    let app = Upstream::echo();
    let mut gateway = open_gateway(server, &app.url());
    let address = gateway.address;
    let (answered, stopping) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (answered, stopping) = (&answered, &stopping);
        let stop = Stop(stopping);
        for _ in 0..4 {
            scope.spawn(move || keep_alive(address, statuses, answered, stopping));
            scope.spawn(move || new_connections(address, statuses, answered, stopping));
        }
        eventually("there is load", || (answered.load(Ordering::SeqCst) > 500).then_some(()));
        drop(stop);
        assert_eq!(gateway.terminate(), Some(0));
    });
}

/// Sends on one connection as long as the gateway keeps it open; it must say before that it will close.
fn keep_alive(address: SocketAddr, statuses: &[u16], answered: &AtomicUsize, stopping: &AtomicBool) {
    while let Ok(stream) = TcpStream::connect(address) {
        let mut connection = Connection::new(stream);
        loop {
            let request = get("/").header("Connection", "keep-alive");
            let sent = connection.try_write(request.bytes(address));
            let response = connection.response(false);
            let Some(response) = response.filter(|_| sent) else {
                // An idle connection may be closed while the next request is under way; nothing else may.
                assert!(stopping.load(Ordering::SeqCst), "a request was lost without need");
                break;
            };
            assert!(statuses.contains(&response.status()), "{}", response.start);
            answered.fetch_add(1, Ordering::SeqCst);
            if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                break;
            }
        }
    }
}

/// Sends each request on a connection of its own: once it is accepted it must be answered.
fn new_connections(address: SocketAddr, statuses: &[u16], answered: &AtomicUsize, stopping: &AtomicBool) {
    while let Ok(stream) = TcpStream::connect(address) {
        let mut connection = Connection::new(stream);
        let sent = connection.try_write(get("/").bytes(address));
        match connection.response(false) {
            Some(response) => assert!(statuses.contains(&response.status()), "{}", response.start),
            None => {
                panic!("an accepted request was lost (sent: {sent}, stopping: {})", stopping.load(Ordering::SeqCst))
            }
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_request_in_flight_finishes_and_its_connection_closes() {
    let app = Listener::bind();
    let mut gateway = open_gateway("", &app.url());
    let mut client = Connection::open(gateway.address);
    client.write(get("/slow").header("Connection", "keep-alive").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    let mut idle = Connection::open(gateway.address);
    get("/_onedoor/healthz").send_on(&mut idle, gateway.address);
    gateway.process.signal("TERM");
    assert!(idle.is_closed(), "an idle connection is closed at once");
    eventually("nobody listens any more", || TcpStream::connect(gateway.address).is_err().then_some(()));
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let response = client.response(false).unwrap();
    assert_eq!((response.text().as_str(), response.header("connection")), ("done", Some("close")));
    assert!(client.is_closed());
    assert_eq!(gateway.process.exit_code(), Some(0));
}

#[test]
fn a_request_that_outlasts_the_drain_is_cut_off() {
    let app = Listener::bind();
    let mut gateway = open_gateway("drain = \"200ms\"", &app.url());
    let mut client = Connection::open(gateway.address);
    client.write(get("/slow").bytes(gateway.address));
    app.accept().request().unwrap();
    assert_eq!(gateway.terminate(), Some(0));
}

#[test]
fn who_asks_after_the_drain_has_run_out_is_told_so() {
    let app = Upstream::echo();
    let mut gateway = open_gateway("h2c = true\ndrain = \"300ms\"", &app.url());
    let mut upload = Connection::open(gateway.address);
    upload.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc");
    let mut begun = Connection::open(gateway.address);
    begun.write("GET /begun HTTP/1.1\r\n");
    // It does not say that it has heard that the gateway leaves, and goes on to ask.
    let mut http2 = Http2::open(gateway.address, &[]);
    let mut streams = (1..).step_by(2);
    let mut ask = || {
        let stream = streams.next().unwrap();
        http2.get(stream, &[]);
        (http2.outcome_despite_goodbye(stream), http2.rest(stream))
    };
    assert_eq!(ask().0, Outcome::Status(200));
    gateway.process.signal("TERM");
    let body = eventually("the drain has run out", || match ask() {
        (Outcome::Status(200), _) => None,
        (outcome, body) => {
            assert_eq!(outcome, Outcome::Status(503));
            Some(String::from_utf8(body.unwrap()).unwrap())
        }
    });
    assert!(body.contains("\"reason\":\"draining\""), "{body}");
    begun.write("Host: a.test\r\n\r\n");
    let late = begun.response(false).expect("an answer");
    assert_eq!((late.status(), late.reason().as_str()), (503, "draining"));
    assert_eq!((late.header("retry-after"), late.header("connection")), (Some("1"), Some("close")));
    assert!(begun.is_closed());
    assert_eq!(gateway.process.exit_code(), Some(0));
    assert!(!app.requests().iter().any(|request| request.target() == "/begun"));
    assert_eq!(gateway.log_line("/begun")["reason"], "draining");
}

#[test]
fn during_the_drain_delay_health_fails_and_everything_is_served() {
    let app = Upstream::echo();
    let mut gateway = open_gateway("drain_delay = \"3s\"", &app.url());
    assert_eq!(get("/readyz").send(gateway.admin).status(), 200);
    gateway.process.signal("TERM");
    eventually("health fails", || (gateway.get("/_onedoor/healthz").status() == 503).then_some(()));
    assert_eq!(get("/readyz").send(gateway.admin).status(), 503);
    assert_eq!(gateway.get("/").status(), 200);
    assert_eq!(gateway.process.exit_code(), Some(0));
}

#[test]
fn sigint_stops_it_too() {
    let app = Upstream::echo();
    let mut gateway = open_gateway("", &app.url());
    gateway.process.signal("INT");
    assert_eq!(gateway.process.exit_code(), Some(0));
}

#[test]
fn an_address_in_use_is_69() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    let taken = std::fs::read_to_string(gateway.file()).unwrap();
    let mut same = launch_with(&taken);
    assert_eq!(same.process.exit_code(), Some(69), "{}", same.output());
    same.process.wait_for_output(&gateway.address.to_string());
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = taken.replace(&gateway.address.to_string(), &foreign.local_addr().unwrap().to_string());
    assert_eq!(launch_with(&text).process.exit_code(), Some(69));
}

/// Starts a gateway whose whole file is `text`.
fn launch_with(text: &str) -> Gateway {
    Setup::whole(text).launch()
}
