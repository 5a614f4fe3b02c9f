//! `max_auth_age`: for what matters most one has logged in not long ago.

use crate::harness::{Gateway, Jar, Redis, Reply, Upstream, eventually, express_stage, get, onedoor, store_session};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const RULES: &str = r#"
[[rules]]
path = "/login"
dest = "app"
session = "optional"
[[rules]]
path = "/account"
dest = "app"
max_auth_age = "10m"
[[rules]]
path = "/watched"
dest = "app"
max_auth_age = "10m"
enforce = false
[[rules]]
path = "/admin"
dest = "app"
roles = "admin"
max_auth_age = "10m"
[[rules]]
dest = "app"
"#;

/// The record of a login so many minutes ago.
fn record(minutes: u64) -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(minutes * 60);
    format!(r#"{{"cookie":{{}},"user":{{"id":42,"roles":[]}},"at":{}}}"#, at.as_millis())
}

#[test]
fn who_logged_in_long_ago_logs_in_again() {
    let (redis, _app, gateway) = express_stage("started_at = \"at\"", RULES);
    let cookie = store_session(&redis, "one", &record(5));
    eventually("a recent login is good", || {
        (gateway.send(&get("/account").cookie(&cookie)).status() == 200).then_some(())
    });
    for ageless in [record(20), r#"{"cookie":{},"user":{"id":42}}"#.to_owned()] {
        redis.set("sess:one", ageless);
        let refused = eventually("it is refused", || {
            Some(gateway.send(&get("/account").cookie(&cookie))).filter(|response| response.status() == 401)
        });
        assert_eq!(refused.reason(), "reauthentication_required");
        assert_eq!(refused.json()["login"], "/login?reauth=1");
        assert_eq!(refused.header("www-authenticate"), Some("Session"));
        let browser = gateway.send(&get("/account?a=1").cookie(&cookie).html());
        assert_eq!(browser.header("location"), Some("/login?reauth=1&return_to=%2Faccount%3Fa%3D1"));
        assert_eq!(gateway.send(&get("/").cookie(&cookie)).status(), 200, "other rules do not mind");
        assert_eq!(gateway.send(&get("/admin").cookie(&cookie)).status(), 403, "a login would not help");
        assert_eq!(gateway.send(&get("/watched").cookie(&cookie)).status(), 200);
    }
    let line = gateway.log_line("/watched");
    assert_eq!(line["would_refuse"], "reauthentication_required", "{line}");
    let mut explain = onedoor(&["explain", "GET", "/account", "--cookie", &cookie, "-c"]);
    let told = String::from_utf8(explain.arg(gateway.file()).output().unwrap().stdout).unwrap();
    assert!(told.contains("reauthentication_required") && told.contains("401"), "{told}");
    for _ in 0..20 {
        redis.set("sess:one", record(0));
        assert_eq!(gateway.send(&get("/account").cookie(&cookie)).status(), 200, "no refusal comes from memory");
        redis.set("sess:one", record(20));
        eventually("the login is long ago", || {
            (gateway.send(&get("/account").cookie(&cookie)).status() == 401).then_some(())
        });
    }
}

#[test]
fn managed_sessions_know_when_they_began() {
    let redis = Redis::start();
    let app = Upstream::start(|request| match request.target() {
        "/login" => Reply::new(200, &[("Session-Login", r#"{"user":{"id":"42"}}"#)], ""),
        "/use" => Reply::new(200, &[("Session-Update", r#"{"seen":1}"#)], ""),
        _ => Reply::new(200, &[], ""),
    });
    let (url, app_url) = (redis.url(), app.url());
    let gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [session]
        format = "onedoor"
        [upstreams]
        app = {{ endpoints = "{app_url}", session_authority = true }}
        [[rules]]
        path = "/login"
        dest = "app"
        session = "optional"
        [[rules]]
        path = "/account"
        dest = "app"
        max_auth_age = "2s"
        [[rules]]
        dest = "app"
        "#
    ));
    let mut jar = Jar::default();
    for _ in 0..2 {
        eventually("a login is recent for a while", || {
            jar.send(get("/login"), gateway.address);
            (jar.send(get("/account"), gateway.address).status() == 200).then_some(())
        });
        eventually("and then it is not, however much it is used", || {
            assert_eq!(jar.send(get("/use"), gateway.address).status(), 200);
            let response = jar.send(get("/account"), gateway.address);
            (response.status() == 401 && response.reason() == "reauthentication_required").then_some(())
        });
    }
    assert_eq!(redis.keys("onedoor:session:*").len(), 1, "each login ends the session before");
}
