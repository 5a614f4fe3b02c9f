//! Paths: what is matched is what is forwarded, and what two servers read differently is refused.

use crate::harness::{Connection, Gateway, Http2, Outcome, Redis, Upstream, express_gateway, open_gateway};

const PROTOCOL_ERROR: u32 = 1;

/// Sends a target as it is and answers status and the target that the upstream saw.
fn send(gateway: &Gateway, app: &Upstream, target: &[u8]) -> (u16, Option<String>) {
    let before = app.requests().len();
    let mut connection = Connection::open(gateway.address);
    let head = format!(" HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", gateway.address);
    connection.write([b"GET ", target, head.as_bytes()].concat());
    let response = connection.response(false).expect("even a bad target is answered");
    let seen = app.requests().get(before).map(|request| request.target().to_owned());
    (response.status(), seen)
}

/// The same over HTTP/2.
fn send_http2(gateway: &Gateway, app: &Upstream, target: &str) -> (Outcome, Option<String>) {
    let before = app.requests().len();
    let mut http2 = Http2::open(gateway.address, &[]);
    http2.get(1, &[(":path", target)]);
    (http2.outcome(1), app.requests().get(before).map(|request| request.target().to_owned()))
}

#[test]
fn paths_that_cannot_be_trusted_are_refused() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    let own = gateway.address;
    let dots = [
        "/a/../b",
        "/a/./b",
        "/..",
        "/.",
        "/a/..",
        "/%2e",
        "/%2e%2e/x",
        "/%2E%2e/x",
        "/.%2e/x",
        "/%2E./x",
        "/a/..;x/b",
        "/a/.;x",
        "/a/%2e%2e;x=1/b",
        "/a/..;",
        "/a//../b",
    ];
    let escapes = [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5Cb",
        "/a%00",
        "/a%00.html",
        "/a%0d%0aX-Evil:1",
        "/a%0a",
        "/a%1f",
        "/a%7f",
        "/a%7F",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%2gb",
        "/%c0%af",
        "/%c0%ae%c0%ae/x",
        "/a%ff",
        "/%e2%82",
        "/%ed%a0%80",
        "/a%252e",
        "/a%252E%252e/x",
        "/a%252fb",
        "/a%252Fb",
        "/a%255cb",
        "/a%2500",
    ];
    let forms = ["*", "a/b", "evil.test:80", "http://evil.test/x", "https://evil.test/", "@evil.test/x", "?x"];
    for target in dots.iter().chain(&escapes).chain(&forms) {
        assert_eq!(send(&gateway, &app, target.as_bytes()), (400, None), "{target}");
    }
    for target in [format!("ftp://{own}/x"), format!("http://user@{own}/x"), format!("http://{own}/a/../b")] {
        assert_eq!(send(&gateway, &app, target.as_bytes()), (400, None), "{target}");
    }
    for target in [&b"/a\\b"[..], b"/..\\x", b"/a b", b"/a\x01b", b"/a\x7fb", b"/\xc3\xa9", b"/a\tb"] {
        assert_eq!(send(&gateway, &app, target), (400, None), "{}", target.escape_ascii());
    }
}

#[test]
fn benign_look_alikes_pass_unchanged() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    let same = [
        "/",
        "/a.b/c..d/..e/f../...",
        "/.well-known/acme",
        "/.env",
        "/a/b/",
        "/a%20b",
        "/a;v=1/b",
        "/a;/b",
        "/~u",
        "/a+b",
        "/a,b",
        "/a:b@c",
        "/a!$&'()*=b",
        "/%E2%82%AC",
        "/%25",
        "/100%25",
        "/a%25b",
        "/a%3Fb",
        "/a%23b",
        "/a%3B",
        "/a?",
        "/a?x=../..%2f%00&y=%zz//",
        "/a?b?c=/../",
        "/a?%5c",
        "/A/B",
        "/file.tar.gz",
        "/x/..y/z",
        "/a-_~.b",
    ];
    for target in same {
        assert_eq!(send(&gateway, &app, target.as_bytes()), (200, Some(target.into())), "{target}");
    }
}

#[test]
fn equivalent_spellings_are_forwarded_in_one_form() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    let own = gateway.address;
    let table = [
        ("/%41%2d%5f%7e".to_owned(), "/A-_~"),
        ("/%e2%82%ac".to_owned(), "/%E2%82%AC"),
        ("//evil.test/x".to_owned(), "/evil.test/x"),
        ("/a///b//".to_owned(), "/a/b/"),
        (format!("http://{own}/x?y=//"), "/x?y=//"),
        (format!("http://{own}"), "/"),
        (format!("HTTP://{own}/x"), "/x"),
    ];
    for (target, seen) in table {
        assert_eq!(send(&gateway, &app, target.as_bytes()), (200, Some(seen.into())), "{target}");
    }
}

#[test]
fn characters_that_do_not_belong_into_a_path_are_escaped_or_refused() {
    let app = Upstream::echo();
    let gateway = open_gateway("h2c = true", &app.url());
    let passed = [
        ("/a|b^c{d}e\"f", "/a%7Cb%5Ec%7Bd%7De%22f"),
        ("/a[b]'c", "/a[b]'c"),
        // The query is left as it is, whatever it should have been.
        ("/a?|^{}[]\\`'%zz%", "/a?|^{}[]\\`'%zz%"),
        ("/a?\u{e9}", "/a?\u{e9}"),
    ];
    for (target, seen) in passed {
        assert_eq!(send(&gateway, &app, target.as_bytes()), (200, Some(seen.into())), "{target}");
        assert_eq!(send_http2(&gateway, &app, target), (Outcome::Status(200), Some(seen.into())), "{target}");
    }
    // The library has no address that holds these.
    for target in ["/a<b", "/a>b", "/a`b", "/a?\"b", "/a?<b", "/a?>b", "/a?\u{7f}b", "/a?b\tc"] {
        assert_eq!(send(&gateway, &app, target.as_bytes()), (400, None), "{target}");
        assert_eq!(send_http2(&gateway, &app, target), (Outcome::Reset(PROTOCOL_ERROR), None), "{target}");
    }
}

#[test]
fn parameters_do_not_hide_a_protected_path() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let rules = r#"
        [[rules]]
        path = "/admin/**"
        dest = "app"
        [[rules]]
        dest = "app"
        session = "off"
        "#;
    let gateway = express_gateway(&redis, &app.url(), "", rules);
    for target in ["/admin;x=1", "/admin;/secrets", "/ADMIN;x/secrets", "/admin;jsessionid=1/x"] {
        let (status, seen) = send(&gateway, &app, target.as_bytes());
        assert!(matches!(status, 400 | 401) && seen.is_none(), "{target}: {status} {seen:?}");
    }
    for target in ["/admin", "/admin/", "//admin/x", "/%61dmin/x", "/admin/x%20y", "/aDmIn/x"] {
        assert_eq!(send(&gateway, &app, target.as_bytes()), (401, None), "{target}");
    }
    assert_eq!(send(&gateway, &app, b"/items;color=red/7").0, 200);
}
