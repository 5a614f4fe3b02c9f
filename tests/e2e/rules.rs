//! Rules: the first match wins, on the path that is also forwarded.

use crate::harness::{Gateway, Redis, Request, Upstream, express_gateway, get, onedoor};

/// A gateway with upstreams `a`, `b` and `c`, whose rules need no session.
fn gateway(rules: &str) -> (Gateway, [Upstream; 3]) {
    let upstreams = ["a", "b", "c"].map(Upstream::named);
    let [a, b, c] = upstreams.each_ref().map(Upstream::url);
    let text = format!("[upstreams]\na = \"{a}\"\nb = \"{b}\"\nc = \"{c}\"\n{rules}");
    (Gateway::start(text), upstreams)
}

#[track_caller]
fn served_by(gateway: &Gateway, method: &str, path: &str, upstream: &str) {
    let response = gateway.send(&Request::new(method, path));
    assert_eq!(response.header("x-served-by"), Some(upstream), "{method} {path}: {}", response.start);
}

#[track_caller]
fn unknown(gateway: &Gateway, path: &str) {
    let response = gateway.get(path);
    assert_eq!((response.status(), response.reason().as_str()), (404, "no_rule"), "{path}");
}

#[test]
fn the_first_rule_that_matches_governs() {
    let (gateway, _upstreams) = gateway(
        r#"
        [[rules]]
        path = ["/one", "/two"]
        dest = "a"
        session = "off"
        [[rules]]
        path = "/**"
        dest = "b"
        session = "off"
        "#,
    );
    served_by(&gateway, "GET", "/one", "a");
    served_by(&gateway, "GET", "/two?x=1", "a");
    served_by(&gateway, "GET", "/three", "b");
    served_by(&gateway, "GET", "/", "b");
    served_by(&gateway, "GET", "/one/", "b");
    served_by(&gateway, "GET", "/one/more", "b");
}

#[test]
fn stars_stand_for_one_segment_or_for_any_depth() {
    let (gateway, _upstreams) = gateway(
        r#"
        [[rules]]
        path = "/files/*/raw"
        dest = "a"
        session = "off"
        [[rules]]
        path = "/deep/**"
        dest = "b"
        session = "off"
        [[rules]]
        path = "/x/**/end"
        dest = "c"
        session = "off"
        "#,
    );
    served_by(&gateway, "GET", "/files/7/raw", "a");
    unknown(&gateway, "/files/raw");
    unknown(&gateway, "/files/7/8/raw");
    for path in ["/deep", "/deep/", "/deep/a", "/deep/a/b/c"] {
        served_by(&gateway, "GET", path, "b");
    }
    unknown(&gateway, "/deeper");
    served_by(&gateway, "GET", "/x/1/2/end", "c");
    unknown(&gateway, "/x/1/2/ends");
}

#[test]
fn a_method_that_does_not_match_goes_on_and_head_is_a_get() {
    let (gateway, _upstreams) = gateway(
        r#"
        [[rules]]
        path = "/form"
        method = "GET"
        dest = "a"
        session = "off"
        [[rules]]
        path = "/form"
        method = ["POST", "PUT"]
        dest = "b"
        session = "off"
        "#,
    );
    served_by(&gateway, "GET", "/form", "a");
    served_by(&gateway, "HEAD", "/form", "a");
    served_by(&gateway, "POST", "/form", "b");
    served_by(&gateway, "PUT", "/form", "b");
    assert_eq!(gateway.send(&Request::new("DELETE", "/form")).status(), 404);
}

#[test]
fn a_protected_path_is_protected_in_other_case_and_with_a_slash_more_or_less() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let rules = r#"
        [[rules]]
        path = "/admin"
        dest = "app"
        [[rules]]
        path = "/closed"
        respond = { status = 410, body = "gone" }
        [[rules]]
        path = ["/Help", "/login"]
        dest = "app"
        session = "off"
        [[rules]]
        path = "/help"
        dest = "app"
        [[rules]]
        dest = "app"
        session = "off"
        "#;
    let gateway = express_gateway(&redis, &app.url(), "", rules);
    for path in ["/admin", "/ADMIN", "/Admin/", "/admin//", "/%61dmin"] {
        assert_eq!(gateway.get(path).status(), 401, "{path}");
    }
    for path in ["/closed", "/Closed/"] {
        assert_eq!((gateway.get(path).status(), gateway.get(path).text().as_str()), (410, "gone"), "{path}");
    }
    assert_eq!(gateway.get("/Help").status(), 200);
    for path in ["/help", "/HELP", "/Help/"] {
        assert_eq!(gateway.get(path).status(), 401, "{path}");
    }
    for path in ["/administrator", "/admin/x", "/closed/x"] {
        assert_eq!(gateway.get(path).status(), 200, "{path}");
    }
}

#[test]
fn the_gateway_redirects_and_responds_itself() {
    let (gateway, _upstreams) = gateway(
        r#"
        [[rules]]
        path = "/old"
        redirect = "https://new.example/x"
        [[rules]]
        path = "/teapot"
        respond = { status = 418, body = "short and stout" }
        "#,
    );
    let moved = gateway.get("/old");
    assert_eq!((moved.status(), moved.header("location")), (308, Some("https://new.example/x")));
    let teapot = gateway.get("/teapot");
    assert_eq!((teapot.status(), teapot.text().as_str()), (418, "short and stout"));
    assert!(gateway.send(&Request::new("HEAD", "/teapot")).body.is_empty());
}

#[test]
fn prefixes_are_taken_and_given_by_segments() {
    let app = Upstream::echo();
    let url = app.url();
    let gateway = Gateway::start(format!(
        r#"
        [upstreams]
        app = "{url}"
        [[rules]]
        path = "/api/**"
        dest = "app"
        session = "off"
        strip_prefix = "/api"
        [[rules]]
        path = "/v2/**"
        dest = "app"
        session = "off"
        strip_prefix = "/v2"
        add_prefix = "/version/two"
        "#
    ));
    let table = [
        ("/api/users?x=/api/", "/users?x=/api/"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api/api/x", "/api/x"),
        ("/api/%C3%A9/A", "/%C3%A9/A"),
        ("/v2/x", "/version/two/x"),
    ];
    for (sent, seen) in table {
        let answer = gateway.get(sent).json();
        assert_eq!(answer["target"], seen, "{sent}");
    }
    gateway.get("/api/x");
    assert_eq!(app.last().header("x-forwarded-prefix"), Some("/api"));
    gateway.send(&get("/api/x").header("X-Forwarded-Prefix", "/evil"));
    assert_eq!(app.last().all("x-forwarded-prefix"), ["/api"]);
}

#[test]
fn an_encoded_slash_passes_only_where_a_rule_keeps_it() {
    let app = Upstream::echo();
    let url = app.url();
    let gateway = Gateway::start(format!(
        r#"
        [upstreams]
        app = "{url}"
        [[rules]]
        path = "/objects/*"
        dest = "app"
        session = "off"
        encoded_slash = "keep"
        [[rules]]
        dest = "app"
        session = "off"
        "#
    ));
    assert_eq!(gateway.get("/objects/a%2Fb").json()["target"], "/objects/a%2Fb");
    assert_eq!(gateway.get("/objects/a%2fb").json()["target"], "/objects/a%2Fb");
    let refused = gateway.get("/other/a%2fb");
    assert_eq!((refused.status(), refused.reason().as_str()), (400, "bad_request"));
}

#[test]
fn the_way_back_has_the_empty_segments_that_its_rule_keeps() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let rules = "[[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"optional\"\n\
                 [[rules]]\ndest = \"app\"\nempty_segments = \"keep\"\n";
    let gateway = express_gateway(&redis, &app.url(), "", rules);
    for (target, back) in [
        ("/proxy/https://a.test//?x", "%2Fproxy%2Fhttps%3A%2F%2Fa.test%2F%2F%3Fx"),
        ("//evil.test//x", "%2Fevil.test%2Fx"),
    ] {
        let answer = gateway.send(&get(target).header("Accept", "text/html"));
        assert_eq!(answer.header("location"), Some(format!("/login?return_to={back}").as_str()), "{target}");
    }
}

#[test]
fn empty_segments_go_on_only_where_a_rule_keeps_them() {
    let app = Upstream::echo();
    let gateway = Gateway::start(format!(
        r#"
        [upstreams]
        app = "{}"
        [[rules]]
        path = "/proxy/**"
        dest = "app"
        session = "off"
        empty_segments = "keep"
        [[rules]]
        path = "/under/**"
        dest = "app"
        session = "off"
        strip_prefix = "/under"
        empty_segments = "keep"
        [[rules]]
        dest = "app"
        session = "off"
        "#,
        app.url()
    ));
    for (target, forwarded) in [
        ("/proxy/https://a.test//x/?y=//", "/proxy/https://a.test//x/?y=//"),
        ("/proxy//%41//", "/proxy//A//"),
        ("//proxy//x", "/proxy/x"),
        ("/under/a//b", "/a//b"),
        ("/other//x", "/other/x"),
    ] {
        assert_eq!(gateway.get(target).json()["target"], forwarded, "{target}");
    }
    for target in ["/proxy//../x", "/proxy//a%2fb", "/proxy//;x/y"] {
        assert_eq!(gateway.get(target).status(), 400, "{target}");
    }
    let file = gateway.file();
    let asked = ["explain", "-c", file.to_str().unwrap(), "GET", "/proxy/https://a.test"];
    let out = String::from_utf8(onedoor(&asked).output().unwrap().stdout).unwrap();
    assert!(out.contains("/proxy/https://a.test with its empty segments, which this rule keeps"), "{out}");
    assert!(
        out.contains(
            "forwarded as GET /proxy/https://a.test
"
        ),
        "{out}"
    );
}
