//! Sessions are answered from memory, revoked at once, and safe in every outage.

use crate::harness::{
    Gateway, Message, Redis, SECRET, Upstream, eventually, get, onedoor, post, record, store_session,
};
use std::time::{Duration, Instant};

const RULES: &str = r#"
[[rules]]
path = "/admin"
dest = "app"
roles = "admin"
[[rules]]
path = "/optional"
dest = "app"
session = "optional"
[[rules]]
path = "/stale"
dest = "app"
on_outage = "stale"
[[rules]]
path = "/anonymous"
dest = "app"
session = "optional"
on_outage = "anonymous"
[[rules]]
path = "/login"
dest = "app"
session = "off"
[[rules]]
dest = "app"
"#;

struct Stage {
    redis: Redis,
    app: Upstream,
    gateway: Gateway,
}

fn text(redis: &Redis, app: &Upstream, store: &str, secret: &str) -> String {
    let (url, app) = (redis.url(), app.url());
    format!(
        r#"
        [store]
        url = "{url}"
        # A busy machine may take a while.
        timeout = "2s"
        {store}
        [session]
        format = "express"
        secrets = ["{secret}"]
        user = "user.id"
        roles = "user.roles"
        [upstreams]
        app = "{app}"
        {RULES}
        "#
    )
}

/// A gateway whose memory is in use; `events` = by keyspace events.
fn stage(store: &str, events: bool) -> Stage {
    let (redis, app) = (Redis::start(), Upstream::echo());
    if events {
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "Kg$hxe"]);
    }
    let gateway = Gateway::start(text(&redis, &app, store, SECRET));
    let stage = Stage { redis, app, gateway };
    stage.gateway.armed();
    let by = if events { "keyspace events" } else { "client tracking" };
    eventually(by, || stage.gateway.output().contains(by).then_some(()));
    stage
}

impl Stage {
    fn get(&self, path: &str, cookie: &str) -> Message {
        self.gateway.send(&get(path).cookie(cookie))
    }

    fn status(&self, path: &str, cookie: &str) -> u16 {
        self.get(path, cookie).status()
    }

    /// Waits until the answer has this status.
    fn becomes(&self, path: &str, cookie: &str, status: u16) -> Message {
        eventually(&format!("{path} becomes {status}"), || {
            Some(self.get(path, cookie)).filter(|response| response.status() == status)
        })
    }

    /// Waits until the session is answered from memory.
    fn remembered(&self, cookie: &str) {
        eventually("it is in memory", || {
            assert_eq!(self.status("/", cookie), 200);
            self.gateway.output().contains("\"verdict_from\":\"memory\"").then_some(())
        });
    }

    /// Waits until so many requests in a row cost no more reads than this. On a busy machine memory is closed now and
    /// then, but not for ever.
    fn costs(&self, reads: u64, requests: usize, request: impl Fn()) {
        eventually(&format!("{requests} requests cost {reads} reads"), || {
            let before = self.reads();
            (0..requests).for_each(|_| request());
            (self.reads() <= before + reads).then_some(())
        });
    }

    /// Which connection hears of changes.
    fn listener(&self) -> String {
        let list = self.redis.ask(&["CLIENT", "LIST"]).unwrap();
        let listener = list.lines().find(|line| line.contains("name=onedoor-listener"));
        listener.and_then(|line| line.split(' ').next()).unwrap_or_default().to_owned()
    }

    /// How often records were read.
    fn reads(&self) -> u64 {
        let stats = self.redis.ask(&["INFO", "commandstats"]).unwrap();
        let calls = |name: &str| stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        // What lies beside a record is read by the same command, but has no time to live that counts.
        let line = calls("pttl").or_else(|| calls("getrange")).unwrap_or("calls=0,");
        line.split(['=', ',']).nth(1).unwrap().parse().unwrap()
    }
}

#[test]
fn a_session_is_read_once_and_refused_at_once_when_it_is_deleted() {
    for events in [false, true] {
        let stage = stage("", events);
        let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
        stage.costs(0, 50, || assert_eq!(stage.status("/", &cookie), 200));
        let line = stage.gateway.log_line("\"verdict_from\":\"memory\"");
        assert_eq!((line["verdict"].as_str(), line["user"].as_str()), (Some("session"), Some("1")));
        stage.redis.ask(&["DEL", "sess:one"]);
        stage.becomes("/", &cookie, 401);
        stage.gateway.log_line("\"verdict_from\":\"store\",\"memory\":\"armed\"");
    }
}

#[test]
fn a_changed_record_counts_at_once() {
    for events in [false, true] {
        let stage = stage("", events);
        let cookie = store_session(&stage.redis, "one", &record("1", "[\"admin\"]"));
        assert_eq!(stage.status("/admin", &cookie), 200);
        for _ in 0..20 {
            stage.redis.set("sess:one", record("1", "[]"));
            stage.becomes("/admin", &cookie, 403);
            stage.redis.set("sess:one", record("1", "[\"admin\"]"));
            assert_eq!(stage.status("/admin", &cookie), 200, "a role that is missing is never remembered");
        }
    }
}

#[test]
fn a_login_under_the_same_id_is_never_refused_from_memory() {
    let stage = stage("", false);
    let cookie = store_session(&stage.redis, "one", r#"{"cookie":{}}"#);
    for _ in 0..20 {
        assert_eq!(stage.status("/optional", &cookie), 200);
        assert_eq!(stage.status("/", &cookie), 401);
        stage.redis.set("sess:one", record("1", "[]"));
        assert_eq!(stage.status("/", &cookie), 200);
        stage.redis.set("sess:one", r#"{"cookie":{}}"#);
        stage.becomes("/", &cookie, 401);
    }
}

#[test]
fn nobody_is_refused_from_memory_that_has_not_heard_of_a_login() {
    let stage = stage("", true);
    let cookie = store_session(&stage.redis, "one", r#"{"cookie":{}}"#);
    assert_eq!(stage.status("/optional", &cookie), 200);
    stage.redis.ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
    stage.redis.set("sess:one", record("1", "[]"));
    assert_eq!(stage.status("/", &cookie), 200);
}

#[test]
fn who_is_nobody_is_remembered_for_a_moment_where_that_refuses_nothing() {
    let stage = stage("", true);
    let cookie = store_session(&stage.redis, "one", r#"{"cookie":{}}"#);
    stage.costs(2, 20, || assert_eq!(stage.status("/optional", &cookie), 200));
}

#[test]
fn the_apps_renewals_do_not_empty_the_memory_where_events_are_on() {
    let stage = stage("", true);
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    stage.costs(0, 30, || {
        stage.redis.ask(&["EXPIRE", "sess:one", "3600"]);
        stage.redis.ask(&["SET", "queue:1", "x"]);
        assert_eq!(stage.status("/", &cookie), 200);
    });
}

#[test]
fn by_tracking_a_renewal_costs_a_read_and_the_session_stays_understood() {
    let stage = stage("", false);
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    assert_eq!(stage.status("/", &cookie), 200);
    eventually("a renewal is noticed", || {
        stage.redis.ask(&["EXPIRE", "sess:one", "3600"]);
        assert_eq!(stage.status("/", &cookie), 200);
        let page = get("/metrics").send(stage.gateway.admin).text();
        let line = page.lines().find(|line| line.contains("session_memory_total") && line.contains("unchanged"));
        line.filter(|line| !line.ends_with(" 0")).map(drop)
    });
}

#[test]
fn a_session_never_outlives_its_record() {
    for events in [false, true] {
        let stage = stage("", events);
        let cookie = store_session(&stage.redis, "one", "{}");
        eventually("it is answered while it lives", || {
            stage.redis.ask(&["SET", "sess:one", &record("1", "[]"), "PX", "1500"]);
            (stage.status("/", &cookie) == 200).then_some(())
        });
        eventually("it is over", || {
            let is_gone = stage.redis.ask(&["EXISTS", "sess:one"]).as_deref() == Some("0");
            let status = stage.status("/", &cookie);
            assert!(!is_gone || status == 401, "{status} after its record");
            is_gone.then_some(())
        });
    }
}

#[test]
fn explain_tells_what_keeps_the_memory_of_the_running_gateway_true() {
    for (events, told) in [(true, "in use, kept true by keyspace events"), (false, "kept true by client tracking")] {
        let stage = stage("", events);
        let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
        eventually(told, || {
            let file = stage.gateway.file();
            let explained = onedoor(&["explain", "GET", "/", "--cookie", &cookie, "-c"]).arg(file).output().unwrap();
            let explained = String::from_utf8(explained.stdout).unwrap();
            (explained.contains("source    store") && explained.contains(told)).then_some(())
        });
    }
}

#[test]
fn what_is_posted_is_seen_by_the_next_request() {
    let redis = Redis::start();
    let address = redis.url().trim_start_matches("redis://").to_owned();
    let app = Upstream::start(move |request| {
        if request.target() == "/logout" {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            stream.write_all(b"DEL sess:one\r\n").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
        }
        crate::harness::Reply::new(200, &[], "")
    });
    let gateway = Gateway::start(text(&redis, &app, "", SECRET));
    let stage = Stage { redis, app, gateway };
    stage.gateway.armed();
    for _ in 0..50 {
        let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
        assert_eq!(stage.status("/", &cookie), 200);
        assert_eq!(stage.gateway.send(&post("/logout", "").cookie(&cookie)).status(), 200);
        assert_eq!(stage.status("/", &cookie), 401);
    }
    drop(stage.app);
}

#[test]
fn sessions_without_a_prefix_are_remembered_where_events_are_on() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "Kg$hxe"]);
    let (url, to) = (redis.url(), app.url());
    let session = "format = \"tower\"\nuser = \"user.id\"";
    let rules = format!("[session]\n{session}\n[upstreams]\napp = \"{to}\"\n{RULES}").replace("roles = \"admin\"", "");
    let gateway = Gateway::start(format!("[store]\nurl = \"{url}\"\ntimeout = \"2s\"\n{rules}"));
    let stage = Stage { redis, app, gateway };
    stage.gateway.armed();
    // As tower-sessions writes it: an id, the data, a time.
    let record = r"\147\001\129\164user\129\162id\161\049\153\099\001\000\000\000\000\000\000\000";
    let store = |id: &str| {
        stage.redis.ask(&["EVAL", &format!("return redis.call('SET', KEYS[1], '{record}', 'EX', 3600)"), "1", id]);
        format!("id={id}")
    };
    let cookie = store("YbbECenFIK-dxYQznsFfzA");
    stage.costs(0, 50, || {
        stage.redis.ask(&["SET", "queue", "x"]);
        stage.redis.ask(&["EXPIRE", "YbbECenFIK-dxYQznsFfzA", "3600"]);
        assert_eq!(stage.status("/", &cookie), 200);
    });
    stage.redis.ask(&["DEL", "YbbECenFIK-dxYQznsFfzA"]);
    stage.becomes("/", &cookie, 401);
    store("YbbECenFIK-dxYQznsFfzA");
    assert_eq!(stage.status("/", &cookie), 401, "its app ended it for good");
    // What tells of no session's change can be believed no more.
    let cookie = store("ZbbECenFIK-dxYQznsFfzA");
    stage.remembered(&cookie);
    stage.redis.ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
    stage.redis.ask(&["DEL", "ZbbECenFIK-dxYQznsFfzA"]);
    stage.becomes("/", &cookie, 401);
    let cookie = store("abbECenFIK-dxYQznsFfzA");
    stage.gateway.armed();
    eventually("it is asked for each time", || {
        let before = stage.reads();
        (0..10).for_each(|_| assert_eq!(stage.status("/", &cookie), 200));
        (stage.reads() >= before + 10).then_some(())
    });
    // And they are remembered again as soon as that is possible.
    stage.redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "Kg$hxe"]);
    stage.costs(0, 50, || assert_eq!(stage.status("/", &cookie), 200));
}

#[test]
fn in_an_outage_each_rule_does_what_it_says() {
    let mut stage = stage("", false);
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    let other = store_session(&stage.redis, "two", &record("2", "[]"));
    stage.redis.wait_until_heard();
    assert_eq!(stage.status("/", &cookie), 200);
    stage.redis.kill();
    stage.becomes("/", &cookie, 503);
    for path in ["/optional", "/admin"] {
        assert_eq!(stage.status(path, &cookie), 503, "{path}");
    }
    for _ in 0..10 {
        let begun = Instant::now();
        let response = stage.get("/stale", &cookie);
        assert_eq!((response.status(), user(&response).as_deref()), (200, Some("1")));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert_eq!(stage.status("/stale", &other), 503, "it was never proven");
    let response = stage.get("/anonymous", &cookie);
    assert_eq!((response.status(), user(&response)), (200, None));
    assert!(!stage.app.last().text().contains("connect.sid"), "{}", stage.app.last().text());
    assert_eq!(stage.app.last().all("cookie"), [""; 0], "the session's cookie is cut");
    stage.redis.restart();
    stage.becomes("/", &cookie, 200);
    stage.gateway.armed();
}

#[test]
fn a_policy_of_stale_holds_for_every_rule_and_known_revocations_hold() {
    let mut stage = stage("[store.outage]\npolicy = \"stale\"\nstale_for = \"1m\"", true);
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    let ended = store_session(&stage.redis, "two", &record("2", "[]"));
    assert_eq!(stage.status("/", &ended), 200);
    stage.remembered(&cookie);
    stage.redis.ask(&["DEL", "sess:two"]);
    stage.becomes("/", &ended, 401);
    stage.redis.wait_until_heard();
    assert_eq!(stage.status("/", &cookie), 200);
    stage.redis.kill();
    let line = "\"verdict_from\":\"stale\"";
    eventually("it passes as stale", || {
        assert_eq!(stage.status("/", &cookie), 200);
        stage.gateway.output().contains(line).then_some(())
    });
    assert_ne!(stage.status("/", &ended), 200);
    assert_eq!(stage.status("/admin", &cookie), 503, "a refusal is never given from memory");
    stage.redis.restart();
    stage.becomes("/", &ended, 401);
}

#[test]
fn a_reload_keeps_the_memory_and_forgets_what_an_old_secret_proved() {
    let stage = stage("", true);
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    assert_eq!(stage.status("/", &cookie), 200);
    let mut round = 0;
    eventually("a reload keeps the connection that listens", || {
        round += 1;
        let first = format!("[[rules]]\npath = \"/{round}\"\nrespond = {{ status = 204 }}\n[[rules]]");
        let before = stage.listener();
        stage.gateway.replace(&text(&stage.redis, &stage.app, "", SECRET).replacen("[[rules]]", &first, 1));
        stage.becomes(&format!("/{round}"), &cookie, 204);
        (stage.listener() == before).then_some(())
    });
    stage.costs(0, 20, || assert_eq!(stage.status("/", &cookie), 200));
    stage.gateway.replace(&text(&stage.redis, &stage.app, "", "another secret that is long enough"));
    stage.becomes("/", &cookie, 401);
}

/// Werkzeug reads no cookie behind a quote that reaches over a semicolon, and PHP takes the space for a part of the id.
#[test]
fn from_memory_too_a_line_that_the_app_reads_otherwise_names_nobody() {
    let (flask, php) = ("kH2dS5vWgqP0aZ8xT1yL3mN6bR9cE4fJ7uQwXsDoIiA", "tguhmhqrj7vmmerqqf19q0fpin");
    for (session, key, record, cookie, odd) in [
        (
            "format = \"flask\"\nuser = \"_user_id\"",
            format!("session:{flask}"),
            r#"{"_user_id":"7"}"#,
            format!("session={flask}"),
            format!("a=\"b; session={flask}; c=\""),
        ),
        (
            "format = \"php\"\nuser = \"user\"",
            format!("PHPREDIS_SESSION:{php}"),
            "user|i:7;",
            format!("PHPSESSID={php}"),
            format!("PHPSESSID={php} ; a=b"),
        ),
    ] {
        let (redis, app) = (Redis::start(), Upstream::echo());
        redis.set(&key, record);
        let text = text(&redis, &app, "", SECRET);
        let (before, rest) = text.split_once("[session]").unwrap();
        let upstreams = &rest[rest.find("[upstreams]").unwrap()..];
        let text = format!("{before}[session]\n{session}\n{upstreams}").replace("roles = \"admin\"", "");
        let gateway = Gateway::start(text);
        gateway.armed();
        let stage = Stage { redis, app, gateway };
        for _ in 0..3 {
            stage.remembered(&cookie);
            assert_eq!(stage.status("/", &odd), 401, "{session}");
        }
        assert_eq!(user(&stage.get("/optional", &odd)), None, "{session}");
        assert_eq!(user(&stage.get("/", &cookie)).as_deref(), Some("7"));
    }
}

#[test]
fn without_entries_every_request_asks() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let text = text(&redis, &app, "[store.cache]\nentries = 0", SECRET);
    let gateway = Gateway::start(text.replace("on_outage = \"stale\"", ""));
    let stage = Stage { redis, app, gateway };
    let cookie = store_session(&stage.redis, "one", &record("1", "[]"));
    let before = stage.reads();
    for _ in 0..10 {
        assert_eq!(stage.status("/", &cookie), 200);
    }
    assert_eq!(stage.reads(), before + 10);
    stage.redis.ask(&["DEL", "sess:one"]);
    assert_eq!(stage.status("/", &cookie), 401);
    assert!(stage.redis.ask(&["CLIENT", "LIST"]).is_some_and(|list| !list.contains("onedoor-listener")));
}

/// Whom the app saw.
fn user(response: &Message) -> Option<String> {
    let json = response.json();
    let headers = json["headers"].as_array().unwrap();
    let header = headers.iter().find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case("x-forwarded-user"));
    header.map(|pair| pair[1].as_str().unwrap().to_owned())
}
