//! The log: one line a request, and never a secret.

use crate::harness::{
    Connection, Gateway, Listener, Redis, SECRET, Upstream, eventually, express_gateway, express_stage, get,
    open_gateway, record, store_session,
};

const RULES: &str = "[[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"off\"\n[[rules]]\ndest = \"app\"";

/// The lines that mention a text.
fn lines(gateway: &Gateway, text: &str) -> Vec<String> {
    gateway.output().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[test]
fn each_request_is_one_line_that_says_what_happened() {
    let (redis, _app, gateway) = express_stage("", RULES);
    let cookie = store_session(&redis, "one", &record("\"zoe\"", "[]"));
    gateway.send(&get("/seen-by-zoe?token=hidden").cookie(&cookie));
    let line = gateway.log_line("/seen-by-zoe").to_string();
    for text in ["GET", "200", "zoe", "app", "127.0.0.1"] {
        assert!(line.contains(text), "no {text} in {line}");
    }
    gateway.get("/seen-by-nobody");
    let line = gateway.log_line("/seen-by-nobody").to_string();
    for text in ["401", "session_required"] {
        assert!(line.contains(text), "no {text} in {line}");
    }
    let last = gateway.get("/the-last");
    gateway.log_line("/the-last");
    assert!(gateway.log_line("/the-last").to_string().contains(last.json()["request_id"].as_str().unwrap()));
    assert_eq!((lines(&gateway, "/seen-by-zoe").len(), lines(&gateway, "/seen-by-nobody").len()), (1, 1));
}

#[test]
fn a_slow_store_is_told() {
    let (redis, _app, gateway) = express_stage("", RULES);
    let cookie = store_session(&redis, "one", &record("1", "[]"));
    redis.ask(&["CLIENT", "PAUSE", "100", "ALL"]);
    gateway.send(&get("/slow").cookie(&cookie));
    assert!(gateway.log_line("/slow")["store_ms"].as_f64().unwrap() >= 1.0);
}

#[test]
fn the_exact_cause_of_a_refusal_is_told_here() {
    let (redis, _app, gateway) = express_stage("", RULES);
    let anonymous = store_session(&redis, "one", r#"{"cookie":{}}"#);
    let broken = store_session(&redis, "two", "garbage");
    let gone = format!("connect.sid={}", crate::harness::signed("three", SECRET));
    let mut causes = Vec::new();
    let cookies = ["a=1", "connect.sid=x", "connect.sid=s:x.y", &anonymous, &broken, &gone];
    for (n, cookie) in cookies.into_iter().enumerate() {
        gateway.send(&get(&format!("/cause-{n}")).cookie(cookie));
        let line = gateway.log_line(&format!("/cause-{n}"));
        let words = line.as_object().unwrap().values().filter_map(|value| value.as_str());
        // What differs between the lines besides times, ids and paths, all of which hold digits.
        let words: Vec<String> = words.filter(|word| !word.contains(char::is_numeric)).map(str::to_owned).collect();
        causes.push(words);
    }
    let mut different = causes.clone();
    different.sort();
    different.dedup();
    assert!(different.len() >= 5, "{causes:?}");
}

#[test]
fn no_secret_is_ever_written() {
    let (mut redis, app) = (Redis::start(), Upstream::echo());
    let gateway = express_gateway(&redis, &app.url(), "", RULES);
    let id = "sid-that-must-stay-secret";
    let cookie = store_session(&redis, id, &record("\"zoe\"", "[]"));
    let request = get("/x?password=query-secret").cookie(&cookie).header("Authorization", "Bearer header-secret");
    assert_eq!(gateway.send(&request).status(), 200);
    let mangled = gateway.send(&get("/y").cookie(format!("{cookie}x; other=cookie-secret")));
    let listed = gateway.send(&get("/a/../b?password=query-secret").cookie(&cookie));
    redis.kill();
    let refused =
        eventually("the store is gone", || Some(gateway.send(&request)).filter(|response| response.status() == 503));
    assert_eq!((mangled.status(), listed.status()), (401, 400));
    gateway.log_line("\"/y\"");
    let everything = format!("{}{}{}{}", gateway.output(), mangled.text(), listed.text(), refused.text());
    for secret in [id, "query-secret", "header-secret", "cookie-secret", SECRET, "a stranger"] {
        assert!(!everything.contains(secret), "{secret} in\n{everything}");
    }
}

#[test]
fn queries_are_logged_where_the_file_says_so() {
    let app = Upstream::echo();
    let url = app.url();
    let gateway = Gateway::start(format!(
        "[upstreams]\napp = \"{url}\"\n[[rules]]\ndest = \"app\"\nsession = \"off\"\n[log]\nquery = true"
    ));
    gateway.get("/with?x=seen-query");
    gateway.log_line("seen-query");
}

#[test]
fn a_client_that_leaves_is_a_line_too() {
    let app = Listener::bind();
    let gateway = open_gateway("", &app.url());
    let mut client = Connection::open(gateway.address);
    client.write(get("/left-early").bytes(gateway.address));
    let mut asked = app.accept(); // stays open: it is the client who leaves
    asked.request().unwrap();
    client.close();
    drop(client);
    assert!(gateway.log_line("/left-early").to_string().contains("499"));
}

#[test]
fn nothing_that_a_client_sends_breaks_a_line() {
    let (redis, _app, gateway) = express_stage("", RULES);
    let user = "zoe\\n{\\\"status\\\":200,\\\"forged\\\":true}\\u001b[31m\\u202e";
    let cookie = store_session(&redis, "one", &record(&format!("\"{user}\""), "[]"));
    gateway.send(&get("/forging").cookie(&cookie).header("User-Agent", "a\tb"));
    gateway.log_line("/forging");
    let output = gateway.output();
    assert!(output.chars().all(|c| c == '\n' || !c.is_control()), "{output:?}");
    assert!(!output.lines().any(|line| line.starts_with("{\"status\":200,\"forged\"")));
    for line in output.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

/// Raw fields of requests, each of which might end a line, turn it around, or look like another field.
const FORGING: [(&str, &[u8]); 22] = [
    ("target", b"/LOG?a%0a{\"status\":200}"),
    ("target", b"/LOG?\xe2\x80\xa8{\"status\":200}"),
    ("target", b"/LOG?\xe2\x80\xae\xe2\x81\xa6"),
    ("target", b"/LOG?\xc2\x9b31m"),
    ("target", b"/LOG?\xff\xfe"),
    ("target", b"/LOG?user=root&verdict=session&reason=\""),
    ("target", b"/LOG/../%1b[31m"),
    ("target", b"/LOG/%zz\xe2\x80\xa9"),
    ("target", b"/LOG/%E2%80%AE%C2%85"),
    ("target", b"/LOG/\"user=root"),
    ("method", b"G'ET|`{"),
    ("line", b"Host: a\tb"),
    ("line", b"Host: \xe2\x80\xae.test"),
    ("line", b"Host: a b=c"),
    ("line", b"User-Agent: \x1b[31m\xe2\x80\xa8"),
    ("line", b"X-Request-Id: a\tb=c \xe2\x80\xa8"),
    ("line", b"X-Request-Id: {\"a\":1}"),
    ("line", b"traceparent: 00-\xff"),
    ("line", b"X-Forwarded-For: 192.0.2.1 user=root, \xe2\x80\xae"),
    ("line", b"X-Forwarded-For: \"192.0.2.1\", [::1%25eth0]"),
    ("line", b"Forwarded: for=\"\xe2\x80\xa8\";host=\"a\tb\""),
    ("line", b"X-Forwarded-Host: \xe2\x80\xae\t.test"),
];

#[test]
fn no_field_of_a_request_forges_a_line_in_either_format() {
    let users = [
        "a\\nb",
        "a\\r\\nb",
        "\\u001b[31mroot",
        "\\u2028x",
        "\\u2029x",
        "\\u202ex",
        "\\u0085x",
        "\\u009b31m",
        "\\u0000",
    ];
    let users = users.into_iter().chain(["a reason=forbidden", "\\\" verdict=x", "\\ufeffx", "=", "a\u{a0}b"]);
    let users: Vec<_> = users.collect();
    for format in ["json", "pretty"] {
        let (redis, app) = (Redis::start(), Upstream::echo());
        let gateway = Gateway::start(format!(
            "trusted_proxies = \"127.0.0.1\"\n[store]\nurl = \"{}\"\ntimeout = \"10s\"\n[session]\nformat = \"express\"\nsecrets = \"{SECRET}\"\n\
             user = \"user.id\"\n[upstreams]\napp = \"{}\"\n{RULES}\n[log]\nformat = \"{format}\"\nquery = true\n",
            redis.url(),
            app.url()
        ));
        let mut names = Vec::new();
        for (at, (field, bytes)) in FORGING.iter().enumerate() {
            let name = format!("forging-{at}-");
            let own =
                |wanted: &str, otherwise: &[u8]| if *field == wanted { bytes.to_vec() } else { otherwise.to_vec() };
            let target = String::from_utf8_lossy(b"/LOG").replace("LOG", &name).into_bytes();
            let target = match own("target", &target) {
                target if target.starts_with(b"/LOG") => [b"/", name.as_bytes(), &target[4..]].concat(),
                target => target,
            };
            let host = if bytes.starts_with(b"Host") { "" } else { "Host: a.test\r\n" };
            let head = [
                &own("method", b"GET")[..],
                b" ",
                &target,
                b" HTTP/1.1\r\n",
                host.as_bytes(),
                &own("line", b"X: y"),
                b"\r\nConnection: close\r\n\r\n",
            ];
            let mut connection = Connection::open(gateway.address);
            connection.try_write(head.concat());
            // Heads that cannot be parsed get a bare 400, and no line.
            if connection.response(false).is_some_and(|answer| answer.status() != 400 || !answer.body.is_empty()) {
                names.push(name);
            }
        }
        assert!(names.len() > 15, "{names:?}");
        for (at, user) in users.iter().enumerate() {
            let cookie = store_session(&redis, &format!("user-{at}"), &record(&format!("\"{user}\""), "[]"));
            names.push(format!("user-{at}-"));
            assert_eq!(gateway.send(&get(&format!("/user-{at}-")).cookie(cookie)).status(), 200, "{user}");
        }
        for name in &names {
            eventually(&format!("the line of {name}"), || (!lines(&gateway, name).is_empty()).then_some(()));
            let told = lines(&gateway, name);
            assert_eq!(told.len(), 1, "{told:?}");
            if format == "json" {
                let line: serde_json::Value = serde_json::from_str(&told[0]).unwrap();
                assert_eq!(line["message"], "request", "{line}");
            } else {
                // Text that could be taken for a field is quoted; outside of quotes each field stands once.
                let bare: String = told[0].replace("\\\"", "").split('"').step_by(2).collect();
                for field in [" user=", " verdict=", " reason="] {
                    assert!(bare.matches(field).count() <= 1 && !bare.contains(" user=root"), "{told:?}");
                }
            }
        }
        let output = gateway.output();
        let turns =
            |character: char| matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffd}');
        let is_plain = |character: char| character == '\n' || !character.is_control() && !turns(character);
        assert!(output.chars().all(is_plain), "{output:?}");
    }
}

#[test]
fn lines_can_be_switched_off_and_made_pretty() {
    let app = Upstream::echo();
    let url = app.url();
    let text =
        |log: &str| format!("[upstreams]\napp = \"{url}\"\n[[rules]]\ndest = \"app\"\nsession = \"off\"\n[log]\n{log}");
    let mut quiet = Gateway::start(text("access = false"));
    quiet.get("/unseen");
    quiet.terminate();
    assert!(lines(&quiet, "/unseen").is_empty());
    let pretty = Gateway::start(text("format = \"pretty\""));
    pretty.get("/pretty");
    let line = eventually("a line", || lines(&pretty, "/pretty").pop());
    assert!(!line.starts_with('{'), "{line}");
}

#[test]
fn it_says_where_it_can_be_reached() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    for (address, what) in [(gateway.address, "listening"), (gateway.admin, "probes and metrics are served")] {
        eventually(what, || {
            let told = lines(&gateway, what);
            told.iter().any(|line| line.contains(&address.to_string())).then_some(())
        });
    }
}

#[test]
fn a_proxy_that_nobody_trusts_is_told_about_once_with_the_line_to_add() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    for _ in 0..3 {
        gateway.send(&get("/through-a-proxy").header("X-Forwarded-For", "192.0.2.1"));
    }
    gateway.get("/the-last");
    gateway.log_line("/the-last");
    let told = lines(&gateway, "trusted_proxies");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("127.0.0.1"), "{told:?}");
}
