//! The command line: `check`, `explain`, `schema`, `import`, `health`, and exit codes that say who is to blame.

use crate::harness::{
    Dir, Redis, SECRET, Setup, Upstream, eventually, express_gateway, get, onedoor, open_gateway, record, signed,
    store_session,
};
use std::{
    path::Path,
    process::{Command, Stdio},
};

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

/// What the README shows in part, without a store, is completed by its first configuration, the counter site.
#[test]
fn every_configuration_that_the_documents_show_is_in_order() {
    let readme = include_str!("../../README.md");
    let shown = readme.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
    let shown: Vec<toml::Table> = shown.map(|block| block.parse().unwrap()).collect();
    assert!(shown.len() >= 3, "the README shows {} configurations", shown.len());
    let completed = shown.iter().map(|block| {
        let mut whole = block.clone();
        let is_whole = block.contains_key("store");
        for (key, value) in shown[0].iter().filter(|_| !is_whole) {
            match whole.get_mut(key).zip(value.as_array()) {
                Some((own, rules)) => own.as_array_mut().unwrap().extend(rules.iter().cloned()),
                None => _ = whole.insert(key.clone(), value.clone()),
            }
        }
        (whole.to_string(), is_whole)
    });
    let files = [include_str!("../../gateway.toml"), include_str!("../../deploy/site/gateway/gateway.toml")];
    let dir = Dir::new();
    dir.write(".env", "REDIS_SESSION_URL=redis://127.0.0.1:6379\nSESSION_SECRET='a secret of decent length'\n");
    dir.write("example.com.pem", include_str!("../config/accepted/tls/site.pem"));
    dir.write("example.com-key.pem", include_str!("../config/accepted/tls/site-key.pem"));
    let whole = files.map(|text| (text.to_owned(), true));
    // The path of a rule may come first both in what is shown and in what completes it: a warning.
    for (text, is_silent) in completed.chain(whole) {
        dir.write("gateway.toml", &text);
        let (code, _, err) = run(dir.path(), &["check", "--env-file", ".env"]);
        assert!(code == 0 && (err.is_empty() || !is_silent), "{err}\n{text}");
    }
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
fn check_refuses_what_run_would_refuse_on_this_machine() {
    let dir = Dir::new();
    dir.write("none.pem", "");
    dir.write(
        "gateway.toml",
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n[upstreams]\nfar = \"https://127.0.0.1:1\"\n\
         [[rules]]\ndest = \"far\"\nsession = \"off\"\n",
    );
    for command in ["check", "run"] {
        let mut command = onedoor(&[command]);
        let (code, _, err) =
            finish(command.current_dir(dir.path()).env("SSL_CERT_FILE", "none.pem").env("SSL_CERT_DIR", dir.path()));
        assert!(code == 78 && err.contains("gateway.toml:6:1") && err.contains("root certificates"), "{err}");
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
fn who_has_read_enough_ends_nothing_with_a_panic() {
    for arguments in [["schema"].as_slice(), &["completions", "bash"], &["completions", "zsh"]] {
        let mut child = onedoor(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
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
fn to_be_explained_is_no_use_of_a_session() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let gateway = express_gateway(
        &redis,
        &app.url(),
        "touch = \"auto\"\nttl = \"1h\"\n",
        "[[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"off\"\n[[rules]]\ndest = \"app\"\n",
    );
    let cookie = store_session(&redis, "one", &record("\"zoe\"", "[]"));
    redis.ask(&["EXPIRE", "sess:one", "600"]);
    let file = gateway.file();
    let out = eventually("the store answers in time", || {
        let (_, out, _) =
            finish(onedoor(&["explain", "-c", file.to_str().unwrap()]).args(["GET", "/", "--cookie", &cookie]));
        out.contains("valid express session").then_some(out)
    });
    let left = || redis.ask(&["TTL", "sess:one"]).unwrap().parse::<u64>().unwrap();
    assert!(left() <= 600, "{out}");
    assert_eq!(get("/").cookie(&cookie).send(gateway.address).status(), 200);
    eventually("a request is one", || (left() > 600).then_some(()));
}

#[test]
fn explain_takes_a_whole_url_and_sees_what_is_declared() {
    let app = Upstream::echo();
    let gateway =
        open_gateway("public_url = \"http://example.com:8080\"\n[server.limits]\nbody = \"1KiB\"\n", &app.url());
    let file = gateway.file();
    let explain = |arguments: &[&str]| {
        let (code, out, err) = finish(onedoor(&["explain", "-c", file.to_str().unwrap()]).args(arguments));
        assert_eq!(code, 0, "{out}{err}");
        out
    };
    for target in ["/x?y=1", "http://example.com:8080/x?y=1"] {
        let out = explain(&["GET", target]);
        let told = ["host      example.com:8080", "x-forwarded-port: 8080", "forwarded as GET /x?y=1"];
        assert!(told.iter().all(|line| out.contains(line)), "{target}: {out}");
    }
    assert!(explain(&["GET", "http://elsewhere.example/x"]).contains("misdirected"));
    let out = explain(&["POST", "/x", "--header", "Content-Length: 2000"]);
    assert!(out.contains("body_too_large") && out.contains("answer    413"), "{out}");
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let dir = Dir::new();
    let site = "[admin]\nlisten = \"\"\n[[rules]]\ndest = \"http://127.0.0.1:1\"\nsession = \"off\"\n";
    for (listen, text) in [
        ("unix:/no/such/directory.sock", "its directory must be there"),
        ("192.0.2.1:3000", "this machine has no such address"),
        ("systemd:web", "the process was started without a socket"),
    ] {
        dir.write("gateway.toml", format!("[server]\nlisten = \"{listen}\"\n{site}"));
        let (code, _, err) = run(dir.path(), &["run"]);
        assert!(code == 69 && err.contains(text), "{listen}: {code} {err}");
    }
    for (arguments, code, text) in [
        (["check", "--env-file", "missing.env"], 78, "error: cannot read missing.env"),
        (["demo", "--listen", "127.0.0.1"], 64, "it needs a port: \"127.0.0.1:3000\""),
        (["demo", "--redis-url", "localhost:6379"], 64, "this is not a store URL"),
        (["health", "--address", "127.0.0.1:1"], 69, "error: the gateway cannot be reached"),
    ] {
        let (found, _, err) = run(dir.path(), &arguments);
        assert!(found == code && err.contains(text) && !err.contains("demo.toml"), "{arguments:?}: {found} {err}");
    }
}

#[test]
fn explain_and_decode_say_why_the_store_does_not_answer() {
    let dir = Dir::new();
    dir.write(
        "gateway.toml",
        format!(
            "[admin]\nlisten = \"\"\n[store]\nurl = \"redis+unix:///no/such.sock\"\n[session]\nformat = \"express\"\n\
             secrets = \"{SECRET}\"\nuser = \"user.id\"\n[[rules]]\npath = [\"/login\", \"/login/\"]\nredirect = \"/\"\n\
             [[rules]]\ndest = \"http://127.0.0.1:1\"\n"
        ),
    );
    let cookie = format!("connect.sid={}", signed("one", SECRET));
    for arguments in [["explain", "GET", "/", "--cookie", &cookie].as_slice(), &["session", "decode", &cookie]] {
        let (code, out, err) = run(dir.path(), arguments);
        assert!(code == 0 && out.contains("verdict   unknown"), "{out}{err}");
        assert!(err.contains("the store cannot be reached") && err.contains("No such file or directory"), "{err}");
    }
}

#[test]
fn health_asks_a_running_gateway() {
    let app = Upstream::echo();
    let mut gateway = open_gateway("", &app.url());
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
    let elsewhere = store_session(&redis, "elsewhere", r#"{"cookie":{},"userId":42}"#);
    let (code, out, _) = decode(&elsewhere);
    let told = ["no user at the paths in `user`", "user      none at user.id", r#""userId":42"#];
    assert!(code == 0 && told.iter().all(|told| out.contains(told)), "{out}");
    let (code, out, _) = decode(&value.replace("known", "other"));
    assert!(code == 0 && out.contains("no valid session: bad signature") && !out.contains("record"), "{out}");
    assert!(decode("connect.sid=").1.contains("no valid session"));
}
