//! What the gateway itself answers: problem JSON for programs, a page or the way to the login page for browsers.

use crate::harness::{
    Gateway, Listener, Message, Reply, Request, SECRET, Upstream, express_stage, free_address, get, open_gateway,
    open_rule, post, record, signed, store_session,
};

const RULES: &str = r#"
[[rules]]
path = "/login"
dest = "app"
session = "optional"
[[rules]]
path = "/status"
dest = "app"
on_refusal = "status"
[[rules]]
path = "/redirect"
dest = "app"
on_refusal = "redirect"
[[rules]]
path = "/admin"
dest = "app"
roles = "admin"
[[rules]]
path = ["/a/**", "/private", "/"]
dest = "app"
"#;

/// What every refusal in problem JSON carries.
#[track_caller]
fn problem(response: &Message, status: u16, reason: &str) {
    assert_eq!((response.status(), response.reason().as_str()), (status, reason));
    let body = response.json();
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["status"], status);
    assert!(!body["title"].as_str().unwrap().is_empty());
    assert!(!body["request_id"].as_str().unwrap().is_empty());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let proxy_status = response.header("proxy-status").unwrap();
    assert!(proxy_status.starts_with("onedoor; error="), "{proxy_status}");
}

/// The members of a Vary header.
fn vary(response: &Message) -> Vec<String> {
    let members = response.all("vary").join(",").to_ascii_lowercase();
    let mut members: Vec<String> = members.split(',').map(|member| member.trim().to_owned()).collect();
    members.sort();
    members
}

#[test]
fn without_a_session_a_program_gets_401() {
    let (_redis, app, gateway) = express_stage("", RULES);
    let response = gateway.get("/private");
    problem(&response, 401, "session_required");
    assert!(response.json()["login"].as_str().unwrap().starts_with("/login"));
    assert_eq!(response.header("www-authenticate"), Some("Session"));
    assert_eq!(vary(&response), ["accept", "cookie", "sec-fetch-mode"]);
    assert!(response.all("set-cookie").is_empty());
    assert!(app.requests().is_empty());
    let head = gateway.send(&Request::new("HEAD", "/private"));
    assert_eq!((head.status(), head.body.len()), (401, 0));
}

#[test]
fn the_cause_is_not_told() {
    let (redis, _app, gateway) = express_stage("", RULES);
    let anonymous = store_session(&redis, "one", r#"{"cookie":{}}"#);
    let cookies =
        ["connect.sid=nonsense".to_owned(), format!("connect.sid={}", signed("gone", SECRET)), anonymous, "x=1".into()];
    for cookie in cookies {
        let mut body = gateway.send(&get("/private").cookie(&cookie)).json();
        body["request_id"].take();
        let mut plain = gateway.get("/private").json();
        plain["request_id"].take();
        assert_eq!(body, plain, "{cookie}");
    }
}

#[test]
fn a_browser_is_sent_to_the_login_page_with_a_way_back() {
    let (_redis, _app, gateway) = express_stage("", RULES);
    let table = [
        ("/private", "/login?return_to=%2Fprivate"),
        ("/a/b?x=1&y=2", "/login?return_to=%2Fa%2Fb%3Fx%3D1%26y%3D2"),
        ("//a//b", "/login?return_to=%2Fa%2Fb"),
        ("/a/%C3%A9", "/login?return_to=%2Fa%2F%25C3%25A9"),
        ("/a/b?next=//evil.test", "/login?return_to=%2Fa%2Fb%3Fnext%3D%2F%2Fevil.test"),
    ];
    for (target, location) in table {
        let response = gateway.send(&get(target).html());
        assert_eq!((response.status(), response.header("location")), (303, Some(location)), "{target}");
        assert_eq!(vary(&response), ["accept", "cookie", "sec-fetch-mode"]);
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
    let long = gateway.send(&get(&format!("/a/{}", "x".repeat(3000))).html());
    assert_eq!((long.status(), long.header("location")), (303, Some("/login")));
}

#[test]
fn what_a_navigation_is_the_browser_says_itself() {
    let (_redis, _app, gateway) = express_stage("", RULES);
    let fetch = |mode: &str, dest: &str| get("/private").header("Sec-Fetch-Mode", mode).header("Sec-Fetch-Dest", dest);
    for dest in ["document", "iframe", "frame"] {
        assert_eq!(gateway.send(&fetch("navigate", dest)).status(), 303, "{dest}");
    }
    for request in [fetch("cors", "empty").html(), fetch("no-cors", "image"), fetch("navigate", "object")] {
        assert_eq!(gateway.send(&request).status(), 401);
    }
    assert_eq!(gateway.send(&Request::new("HEAD", "/private").html()).status(), 303);
    assert_eq!(gateway.send(&Request::new("DELETE", "/private").html()).status(), 401);
    let own = gateway.address;
    let form = || post("/private", "x=1").header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Dest", "document");
    let table = [
        (form().header("Referer", format!("http://{own}/a/form")), "/login?return_to=%2Fa%2Fform"),
        (form().header("Referer", "http://evil.test/a/form"), "/login?return_to=%2F"),
        (form(), "/login?return_to=%2F"),
    ];
    for (request, location) in table {
        let response = gateway.send(&request);
        assert_eq!((response.status(), response.header("location")), (303, Some(location)));
    }
}

#[test]
fn a_rule_may_force_one_of_both() {
    let (_redis, _app, gateway) = express_stage("", RULES);
    let status = gateway.send(&get("/status").html());
    assert_eq!(status.status(), 401);
    assert!(status.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(gateway.get("/redirect").status(), 303);
}

#[test]
fn a_role_that_is_missing_is_403_for_both() {
    let (redis, _app, gateway) = express_stage("", RULES);
    let cookie = store_session(&redis, "one", &record("1", r#"["guest"]"#));
    problem(&gateway.send(&get("/admin").cookie(&cookie)), 403, "forbidden");
    let page = gateway.send(&get("/admin").cookie(&cookie).html());
    assert_eq!(page.status(), 403);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
}

#[test]
fn no_rule_is_404_and_a_browser_gets_a_page() {
    let (_redis, _app, gateway) = express_stage("", RULES);
    problem(&gateway.get("/nowhere"), 404, "no_rule");
    let page = gateway.send(&get("/nowhere?'onload=x").html());
    assert_eq!(page.status(), 404);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(!page.text().contains("onload"));
}

#[test]
fn bad_requests_are_problems_too() {
    let (_redis, _app, gateway) = express_stage("", RULES);
    problem(&gateway.get("/a/../b"), 400, "bad_request");
    let trace = gateway.send(&Request::new("TRACE", "/"));
    problem(&trace, 405, "method_not_allowed");
    assert!(trace.header("allow").unwrap().starts_with("GET, HEAD"));
    problem(&gateway.send(&post("/a/b", "x").header("Expect", "banana")), 417, "expectation_failed");
}

#[test]
fn a_host_that_is_not_ours_is_misdirected() {
    let app = Upstream::echo();
    let gateway = open_gateway("hosts = [\"example.com\", \"127.0.0.1\"]", &app.url());
    for host in ["example.com", "EXAMPLE.com:8080", "example.com.", "127.0.0.1:1"] {
        assert_eq!(gateway.send(&get("/").header("Host", host)).status(), 200, "{host}");
    }
    for host in ["evil.test", "example.com.evil.test", "www.example.com", "localhost"] {
        problem(&gateway.send(&get("/").header("Host", host)), 421, "misdirected");
    }
    assert_eq!(gateway.send(&get("/_onedoor/healthz").header("Host", "evil.test")).status(), 200);
}

#[test]
fn an_upstream_without_an_address_is_503() {
    // No name has a part this long: nobody needs to be asked for its address.
    let url = format!("http://{}.test", "a".repeat(64));
    let gateway = open_gateway("", &url);
    let answer = gateway.get("/page");
    problem(&answer, 503, "no_endpoint");
    assert!(gateway.log_line("/page")["cause"].as_str().unwrap().starts_with(&format!("{url}: ")));
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn an_upstream_that_is_not_there_is_502() {
    let gateway = open_gateway("", &format!("http://{}", free_address()));
    problem(&gateway.get("/"), 502, "upstream_unreachable");
}

#[test]
fn an_answer_that_cannot_be_trusted_is_502() {
    let app = Upstream::start(|request| {
        let reply = match request.target() {
            "/garbage" => "this is not HTTP\r\n\r\n",
            "/lengths" => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            "/folded" => "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
            _ => "HTTP/1.1 2x0 OK\r\n\r\n",
        };
        Reply::raw(reply).close()
    });
    let gateway = open_gateway("", &app.url());
    for target in ["/garbage", "/lengths", "/folded", "/status"] {
        problem(&gateway.get(target), 502, "upstream_invalid");
    }
}

#[test]
fn an_upstream_that_says_nothing_is_504() {
    let app = Listener::bind();
    let url = app.url();
    let gateway = Gateway::start(open_rule(&format!("{{ endpoints = \"{url}\", response_timeout = \"200ms\" }}")));
    problem(&gateway.get("/"), 504, "upstream_timeout");
}

#[test]
fn too_many_requests_for_an_upstream_are_503() {
    let app = Listener::bind();
    let url = app.url();
    let gateway = Gateway::start(open_rule(&format!("{{ endpoints = \"{url}\", connections = 1 }}")));
    let mut first = crate::harness::Connection::open(gateway.address);
    first.write(get("/first").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    let response = crate::harness::eventually("the limit is met", || {
        let mut second = crate::harness::Connection::open(gateway.address);
        second.patience(std::time::Duration::from_millis(500));
        second.write(get("/second").bytes(gateway.address));
        second.response(false).filter(|response| response.status() == 503)
    });
    problem(&response, 503, "overloaded");
    assert!(response.header("retry-after").is_some());
}
