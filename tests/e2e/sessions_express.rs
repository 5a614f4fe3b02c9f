//! Sessions: whose cookie counts, judged as Express judges it, or more strictly.

use crate::harness::{
    Gateway, Redis, SECRET, Setup, Upstream, express_stage, get, record, signature, signed, store_session,
};
use std::fmt::Write;

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
path = "/admin"
dest = "app"
roles = ["admin", "root"]
[[rules]]
path = "/watched"
dest = "app"
enforce = false
[[rules]]
dest = "app"
"#;

struct Stage {
    redis: Redis,
    app: Upstream,
    gateway: Gateway,
}

fn stage(session: &str) -> Stage {
    let (redis, app, gateway) = express_stage(session, RULES);
    Stage { redis, app, gateway }
}

impl Stage {
    /// The user that the upstream learns for a Cookie header, or the refusal's reason.
    fn user(&self, path: &str, cookie: &str) -> Result<Option<String>, String> {
        let response = self.gateway.send(&get(path).cookie(cookie));
        match response.status() {
            200 => Ok(self.app.last().header("x-forwarded-user").map(str::to_owned)),
            _ => Err(response.reason()),
        }
    }

    fn seen_cookie(&self) -> Option<String> {
        let last = self.app.last();
        assert!(last.all("cookie").len() < 2, "{:?}", last.headers);
        last.header("cookie").map(str::to_owned)
    }
}

/// An id whose signature holds both characters that URL-safe base64 spells otherwise.
fn telling_id() -> String {
    let ids = (0..).map(|n| format!("0123456789-abc_DEF.ghi{n:010}"));
    let telling = |id: &String| signature(id, SECRET).contains('+') && signature(id, SECRET).contains('/');
    ids.into_iter().find(telling).unwrap()
}

#[test]
fn cookies_that_express_accepts_are_accepted() {
    let stage = stage(&format!("secrets = [\"a newer secret than the other\", \"{SECRET}\"]"));
    let id = telling_id();
    let encoded = store_session(&stage.redis, &id, &record("42", "[]"));
    let sig = signature(&id, SECRET);
    let every_byte = format!("s:{id}.{sig}").bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02x}").unwrap();
        text
    });
    let newer = signed(&id, "a newer secret than the other");
    let table = [
        ("as Express writes it", encoded.clone()),
        ("unencoded", format!("connect.sid=s:{id}.{sig}")),
        ("lower case escape", encoded.replace("%3A", "%3a")),
        ("every byte escaped", format!("connect.sid={every_byte}")),
        ("quoted", format!("connect.sid=\"{}\"", signed(&id, SECRET))),
        ("spaces around =", format!("connect.sid = {}", signed(&id, SECRET))),
        ("no space after ;", format!("a=b;{encoded};c=d")),
        ("among nonsense", format!("=x; novalue; a==; {encoded}; ;;")),
        ("by the newest secret", format!("connect.sid={newer}")),
    ];
    for (what, cookie) in table {
        assert_eq!(stage.user("/", &cookie), Ok(Some("42".into())), "{what}: {cookie}");
    }
}

#[test]
fn cookies_that_express_rejects_are_rejected() {
    let stage = stage("");
    let id = telling_id();
    let encoded = store_session(&stage.redis, &id, &record("42", "[]"));
    assert_eq!(stage.user("/", &encoded), Ok(Some("42".into())));
    let sig = signature(&id, SECRET);
    let value = signed(&id, SECRET);
    let table = [
        ("bare id", format!("connect.sid={id}")),
        ("no s:", format!("connect.sid={id}.{sig}")),
        ("upper S", format!("connect.sid=S:{id}.{sig}")),
        ("padding", format!("connect.sid=s:{id}.{sig}=")),
        ("URL-safe base64", format!("connect.sid=s:{id}.{}", sig.replace('+', "-").replace('/', "_"))),
        ("another spelling of the last character", format!("connect.sid=s:{id}.{}", not_canonical(&sig))),
        ("cut signature", format!("connect.sid=s:{id}.{}", &sig[..42])),
        ("empty signature", format!("connect.sid=s:{id}.")),
        ("escaped twice", format!("connect.sid={}", value.replace('%', "%25"))),
        ("bad escape behind", format!("{encoded}%ZZ")),
        ("no UTF-8 behind", format!("{encoded}%FF")),
        ("escaped space behind", format!("{encoded}%20")),
        ("name in other case", encoded.replace("connect.sid", "Connect.Sid")),
        ("comma for semicolon", format!("a=b,{encoded}")),
        ("another secret", format!("connect.sid={}", signed(&id, "another secret altogether"))),
        ("another id", format!("connect.sid=s:{id}x.{sig}")),
        ("no such session", format!("connect.sid={}", signed("no-such-session", SECRET))),
        ("empty id", format!("connect.sid={}", signed("", SECRET))),
        ("empty", "connect.sid=".to_owned()),
        ("another cookie", format!("sid={value}")),
        ("a suffix of the name", format!("xconnect.sid={value}")),
    ];
    for (what, cookie) in table {
        assert_eq!(stage.user("/", &cookie), Err("session_required".into()), "{what}: {cookie}");
        assert_eq!(stage.user("/optional", &cookie), Ok(None), "{what}: {cookie}");
        assert_eq!(stage.seen_cookie().as_deref(), Some(cookie.as_str()), "{what}: unchanged where none is valid");
    }
}

/// The last character of unpadded base64 of 32 bytes carries two spare bits: sets one.
fn not_canonical(signature: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (head, last) = signature.split_at(signature.len() - 1);
    let at = ALPHABET.find(last).unwrap();
    format!("{head}{}", &ALPHABET[at + 1..at + 2])
}

#[test]
fn of_several_cookies_the_first_valid_one_counts_and_it_alone_is_forwarded() {
    let stage = stage("");
    let one = store_session(&stage.redis, "one", &record("\"one\"", "[]"));
    let two = store_session(&stage.redis, "two", &record("\"two\"", "[]"));
    let anonymous = store_session(&stage.redis, "three", r#"{"cookie":{}}"#);
    let cookie = format!("x=1; connect.sid=planted; {anonymous}; connect.sid=; {one}; y=2; {two}");
    assert_eq!(stage.user("/", &cookie), Ok(Some("one".into())));
    assert_eq!(stage.seen_cookie(), Some(format!("x=1; {one}; y=2")));
    assert_eq!(stage.user("/optional", &cookie), Ok(Some("one".into())));
    assert_eq!(stage.seen_cookie(), Some(format!("x=1; {one}; y=2")));
    let two_lines = get("/").cookie(format!("connect.sid=planted; {two}")).cookie(&one);
    assert_eq!(stage.gateway.send(&two_lines).status(), 200);
    assert_eq!(stage.app.last().header("x-forwarded-user"), Some("two"));
    assert_eq!(stage.seen_cookie(), Some(two));
}

#[test]
fn a_record_without_a_readable_user_is_anonymous() {
    let stage = stage("");
    let records = [
        "garbage",
        "[]",
        "null",
        "42",
        "\"text\"",
        "",
        "{",
        r#"{"cookie":{}}"#,
        r#"{"cookie":{},"user":null}"#,
        r#"{"cookie":{},"user":"42"}"#,
        r#"{"cookie":{},"user":{"id":null}}"#,
        r#"{"cookie":{},"user":{"id":""}}"#,
        r#"{"cookie":{},"user":{"id":true}}"#,
        r#"{"cookie":{},"user":{"id":1.5}}"#,
        r#"{"cookie":{},"user":{"id":{}}}"#,
        r#"{"cookie":{},"user":{"id":[1]}}"#,
        r#"{"cookie":{},"user":{"id":42}} trailing"#,
        r#"{"user":{"id":42}}"#,
        "\u{feff}{\"cookie\":{},\"user\":{\"id\":42}}",
    ];
    for (n, text) in records.into_iter().enumerate() {
        let cookie = store_session(&stage.redis, &n.to_string(), text);
        assert_eq!(stage.user("/", &cookie), Err("session_required".into()), "{text}");
        assert_eq!(stage.user("/optional", &cookie), Ok(None), "{text}");
    }
    let deep = format!(r#"{{"cookie":{{}},"x":{}{},"user":{{"id":1}}}}"#, "[".repeat(9999), "]".repeat(9999));
    let cookie = store_session(&stage.redis, "deep", &deep);
    assert_eq!(stage.user("/", &cookie), Err("session_required".into()));
    stage.redis.ask(&["RPUSH", "sess:list", "x"]);
    let cookie = format!("connect.sid={}", signed("list", SECRET));
    assert_eq!(stage.user("/optional", &cookie), Ok(None), "a key of another type");
    let script = r#"return redis.call("SET", KEYS[1], '{"cookie":{},"user":{"id":"\255"}}')"#;
    stage.redis.ask(&["EVAL", script, "1", "sess:bytes"]);
    let cookie = format!("connect.sid={}", signed("bytes", SECRET));
    assert_eq!(stage.user("/", &cookie), Err("session_required".into()), "bytes that are no UTF-8");
}

#[test]
fn a_session_that_is_deleted_or_expired_is_over_at_once() {
    let stage = stage("");
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    assert_eq!(stage.user("/", &cookie), Ok(Some("1".into())));
    stage.redis.ask(&["DEL", "sess:one"]);
    crate::harness::eventually("it is refused", || stage.user("/", &cookie).err());
    stage.redis.ask(&["SET", "sess:one", &record("1", "[]"), "PX", "1"]);
    crate::harness::eventually("the key expires", || {
        stage.redis.ask(&["EXISTS", "sess:one"]).filter(|reply| reply == "0")
    });
    assert_eq!(stage.user("/", &cookie), Err("session_required".into()));
}

#[test]
fn roles_are_compared_byte_for_byte() {
    let stage = stage("");
    let table = [
        (r#"["admin"]"#, true),
        (r#"["x","root"]"#, true),
        (r#""admin""#, true),
        (r#"["Admin"]"#, false),
        (r#"["admin "]"#, false),
        (r#""admin,root""#, false),
        (r#"["admin",7]"#, false),
        (r#"{"admin":true}"#, false),
        ("[]", false),
        ("null", false),
    ];
    for (n, (roles, allowed)) in table.into_iter().enumerate() {
        let cookie = store_session(&stage.redis, &n.to_string(), &record("1", roles));
        let expected = if allowed { Ok(Some("1".into())) } else { Err("forbidden".into()) };
        assert_eq!(stage.user("/admin", &cookie), expected, "{roles}");
    }
    assert_eq!(stage.gateway.get("/admin").status(), 401);
}

#[test]
fn off_asks_nobody_and_optional_asks_politely() {
    let stage = stage("");
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    assert_eq!(stage.user("/off", &cookie), Ok(None));
    assert_eq!(stage.seen_cookie(), Some(cookie.clone()));
    assert_eq!(stage.user("/optional", &cookie), Ok(Some("1".into())));
    assert_eq!(stage.gateway.get("/optional").status(), 200);
}

#[test]
fn a_rule_that_is_not_enforced_only_reports() {
    let stage = stage("");
    assert_eq!(stage.user("/watched", "connect.sid=planted; a=1"), Ok(None));
    assert_eq!(stage.seen_cookie().as_deref(), Some("connect.sid=planted; a=1"));
    let line = stage.gateway.log_line("/watched");
    assert!(line.to_string().contains("would_refuse"), "{line}");
}

#[test]
fn the_cookie_stays_at_the_gateway_where_the_file_says_so() {
    let stage = stage("forward_cookie = false");
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    assert_eq!(stage.user("/", &format!("a=1; {cookie}; b=2")), Ok(Some("1".into())));
    assert_eq!(stage.seen_cookie().as_deref(), Some("a=1; b=2"));
    assert_eq!(stage.user("/", &cookie), Ok(Some("1".into())));
    assert_eq!(stage.seen_cookie(), None);
}

#[test]
fn the_user_is_found_at_the_first_of_several_paths() {
    let stage = stage("user = [\"user.id\", \"passport.user\", 'list.0', '\"a.b\".c']");
    let table = [
        (r#"{"cookie":{},"passport":{"user":"pass"}}"#, "pass"),
        (r#"{"cookie":{},"passport":{"user":"pass"},"user":{"id":7}}"#, "7"),
        (r#"{"cookie":{},"list":["first"]}"#, "first"),
        (r#"{"cookie":{},"a.b":{"c":"dotted"}}"#, "dotted"),
    ];
    for (n, (text, user)) in table.into_iter().enumerate() {
        let cookie = store_session(&stage.redis, &n.to_string(), text);
        assert_eq!(stage.user("/", &cookie), Ok(Some(user.into())), "{text}");
    }
}

#[test]
fn cookie_name_and_prefix_are_the_apps_own() {
    let stage = stage("cookie = \"app.sid\"\nprefix = \"app:\"");
    stage.redis.set("app:one", record("1", "[]"));
    let value = signed("one", SECRET);
    assert_eq!(stage.user("/", &format!("app.sid={value}")), Ok(Some("1".into())));
    assert_eq!(stage.user("/", &format!("connect.sid={value}")), Err("session_required".into()));
}

#[test]
fn secrets_may_come_from_a_file() {
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
        roles = "user.roles"
        [upstreams]
        app = "{app_url}"
        {RULES}"#
    );
    let gateway = Setup::new(text).file("secrets.txt", format!("the newest secret of all\n{SECRET}\n")).start();
    let cookie = store_session(&redis, "one", &record("1", "[]"));
    assert_eq!(gateway.send(&get("/").cookie(&cookie)).status(), 200);
    let newest = format!("connect.sid={}", signed("one", "the newest secret of all"));
    assert_eq!(gateway.send(&get("/").cookie(newest)).status(), 200);
}
