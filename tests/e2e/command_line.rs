//! The command line: `check`, `explain`, `schema`, `import`, `health`, and exit codes that say who is to blame.

use crate::harness::{
    Dir, Redis, SECRET, Setup, Upstream, eventually, express_gateway, get, onedoor, record, store_session,
};
use std::{path::Path, process::Command};

/// Exit code, standard output, standard error.
fn run(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    finish(onedoor(arguments).current_dir(dir))
}

fn finish(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

const GOOD: &str = include_str!("../config/accepted/smallest.toml");

const BAD: &str = r#"[server]
listn = "127.0.0.1:3000"
drain = 30

[upstreams]
app = "http://127.0.0.1:8081"

[[rules]]
path = "/x"
dest = "ap"
session = "of"
"#;

#[test]
fn the_smallest_useful_file_is_in_order() {
    let dir = Dir::new();
    dir.write("gateway.toml", GOOD);
    dir.write(".env", "REDIS_SESSION_URL=redis://127.0.0.1:6379\nexport SESSION_SECRET='a secret of decent length'\n");
    let (code, out, err) = run(dir.path(), &["check", "--env-file", ".env"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!format!("{out}{err}").contains("decent length"), "secrets are not printed");
    let (code, _, err) = run(dir.path(), &["check"]);
    assert_eq!(code, 78);
    assert!(err.contains("REDIS_SESSION_URL") && err.contains("SESSION_SECRET"), "{err}");
}

#[test]
fn check_and_run_report_everything_at_once() {
    let dir = Dir::new();
    dir.write("gateway.toml", BAD);
    for command in ["check", "run"] {
        let (code, _, err) = run(dir.path(), &[command, "-c", "gateway.toml"]);
        assert_eq!(code, 78, "{err}");
        let expected = [
            "gateway.toml:2:1",
            "listn",
            "`listen`",
            "gateway.toml:3:",
            "30s",
            "gateway.toml:10:8",
            "did you mean \"app\"",
            "gateway.toml:11:",
            "off",
        ];
        for text in expected {
            assert!(err.contains(text), "{command}: no {text:?} in\n{err}");
        }
    }
}

#[test]
fn exit_codes_tell_usage_from_configuration() {
    let dir = Dir::new();
    assert_eq!(run(dir.path(), &["check", "-c", "missing.toml"]).0, 78);
    assert_eq!(run(dir.path(), &["chekc"]).0, 64);
    assert_eq!(run(dir.path(), &["run", "--no-such-flag"]).0, 64);
    assert_eq!(run(dir.path(), &["--help"]).0, 0);
    assert_eq!(run(dir.path(), &["--version"]).0, 0);
}

#[test]
fn schema_is_json_schema() {
    let dir = Dir::new();
    let (code, out, _) = run(dir.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    for section in ["server", "store", "session", "identity", "upstreams", "rules", "admin", "log"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn an_imported_site_is_in_order_and_serves() {
    let dir = Dir::new();
    let app = Upstream::echo();
    let rules = serde_json::json!({"rules": [
        {"pathname": "/login", "dest": app.url()},
        {"pathname": "/api/**", "method": ["GET", "POST"], "dest": app.url()},
        {"dest": "site-abc.now.sh"},
    ]});
    dir.write("now.json", rules.to_string());
    let (code, toml, err) = run(dir.path(), &["import", "now.json"]);
    assert_eq!(code, 0, "{err}");
    assert!(toml.contains("https://site-abc.now.sh") && toml.contains("session = \"off\""), "{toml}");
    dir.write("gateway.toml", &toml);
    let (code, _, err) = run(dir.path(), &["check"]);
    assert_eq!(code, 0, "{err}\n{toml}");
    let address = crate::harness::free_address();
    let server = format!("[server]\nlisten = \"{address}\"\n[admin]\nlisten = \"\"\n");
    let gateway = Setup::whole(format!("{server}{toml}")).launch();
    let response = eventually("the imported site serves", || get("/api/x").try_send(address));
    assert_eq!(response.json()["target"], "/api/x", "{}", gateway.output());
    dir.write("broken.json", "{\"rules\":");
    assert_ne!(run(dir.path(), &["import", "broken.json"]).0, 0);
}

#[test]
fn explain_tells_what_would_happen() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let rules = "[[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"off\"\n\
                 [[rules]]\npath = \"/admin/**\"\ndest = \"app\"\nroles = \"admin\"\n\
                 [[rules]]\npath = \"/reported\"\ndest = \"app\"\nroles = \"admin\"\nenforce = false\n[[rules]]\ndest = \"app\"";
    let gateway = express_gateway(&redis, &app.url(), "", rules);
    let cookie = store_session(&redis, "one", &record("\"zoe\"", "[\"guest\"]"));
    let file = gateway.file();
    let ask = |arguments: &[&str]| {
        let (code, out, err) = finish(onedoor(&["explain", "-c", file.to_str().unwrap()]).args(arguments));
        assert_eq!(code, 0, "{out}{err}");
        (!out.contains("unknown: ")).then_some(out)
    };
    let explain = |arguments: &[&str]| eventually("the store answers in time", || ask(arguments));
    let out = explain(&["GET", "/some/page?x=1", "--cookie", &cookie]);
    for text in ["rules[3]", "zoe", "X-Forwarded-User", &app.url()] {
        assert!(out.to_ascii_lowercase().contains(&text.to_ascii_lowercase()), "no {text} in\n{out}");
    }
    let out = explain(&["GET", "/admin/x", "--cookie", &cookie]);
    assert!(out.contains("403") && out.contains("forbidden"), "{out}");
    let out = explain(&["GET", "/admin/x"]);
    assert!(out.contains("401") && out.contains("session_required") && !out.contains("508"), "{out}");
    let out = explain(&["GET", "/admin/x", "--header", "Accept: text/html"]);
    assert!(out.contains("303 to /login?return_to=%2Fadmin%2Fx") && out.contains("508 instead"), "{out}");
    let out = explain(&["GET", "/a/../b"]);
    assert!(out.contains("400"), "{out}");
    let out = explain(&["GET", "/_onedoor/healthz"]);
    assert!(out.contains("200") && !out.contains("no_rule"), "{out}");
    let both = format!("connect.sid=planted; {cookie}");
    let out = explain(&["GET", "/page", "--cookie", &both]);
    assert!(out.contains("only the one that counts") && out.contains("x-forwarded-for: 127.0.0.1"), "{out}");
    let out = explain(&["GET", "/reported", "--cookie", &both]);
    assert!(out.contains("would be refused") && !out.contains("only the one that counts"), "{out}");
    assert!(app.requests().is_empty(), "nothing is sent");
    assert!(!out.contains(SECRET));
}

#[test]
fn health_asks_a_running_gateway() {
    let app = Upstream::echo();
    let mut gateway = crate::harness::open_gateway("", &app.url());
    let file = gateway.file();
    let health = || finish(&mut onedoor(&["health", "-c", file.to_str().unwrap()])).0;
    assert_eq!(health(), 0);
    gateway.terminate();
    assert_ne!(health(), 0);
}

#[test]
fn session_decode_tells_what_a_cookie_stands_for_and_masks_secrets() {
    let redis = Redis::start();
    let gateway = express_gateway(
        &redis,
        "http://127.0.0.1:1",
        "",
        "[[rules]]\npath = \"/login\"\nsession = \"off\"\ndest = \"app\"\n[[rules]]\ndest = \"app\"\n",
    );
    let record =
        r#"{"cookie":{"path":"/"},"user":{"id":42,"roles":["admin"],"passwordHash":"$2b$10$abc"},"csrfToken":"hush"}"#;
    let cookie = store_session(&redis, "known", record);
    let value = cookie.split_once('=').unwrap().1;
    let file = gateway.file();
    let decode = |cookie: &str| finish(onedoor(&["session", "decode", "-c", file.to_str().unwrap()]).arg(cookie));
    for cookie in [&cookie, value] {
        let (code, out, err) = decode(cookie);
        assert_eq!(code, 0, "{err}");
        for line in [
            "id        known",
            "key       sess:known",
            "verdict   valid: user 42 (roles: admin)",
            "ttl       3",
            r#""passwordHash":"(masked)""#,
            r#""csrfToken":"(masked)""#,
        ] {
            assert!(out.contains(line), "{line} in {out}");
        }
        assert!(!out.contains("$2b$") && !out.contains("hush") && !out.contains(SECRET), "{out}");
    }
    let (code, out, _) = decode(&value.replace("known", "other"));
    assert!(code == 0 && out.contains("no valid session: bad signature") && !out.contains("record"), "{out}");
    assert!(decode("connect.sid=").1.contains("no valid session"));
}
