//! Guards: who may start a request, from where, and what every answer says to browsers.

use crate::harness::{
    Gateway, Redis, Reply, Request, SECRET, Setup, Upstream, get, open_gateway, post, record, store_session,
};

/// A gateway whose `/in/**` needs a session, and a cookie that is one.
fn stage(server: &str, rules: &str) -> (Redis, Upstream, Gateway, String) {
    let app = Upstream::echo();
    let (redis, gateway, cookie) = behind(&app, server, rules);
    (redis, app, gateway, cookie)
}

fn behind(app: &Upstream, server: &str, rules: &str) -> (Redis, Gateway, String) {
    let redis = Redis::start();
    let cookie = store_session(&redis, "ada", &record("42", "[]"));
    let (url, app) = (redis.url(), app.url());
    let gateway = Gateway::start(format!(
        "{server}\n[store]\nurl = \"{url}\"\n[session]\nformat = \"express\"\nsecrets = \"{SECRET}\"\n\
         user = \"user.id\"\nlogin = \"https://id.test/\"\n[upstreams]\napp = \"{app}\"\n{rules}"
    ));
    (redis, gateway, cookie)
}

#[track_caller]
fn refused(gateway: &Gateway, request: &Request, status: u16, reason: &str) {
    let answer = gateway.send(request);
    assert_eq!((answer.status(), answer.reason().as_str()), (status, reason), "{request:?}");
}

#[test]
fn what_another_site_starts_is_refused_where_a_session_is_required() {
    let rules = "[[rules]]\npath = \"/open\"\nsession = \"optional\"\ndest = \"app\"\n[[rules]]\ndest = \"app\"\n";
    let (_redis, app, gateway, cookie) = stage("", rules);
    let here = format!("http://{}", gateway.address);
    let with = |fields: &[(&str, &str)]| {
        fields.iter().fold(post("/in", "").cookie(&cookie), |request, (name, value)| request.header(name, value))
    };
    for fields in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", here.as_str())],
        &[("Origin", "https://evil.test")],
        &[("Origin", "null")],
        &[("Referer", "https://evil.test/")],
        &[("Connection", "Sec-Fetch-Site, Origin, Cookie"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")],
    ] {
        refused(&gateway, &with(fields), 403, "cross_site");
    }
    assert!(app.requests().is_empty());
    for fields in [
        &[][..],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", here.as_str())],
        &[("Referer", &format!("{here}/page"))],
    ] {
        assert_eq!(gateway.send(&with(fields)).status(), 200, "{fields:?}");
    }
    let evil = |request: Request| request.header("Origin", "https://evil.test").cookie(&cookie);
    assert_eq!(gateway.send(&evil(get("/in"))).status(), 200, "reading is for browsers to guard");
    assert_eq!(gateway.send(&evil(post("/open", ""))).status(), 200, "a login callback is cross-site");
    refused(
        &gateway,
        &evil(get("/in").header("Connection", "upgrade").header("Upgrade", "websocket")),
        403,
        "cross_site",
    );
    let without = post("/in", "").header("Origin", "https://evil.test");
    refused(&gateway, &without, 401, "session_required");
}

#[test]
fn a_guarded_login_is_guarded_in_every_spelling_and_listed_origins_may() {
    let rules = "[[rules]]\npath = \"/login\"\nsession = \"optional\"\ndest = \"app\"\n\
                 cross_site = [\"https://partner.test\", \"null\"]\n\
                 [[rules]]\nsession = \"off\"\ndest = \"app\"\n";
    let (_redis, _app, gateway, _) = stage("", rules);
    let from = |target: &str, origin: &str| post(target, "").header("Origin", origin);
    for target in ["/login", "/LOGIN", "/login/"] {
        refused(&gateway, &from(target, "https://evil.test"), 403, "cross_site");
        assert_eq!(gateway.send(&from(target, "https://partner.test")).status(), 200, "{target}");
        assert_eq!(gateway.send(&from(target, "null")).status(), 200, "{target}");
    }
    assert_eq!(gateway.send(&from("/other", "https://evil.test")).status(), 200);
}

#[test]
fn a_preflight_goes_on_as_nobody_where_the_rule_says_so() {
    let rules = "[[rules]]\npath = \"/api\"\npreflight = \"pass\"\ndest = \"app\"\n[[rules]]\ndest = \"app\"\n";
    let (_redis, app, gateway, cookie) = stage("", rules);
    let ask = |target: &str| {
        let request = Request::new("OPTIONS", target).header("Origin", "https://partner.test").cookie(&cookie);
        request.header("Access-Control-Request-Method", "PUT")
    };
    assert_eq!(gateway.send(&ask("/api")).status(), 200);
    assert_eq!((app.last().header("cookie"), app.last().header("x-forwarded-user")), (None, None));
    let bare = Request::new("OPTIONS", "/api").header("Origin", "https://partner.test");
    refused(&gateway, &bare, 401, "session_required");
    refused(&gateway, &Request::new("OPTIONS", "/other").header("Origin", "x"), 401, "session_required");
}

#[test]
fn addresses_and_bodies_are_limited_by_rule() {
    let rules = "[[rules]]\npath = \"/inside\"\nsession = \"off\"\nallow = \"10.0.0.0/8\"\ndest = \"app\"\n\
                 [[rules]]\npath = \"/reported\"\nsession = \"off\"\nallow = \"10.0.0.0/8\"\nenforce = false\ndest = \"app\"\n\
                 [[rules]]\npath = \"/large\"\nsession = \"off\"\nbody = \"2KiB\"\ndest = \"app\"\n\
                 [[rules]]\nsession = \"off\"\ndest = \"app\"\n";
    let server = "trusted_proxies = \"127.0.0.1\"\n[server.limits]\nbody = \"1KiB\"\n";
    let (_redis, _app, gateway, _) = stage(server, rules);
    refused(&gateway, &get("/inside"), 403, "forbidden");
    refused(&gateway, &get("/inside").header("X-Forwarded-For", "10.0.0.1, 192.0.2.1"), 403, "forbidden");
    assert_eq!(gateway.send(&get("/inside").header("X-Forwarded-For", "10.0.0.1")).status(), 200);
    assert_eq!(gateway.get("/reported").status(), 200);
    assert_eq!(gateway.log_line("/reported")["would_refuse"], "forbidden");
    assert_eq!(gateway.send(&post("/large", &"x".repeat(2048))).status(), 200);
    refused(&gateway, &post("/large", &"x".repeat(2049)), 413, "body_too_large");
    refused(&gateway, &post("/small", &"x".repeat(1025)), 413, "body_too_large");
}

#[test]
fn answers_say_what_browsers_must_not_do() {
    let app = Upstream::start(|request| {
        let theirs = [("Referrer-Policy", "no-referrer")];
        Reply::new(200, if request.target() == "/own" { &theirs } else { &[] }, "")
    });
    let rules = "[[rules]]\npath = [\"/open\", \"/own\"]\nsession = \"off\"\ndest = \"app\"\n\
                 [[rules]]\npath = \"/bare\"\nsession = \"off\"\nsecurity_headers = false\ndest = \"app\"\n\
                 [[rules]]\ndest = \"app\"\n\
                 [security_headers]\nContent-Security-Policy = \"default-src 'self'\"\n";
    let (_redis, gateway, cookie) = behind(&app, "trusted_proxies = \"127.0.0.1\"", rules);
    let names = ["x-content-type-options", "referrer-policy", "strict-transport-security", "x-frame-options"];
    let of = |request: Request| {
        let answer = gateway.send(&request);
        names.map(|name| answer.header(name).unwrap_or("-").to_owned())
    };
    let referrer = "strict-origin-when-cross-origin";
    assert_eq!(of(get("/open")), ["nosniff", referrer, "-", "-"]);
    assert_eq!(of(get("/own")), ["nosniff", "no-referrer", "-", "-"]);
    assert_eq!(of(get("/bare")), ["-"; 4]);
    let https = |request: Request| request.header("X-Forwarded-Proto", "https");
    assert_eq!(of(https(get("/open")))[2], "max-age=86400");
    assert_eq!(of(get("/in")), ["nosniff", referrer, "-", "SAMEORIGIN"], "a refusal is a page of our own");
    assert_eq!(of(get("/in").cookie(cookie)), ["nosniff", referrer, "-", "SAMEORIGIN"]);
    assert_eq!(gateway.get("/open").header("content-security-policy"), Some("default-src 'self'"));
}

#[test]
fn pages_of_the_sites_own_are_shown_to_browsers() {
    let app = Upstream::echo();
    let text = format!(
        "[pages]\n404 = \"lost.html\"\n[upstreams]\napp = \"{}\"\n[[rules]]\npath = \"/a\"\nsession = \"off\"\ndest = \"app\"\n",
        app.url()
    );
    let gateway = Setup::new(text).file("lost.html", "<h1>Lost?</h1>").start();
    let page = gateway.send(&get("/nowhere").html());
    assert_eq!((page.status(), page.text().as_str()), (404, "<h1>Lost?</h1>"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(gateway.get("/nowhere").reason(), "no_rule", "programs get a problem");
}

#[test]
fn hosts_that_moved_send_their_visitors_to_the_public_url() {
    let app = Upstream::echo();
    let server = "public_url = \"http://example.test:8080\"\nredirect_hosts = \"www.example.test\"\n";
    let gateway = open_gateway(server, &app.url());
    for (target, to) in [("/a//b?x=%2F", "/a/b?x=%2F"), ("//evil.test/", "/evil.test/"), ("/", "/")] {
        let answer = gateway.send(&get(target).header("Host", "WWW.example.test:3000"));
        let expected = format!("http://example.test:8080{to}");
        assert_eq!((answer.status(), answer.header("location")), (308, Some(expected.as_str())), "{target}");
    }
    refused(&gateway, &get("/").header("Host", "ftp.example.test"), 421, "misdirected");
    assert!(app.requests().is_empty());
    assert_eq!(gateway.send(&get("/").header("Host", "example.test")).status(), 200);
}
