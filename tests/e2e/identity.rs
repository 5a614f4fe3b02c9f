//! Identity: what upstreams learn comes from the gateway alone.

use crate::harness::{Upstream, express_stage, get, record, store_session};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

const RULES: &str = r#"
[[rules]]
path = ["/login", "/optional"]
dest = "app"
session = "optional"
[[rules]]
path = "/off"
dest = "app"
session = "off"
[[rules]]
dest = "app"

[identity.headers]
X-Forwarded-User = "@user"
X-Roles = "@roles"
X-Count = "count"
X-Session-Kind = "@session"
X-Whole-User = "user"
"#;

#[test]
fn no_spelling_of_an_identity_header_reaches_an_upstream_on_any_rule() {
    let (redis, app, gateway) = express_stage("", RULES);
    let cookie = store_session(&redis, "one", &record("\"zoe\"", "[]"));
    let names = [
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Preferred-Username",
        "X-Forwarded-Access-Token",
        "X-Auth-Request-User",
        "X-Auth-Request-Anything",
        "Remote-User",
        "Remote-Groups",
        "Remote-Name",
        "Remote-Email",
        "X-Onedoor-Session",
        "X-Onedoor-Anything",
        "X-Roles",
        "X-Count",
        "X-Session-Kind",
        "X-Whole-User",
    ];
    for path in ["/", "/optional", "/off", "/login"] {
        for name in names {
            let spellings = [
                name.to_owned(),
                name.to_lowercase(),
                name.to_uppercase(),
                name.replace('-', "_"),
                name.replace('-', "."),
                name.replacen('-', "_", 1),
                name.to_lowercase().replace('-', "_"),
            ];
            for spelling in spellings {
                let response = gateway.send(&get(path).cookie(&cookie).header(&spelling, "mallory"));
                assert_eq!(response.status(), 200, "{path} {spelling}");
                let head = String::from_utf8(app.last().head).unwrap();
                assert!(!head.contains("mallory"), "{path} {spelling}:\n{head}");
            }
        }
    }
}

#[test]
fn connection_cannot_remove_what_the_gateway_says() {
    let (redis, app, gateway) = express_stage("", RULES);
    let cookie = store_session(&redis, "one", &record("\"zoe\"", "[]"));
    let named = "close, X-Forwarded-User, x-roles, Cookie, Host, Content-Length, X-Onedoor-Session, X-Private";
    let request = get("/").cookie(&cookie).header("Connection", named).header("X-Private", "1");
    assert_eq!(gateway.send(&request).status(), 200);
    let seen = app.last();
    assert_eq!(seen.all("x-forwarded-user"), ["zoe"]);
    assert_eq!(seen.all("cookie"), [cookie.as_str()]);
    assert_eq!(seen.all("host").len(), 1);
    assert_eq!(seen.header("x-private"), None);
}

#[test]
fn the_configured_headers_carry_the_record() {
    let (redis, app, gateway) = express_stage("", RULES);
    let cookie = store_session(&redis, "one", &record("9007199254740993", r#"["a","b c","d,e"]"#));
    assert_eq!(gateway.send(&get("/").cookie(&cookie)).status(), 200);
    let seen = app.last();
    assert_eq!(seen.header("x-forwarded-user"), Some("9007199254740993"), "exact beyond 2^53");
    assert_eq!(seen.header("x-roles").map(|roles| roles.replace(", ", ",")).as_deref(), Some("a,b c,d%2Ce"));
    assert_eq!(seen.header("x-count"), Some("3"));
    assert_eq!(seen.header("x-session-kind"), Some("express"));
    assert_eq!(seen.header("x-onedoor-session"), Some("express"));
    let whole: serde_json::Value = serde_json::from_str(seen.header("x-whole-user").unwrap()).unwrap();
    assert_eq!(whole["roles"][1], "b c");
    assert_eq!(seen.header("x-forwarded-groups"), None, "the table replaces the default");
}

#[test]
fn the_session_header_carries_the_record_for_services_without_a_session_library() {
    let rules = RULES.replace("[identity.headers]", "[identity]\nsession_header = \"X-Session\"\n[identity.headers]");
    let (redis, app, gateway) = express_stage("", &rules);
    let cookie = store_session(&redis, "one", &record("9007199254740993", r#"["zo\u00eb"]"#));
    assert_eq!(gateway.send(&get("/").cookie(&cookie).header("x_session", "mallory")).status(), 200);
    let seen = app.last();
    assert_eq!(seen.header("x_session"), None);
    let json = URL_SAFE_NO_PAD.decode(seen.header("x-session").unwrap()).unwrap();
    let json = String::from_utf8(json).unwrap();
    assert!(json.contains("9007199254740993") && json.contains("zo\u{eb}"), "{json}");
    assert!(!json.contains("\"cookie\""), "{json}");

    let cookie = store_session(&redis, "two", &record("7", &format!("[\"{}\"]", "x".repeat(4096))));
    assert_eq!(gateway.send(&get("/").cookie(&cookie)).status(), 200);
    assert_eq!(app.last().header("x-session"), Some("!too-large"));
    assert_eq!(gateway.log_line("record_left_out")["user"], "7");
}

#[test]
fn by_default_user_and_groups_are_sent() {
    let (redis, app, gateway) =
        express_stage("", "[[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"off\"\n[[rules]]\ndest = \"app\"");
    let cookie = store_session(&redis, "one", &record("42", r#"["a","b"]"#));
    assert_eq!(gateway.send(&get("/").cookie(&cookie)).status(), 200);
    let seen = app.last();
    assert_eq!(seen.header("x-forwarded-user"), Some("42"));
    assert_eq!(seen.header("x-forwarded-groups").map(|groups| groups.replace(' ', "")).as_deref(), Some("a,b"));
}

#[test]
fn different_users_never_give_the_same_header() {
    let (redis, app, gateway) = express_stage("", RULES);
    let table = [
        ("zoe", "zoe"),
        ("a b", "a b"),
        (" a", "%20a"),
        ("a ", "a%20"),
        ("a%20b", "a%2520b"),
        ("zo\u{eb}", "zo%C3%AB"),
        ("a\\nb", "a%0Ab"),
        ("a\\r\\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
        ("a\\u0000b", "a%00b"),
        ("\u{1f600}", "%F0%9F%98%80"),
        ("42", "42"),
    ];
    for (n, (user, header)) in table.into_iter().enumerate() {
        let cookie = store_session(&redis, &n.to_string(), &record(&format!("\"{user}\""), "[]"));
        assert_eq!(gateway.send(&get("/").cookie(&cookie)).status(), 200, "{user}");
        assert_eq!(app.last().all("x-forwarded-user"), [header], "{user}");
    }
}

#[test]
fn strangers_do_not_say_where_a_request_came_from() {
    let (_redis, app, gateway) = express_stage("", RULES);
    let names = [
        "X-Forwarded-For",
        "x_forwarded_for",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X.Forwarded.Prefix",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Original-URL",
        "X_Original_URL",
        "X-Original-URI",
        "X-Rewrite-URL",
        "Proxy",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ];
    for name in names {
        assert_eq!(gateway.send(&get("/off").header(name, "mallory")).status(), 200, "{name}");
        let head = String::from_utf8(app.last().head).unwrap();
        assert!(!head.contains("mallory"), "{name}:\n{head}");
    }
    let seen = app.last();
    let port = gateway.address.port().to_string();
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("x-forwarded-port"), [port.as_str()]);
    assert_eq!(seen.all("x-forwarded-host"), [gateway.address.to_string().as_str()]);
    assert_eq!(seen.all("x-request-id").len(), 1);
    assert_eq!(seen.all("traceparent").len(), 1);
}

#[test]
fn a_trusted_proxy_says_where_a_request_came_from() {
    let app = Upstream::echo();
    let gateway = crate::harness::open_gateway("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]", &app.url());
    let request = get("/")
        .header("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.1.2.3")
        .header("X-Forwarded-Proto", "https")
        .header("X-Request-Id", "kept-1");
    assert_eq!(gateway.send(&request).status(), 200);
    let seen = app.last();
    let hops = seen.header("x-forwarded-for").unwrap().replace(' ', "");
    assert_eq!(hops, "203.0.113.9,10.1.2.3,127.0.0.1", "the client, then the trusted hops");
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-request-id"), ["kept-1"]);
}
