//! The cookie guard: nobody but the session's own apps sets the session's cookie.

use crate::harness::{Gateway, Redis, Reply, SECRET, Upstream, express_gateway, get, record, signed, store_session};

const RULES: &str = r#"
[[rules]]
path = ["/login", "/set"]
dest = "app"
session = "off"
[[rules]]
dest = "app"
"#;

/// An upstream that sets what the request's header `X-Set` says, and one harmless cookie.
fn setting() -> Upstream {
    Upstream::start(|request| {
        let line = request.header("x-set").unwrap_or_default();
        Reply::new(200, &[("Set-Cookie", "theme=dark; Path=/x"), ("Set-Cookie", line)], "")
    })
}

fn stage(session: &str) -> (Redis, Upstream, Gateway) {
    let (redis, app) = (Redis::start(), setting());
    let gateway = express_gateway(&redis, &app.url(), session, RULES);
    (redis, app, gateway)
}

/// The session cookie's line that the client gets for what the upstream has set.
fn passed(gateway: &Gateway, line: &str) -> Option<String> {
    let response = gateway.send(&get("/set").header("X-Set", line));
    let lines = response.all("set-cookie");
    assert!(lines.contains(&"theme=dark; Path=/x"), "others pass untouched: {lines:?}");
    lines.iter().find(|line| line.starts_with("connect.sid")).map(|line| (*line).to_owned())
}

#[test]
fn only_cookies_that_verify_or_delete_pass() {
    let (_redis, _app, gateway) = stage("");
    let good = signed("fresh", SECRET);
    let deletions = [
        "connect.sid=; Path=/; HttpOnly; Max-Age=0".to_owned(),
        "connect.sid=; Path=/; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
    ];
    for line in [format!("connect.sid={good}; Path=/; HttpOnly")].iter().chain(&deletions) {
        assert_eq!(passed(&gateway, line).as_ref(), Some(line));
    }
    let strangers = [
        "connect.sid=planted; Path=/".to_owned(),
        format!("connect.sid={}; Path=/", signed("fresh", "the secret of another app")),
        format!("connect.sid={good}x; Path=/"),
        "connect.sid=s%3Aid.; Path=/".to_owned(),
    ];
    for line in strangers {
        assert_eq!(passed(&gateway, &line), None, "{line}");
    }
}

#[test]
fn a_cookie_without_httponly_gains_it_unless_told_otherwise() {
    let good = signed("fresh", SECRET);
    let line = format!("connect.sid={good}; Path=/");
    let (_redis, _app, gateway) = stage("");
    let hardened = passed(&gateway, &line).unwrap();
    assert!(
        hardened.contains("HttpOnly") && !hardened.contains("Secure") && !hardened.contains("SameSite"),
        "{hardened}"
    );
    let (_redis, _app, gateway) = stage("harden = false");
    assert_eq!(passed(&gateway, &line), Some(line.clone()));
    let (_redis, _app, gateway) = stage("same_site = \"lax\"");
    assert!(passed(&gateway, &line).unwrap().contains("SameSite=Lax"));
}

#[test]
fn only_named_upstreams_set_it_where_the_file_says_so() {
    let (redis, login, other) = (Redis::start(), setting(), setting());
    let (url, login_url, other_url) = (redis.url(), login.url(), other.url());
    let gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [session]
        format = "express"
        secrets = ["{SECRET}"]
        user = "user.id"
        set_by = ["auth"]
        [upstreams]
        auth = "{login_url}"
        app = "{other_url}"
        [[rules]]
        path = "/login"
        dest = "auth"
        session = "off"
        [[rules]]
        dest = "app"
        session = "optional"
        "#
    ));
    let line = format!("connect.sid={}; Path=/; HttpOnly", signed("fresh", SECRET));
    let sets = |path: &str, cookie: &str| {
        let response = gateway.send(&get(path).header("X-Set", &line).cookie(cookie));
        response.all("set-cookie").contains(&line.as_str())
    };
    assert!(sets("/login", "a=1"));
    assert!(!sets("/other", "a=1"));
    let own = store_session(&redis, "fresh", &record("1", "[]"));
    assert!(sets("/other", &own), "a renewal of the id that the request carried");
}

#[test]
fn there_is_no_guard_where_the_file_says_any() {
    let (_redis, _app, gateway) = stage("set_by = \"any\"");
    assert!(passed(&gateway, "connect.sid=planted; Path=/; HttpOnly").is_some());
}

#[test]
fn the_gateways_own_cookie_is_set_by_the_gateway_alone() {
    let app = setting();
    let url = app.url();
    let gateway = Gateway::start(format!(
        "[session]\nformat = \"onedoor\"\n[upstreams]\napp = {{ endpoints = \"{url}\", session_authority = true }}\n\
         [[rules]]\npath = [\"/login\", \"/set\"]\ndest = \"app\"\nsession = \"off\"\n[[rules]]\ndest = \"app\""
    ));
    for line in ["onedoor=planted; Path=/", "__Host-onedoor=planted; Path=/; Secure", "onedoor=; Max-Age=0"] {
        let response = gateway.send(&get("/set").header("X-Set", line));
        assert_eq!(response.all("set-cookie"), ["theme=dark; Path=/x"], "{line}");
    }
}
