//! Reload: a new file is swapped in whole or not at all.

use crate::harness::{
    Connection, Gateway, Listener, Redis, SECRET, Setup, Upstream, eventually, get, record, signed, store_session,
};

fn text(app: &str, marker: &str) -> String {
    format!(
        r#"
        [upstreams]
        app = {{ endpoints = "{app}", keepalive = "30s" }}
        [[rules]]
        path = "/{marker}"
        respond = {{ status = 200, body = "{marker}" }}
        [[rules]]
        dest = "app"
        session = "off""#
    )
}

fn answers(gateway: &Gateway, marker: &str) {
    eventually(&format!("/{marker} is answered"), || {
        Some(gateway.get(&format!("/{marker}"))).filter(|response| response.text() == marker)
    });
}

#[test]
fn a_file_replaced_by_rename_is_taken_up() {
    let app = Upstream::echo();
    let gateway = Gateway::start(text(&app.url(), "one"));
    answers(&gateway, "one");
    for marker in ["two", "three"] {
        gateway.replace(&text(&app.url(), marker));
        answers(&gateway, marker);
    }
    assert_eq!(gateway.get("/one").json()["target"], "/one", "the old rule is gone");
}

#[test]
fn a_file_written_in_place_is_taken_up_at_the_latest_by_sighup() {
    let app = Upstream::echo();
    let gateway = Gateway::start(text(&app.url(), "one"));
    let old = std::fs::read_to_string(gateway.file()).unwrap();
    std::fs::write(gateway.file(), old.replace("one", "two")).unwrap();
    gateway.process.signal("HUP");
    answers(&gateway, "two");
}

#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let app = Upstream::echo();
    let gateway = Gateway::start(text(&app.url(), "one"));
    gateway.replace(&format!("{}\nsesion = \"off\"", text(&app.url(), "two")));
    gateway.process.wait_for_output("sesion");
    assert_eq!(gateway.get("/one").text(), "one");
    gateway.replace("this is = not [toml");
    gateway.process.signal("HUP");
    assert_eq!(gateway.get("/one").text(), "one");
    gateway.replace(&text(&app.url(), "three"));
    answers(&gateway, "three");
}

#[test]
fn what_is_to_be_warned_of_is_said_when_it_is_loaded_and_the_way_back_to_the_old_file_too() {
    let app = Upstream::echo();
    let gateway = Gateway::start(text(&app.url(), "one"));
    gateway.replace(&text(&app.url(), "users/:id"));
    let output = gateway.process.wait_for_output("may not do what was meant");
    assert!(output.contains("`:id` is matched as it is written"), "{output}");
    gateway.replace("this is = not [toml");
    gateway.process.wait_for_output("was not reloaded");
    gateway.replace(&text(&app.url(), "users/:id"));
    gateway.process.wait_for_output("the same as before");
}

#[test]
fn what_needs_a_restart_says_so() {
    let app = Upstream::echo();
    let gateway = Gateway::start(text(&app.url(), "one"));
    let old = std::fs::read_to_string(gateway.file()).unwrap();
    std::fs::write(gateway.file(), old.replace("workers = 2", "workers = 1").replace("one", "two")).unwrap();
    gateway.process.signal("HUP");
    gateway.process.wait_for_output("needs a restart");
    assert_eq!(gateway.get("/one").text(), "one");
}

#[test]
fn a_request_in_flight_finishes_on_the_old_file() {
    let (slow, other) = (Listener::bind(), Upstream::echo());
    let old = format!(
        "{}\n[[rules]]\npath = \"/slow\"\ndest = \"{}\"\nsession = \"off\"",
        text(&other.url(), "one"),
        slow.url()
    );
    let gateway = Gateway::start(old.replacen(
        "[[rules]]\n        dest",
        "[[rules]]\n        path = [\"/one\", \"/two\", \"/new\"]\n        dest",
        1,
    ));
    let mut client = Connection::open(gateway.address);
    client.write(get("/slow").bytes(gateway.address));
    let mut upstream = slow.accept();
    upstream.request().unwrap();
    gateway.replace(&text(&other.url(), "two"));
    answers(&gateway, "two");
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold");
    assert_eq!(client.response(false).unwrap().text(), "old");
    assert_eq!(gateway.get("/new").json()["target"], "/new");
}

#[test]
fn connections_to_an_unchanged_upstream_survive() {
    let app = Upstream::echo();
    let gateway = Gateway::start(text(&app.url(), "one"));
    let mut client = Connection::open(gateway.address);
    for marker in ["two", "three", "four"] {
        assert_eq!(get("/x").send_on(&mut client, gateway.address).status(), 200);
        gateway.replace(&text(&app.url(), marker));
        answers(&gateway, marker);
    }
    assert_eq!(get("/x").send_on(&mut client, gateway.address).status(), 200);
    // Each of the two workers keeps a connection of its own.
    assert!(app.accepted() <= 2, "{} connections", app.accepted());
}

#[test]
fn managed_sessions_in_memory_survive_a_reload() {
    let app = Upstream::start(|request| {
        crate::harness::Reply::new(200, &[("Session-Login", r#"{"user":{"id":"1"}}"#)], request.target())
    });
    let url = app.url();
    let text = |rules: &str| {
        format!(
            r#"
            [session]
            format = "onedoor"
            [upstreams]
            auth = {{ endpoints = "{url}", session_authority = true }}
            [[rules]]
            path = "/login"
            dest = "auth"
            session = "optional"
            {rules}
            [[rules]]
            path = "/private"
            dest = "{url}""#
        )
    };
    let gateway = Gateway::start(text(""));
    let mut jar = crate::harness::Jar::default();
    jar.send(get("/login"), gateway.address);
    assert_eq!(gateway.send(&jar.with(get("/private"))).status(), 200);
    gateway.replace(&text("[[rules]]\npath = \"/two\"\nrespond = { status = 200, body = \"two\" }\n"));
    answers(&gateway, "two");
    assert_eq!(gateway.send(&jar.with(get("/private"))).status(), 200);
}

#[test]
fn secrets_are_rotated_without_a_restart_and_without_logging_anybody_out() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let (url, app_url) = (redis.url(), app.url());
    let text = format!(
        r#"
        [store]
        url = "{url}"
        [session]
        format = "express"
        secrets_file = "secrets.txt"
        user = "user.id"
        [upstreams]
        app = "{app_url}"
        [[rules]]
        path = "/login"
        dest = "app"
        session = "optional"
        [[rules]]
        dest = "app""#
    );
    let gateway = Setup::new(text).file("secrets.txt", SECRET).start();
    let old = store_session(&redis, "one", &record("42", "[]"));
    let newer = "the secret of the next quarter";
    let new = format!("connect.sid={}", signed("one", newer));
    let status = |cookie: &str| gateway.send(&get("/").cookie(cookie)).status();
    assert_eq!((status(&old), status(&new)), (200, 401));
    let file = gateway.file().with_file_name("secrets.txt");
    std::fs::write(&file, format!("{newer}\n{SECRET}\n")).unwrap();
    eventually("the new secret is taken up", || (status(&new) == 200).then_some(()));
    assert_eq!(status(&old), 200);
    let page = get("/metrics").send(gateway.admin).text();
    for secret in ["newest", "older"] {
        let line = format!("onedoor_session_secrets_total{{session=\"express\",secret=\"{secret}\"}} 1");
        assert!(page.contains(&line), "{line} in\n{page}");
    }
    std::fs::write(&file, newer).unwrap();
    eventually("the old secret is gone", || (status(&old) == 401).then_some(()));
    assert_eq!(status(&new), 200);
}
