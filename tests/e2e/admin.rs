//! The admin listener: liveness and readiness, apart from the public one.

use crate::harness::{Connection, Redis, Request, Upstream, express_gateway, get, open_gateway};

#[test]
fn livez_and_readyz_answer() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(path).send(gateway.admin).status(), 200, "{path}");
    }
    assert_eq!(get("/nowhere").send(gateway.admin).status(), 404);
}

#[test]
fn a_store_that_is_down_is_told_but_does_not_make_it_unready() {
    let (mut redis, app) = (Redis::start(), Upstream::echo());
    let gateway = express_gateway(
        &redis,
        &app.url(),
        "",
        "[[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"off\"\n[[rules]]\ndest = \"app\"",
    );
    redis.kill();
    crate::harness::eventually("readyz tells of the store", || {
        let response = get("/readyz").send(gateway.admin);
        assert_eq!(response.status(), 200);
        (response.json()["store"] == "degraded").then_some(())
    });
    redis.restart();
    crate::harness::eventually("readyz tells that it is back", || {
        (get("/readyz").send(gateway.admin).json()["store"] != "degraded").then_some(())
    });
}

#[test]
fn foreign_hosts_and_other_sites_scripts_are_refused() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    assert_eq!(get("/livez").header("Host", "localhost:9090").send(gateway.admin).status(), 200);
    assert_ne!(get("/livez").header("Host", "rebound.evil.test").send(gateway.admin).status(), 200);
    let twice = get("/livez").header("Host", "localhost").header("Host", "rebound.evil.test");
    assert_eq!(twice.send(gateway.admin).status(), 403);
    assert_eq!(get("http://evil.test/livez").header("Host", "localhost").send(gateway.admin).status(), 403);
    assert_eq!(get("/livez").header("Sec-Fetch-Site", "cross-site").send(gateway.admin).status(), 403);
}

#[test]
fn a_crowd_at_its_door_keeps_no_probe_out() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    let begin = || {
        let mut connection = Connection::open(gateway.admin);
        connection.try_write("GET /livez HTTP/1.1\r\nHost: localhost\r\n");
        connection
    };
    let mut first = begin();
    let crowd: Vec<_> = (0..200).map(|_| begin()).collect();
    assert_eq!(get("/livez").send(gateway.admin).status(), 200);
    assert!(first.is_closed(), "the oldest makes room");
    for mut connection in crowd {
        assert!(connection.is_closed(), "who says no more is cut off");
    }
    let mut large = Connection::open(gateway.admin);
    large.try_write(format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)));
    // The answer may get lost: what is not read when the connection closes resets it.
    assert!(large.response(false).is_none_or(|refused| refused.status() == 431));
}

#[test]
fn on_the_public_listener_only_its_own_corner_belongs_to_the_gateway() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(gateway.get(path).json()["target"], path);
    }
    assert_eq!(gateway.get("/_onedoor/healthz").status(), 200);
    assert_eq!(gateway.send(&Request::new("HEAD", "/_onedoor/healthz")).status(), 200);
    assert_eq!(gateway.get("/_onedoor/nothing").status(), 404);
    assert!(app.requests().iter().all(|request| !request.target().starts_with("/_onedoor")));
}
