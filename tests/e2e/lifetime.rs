//! How long a session is good: its age, its idle time, its renewal; and that an end is an end.

use crate::harness::{
    Gateway, Jar, Message, Redis, Reply, SECRET, Upstream, eventually, express_gateway, express_stage, get, record,
    signed, store_session,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const RULES: &str = r#"
[[rules]]
path = ["/optional", "/login"]
dest = "app"
session = "optional"
[[rules]]
path = "/off"
dest = "app"
session = "off"
[[rules]]
path = "/poll"
dest = "app"
touch = false
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
    fn ask(&self, path: &str, cookie: &str) -> Message {
        self.gateway.send(&get(path).cookie(cookie))
    }

    fn status(&self, path: &str, cookie: &str) -> u16 {
        self.ask(path, cookie).status()
    }

    /// The Cookie header that the app sees.
    fn forwarded(&self, path: &str, cookie: &str) -> Option<String> {
        assert_eq!(self.status(path, cookie), 200);
        self.app.last().header("cookie").map(str::to_owned)
    }

    fn ttl(&self, key: &str) -> i64 {
        self.redis.ask(&["TTL", key]).unwrap().parse().unwrap()
    }
}

fn record_of(login: Duration) -> String {
    format!(r#"{{"cookie":{{}},"user":{{"id":42}},"at":{}}}"#, login.as_millis())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[test]
fn a_session_that_is_not_used_is_over_and_its_cookie_goes_no_further() {
    let stage = stage("idle_timeout = \"2s\"");
    let cookie = store_session(&stage.redis, "one", &record("42", "[]"));
    assert_eq!(stage.status("/", &cookie), 200);
    let mark = "onedoor:mark:{sess:one}";
    assert!(stage.ttl(mark) >= stage.ttl("sess:one"), "the mark lives as long as the record");
    eventually("polling does not keep it alive", || (stage.status("/poll", &cookie) == 401).then_some(()));
    assert_eq!(stage.status("/", &cookie), 401);
    assert!(stage.gateway.log_line("idle_timeout").to_string().contains("not used"));
    assert_eq!(stage.forwarded("/optional", &format!("a=1; {cookie}")).as_deref(), Some("a=1"));
    assert_eq!(stage.forwarded("/off", &format!("a=1; {cookie}")).as_deref(), Some("a=1"), "known here");
    stage.redis.ask(&["DEL", "sess:one"]);
    assert_eq!(stage.status("/", &cookie), 401);
    assert_eq!(stage.redis.keys("onedoor:mark:*"), Vec::<String>::new(), "who logs in again begins anew");
    stage.redis.set("sess:one", record("42", "[]"));
    assert_eq!(stage.status("/", &cookie), 200);
    assert!(stage.forwarded("/off", &cookie).is_some());
}

#[test]
fn an_age_is_an_age_whatever_the_app_does_with_the_record() {
    let stage = stage("max_age = \"1h\"\nstarted_at = \"at\"");
    let minute = Duration::from_secs(60);
    let young = store_session(&stage.redis, "young", &record_of(now() - minute * 50));
    let old = store_session(&stage.redis, "old", &record_of(now() - minute * 61));
    let none = store_session(&stage.redis, "none", &record("42", "[]"));
    assert_eq!((stage.status("/", &young), stage.status("/", &old), stage.status("/", &none)), (200, 401, 401));
    assert!(stage.gateway.log_line("max_age").to_string().contains("older than max_age"));
    assert!(stage.gateway.log_line("started_at").to_string().contains("no login time"));
    let both = format!("{old}; {young}");
    assert_eq!(stage.forwarded("/", &both), Some(young.clone()), "the first that is good counts");
    assert_eq!(stage.forwarded("/optional", &format!("{old}; a=1; {none}")).as_deref(), Some("a=1"));
    assert!(stage.redis.keys("onedoor:mark:*").is_empty(), "the records tell enough");
}

#[test]
fn an_age_since_the_first_sight_survives_a_restart() {
    let mut stage = stage("max_age = \"3s\"\nstarted_at = \"first_seen\"");
    let cookie = store_session(&stage.redis, "one", &record("42", "[]"));
    assert_eq!(stage.status("/", &cookie), 200);
    let begun = now();
    stage.gateway.restart();
    eventually("it gets old", || (stage.status("/", &cookie) == 401).then_some(()));
    assert!(now() - begun < Duration::from_secs(15), "the restart began nothing anew");
    let other = store_session(&stage.redis, "two", &record("42", "[]"));
    assert_eq!(stage.status("/", &other), 200);
}

#[test]
fn a_record_is_renewed_as_its_app_would_but_never_rewritten_or_shortened() {
    let stage = stage("touch = \"auto\"\nttl = \"1h\"");
    let cookie = store_session(&stage.redis, "one", &record("42", "[]"));
    let before = stage.redis.ask(&["GET", "sess:one"]);
    stage.redis.ask(&["EXPIRE", "sess:one", "100"]);
    assert_eq!(stage.status("/poll", &cookie), 200);
    assert!(stage.ttl("sess:one") <= 100, "a page that polls is no use");
    assert_eq!(stage.status("/", &cookie), 200);
    assert!(stage.ttl("sess:one") > 3500);
    let limit = r#"{"cookie":{"originalMaxAge":7200000},"user":{"id":1}}"#;
    let longer = store_session(&stage.redis, "two", limit);
    assert_eq!(stage.status("/", &longer), 200);
    assert!(stage.ttl("sess:two") > 7100, "as the record says");
    stage.redis.ask(&["EXPIRE", "sess:one", "9999"]);
    assert_eq!(stage.status("/", &cookie), 200);
    assert!(stage.ttl("sess:one") > 9900);
    stage.redis.ask(&["PERSIST", "sess:one"]);
    assert_eq!((stage.status("/", &cookie), stage.ttl("sess:one")), (200, -1));
    assert_eq!(stage.redis.ask(&["GET", "sess:one"]), before);
}

#[test]
fn a_session_that_was_ended_here_stays_ended_whoever_writes_its_record_again() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let auth = Upstream::start(|_| Reply::new(200, &[("Session-Logout", "this")], "bye"));
    let rules = format!(
        r#"
        auth = {{ endpoints = "{}", session_authority = true }}
        [[rules]]
        path = "/logout"
        dest = "auth"
        session = "optional"
        {RULES}"#,
        auth.url()
    );
    let gateway = express_gateway(&redis, &app.url(), "", &rules);
    let mut stage = Stage { redis, app, gateway };
    let text = record("42", "[]");
    let cookie = store_session(&stage.redis, "one", &text);
    let other = store_session(&stage.redis, "two", &text);
    assert_eq!((stage.status("/", &cookie), stage.status("/", &other)), (200, 200));
    assert_eq!(stage.status("/logout", &cookie), 200);
    assert_eq!(stage.redis.ask(&["EXISTS", "sess:one"]).as_deref(), Some("0"));
    stage.redis.set("sess:one", &text);
    for round in ["at once", "after a restart"] {
        assert_eq!(stage.ask("/", &cookie).reason(), "session_required", "{round}");
        assert_eq!(stage.forwarded("/optional", &format!("a=1; {cookie}")).as_deref(), Some("a=1"), "{round}");
        assert_eq!(stage.forwarded("/off", &format!("{cookie}; a=1")).as_deref(), Some("a=1"), "{round}");
        assert_eq!(stage.status("/", &format!("{cookie}; {other}")), 200, "{round}");
        stage.gateway.restart();
    }
    assert!(stage.ttl("onedoor:revoked:{sess:one}") > 3500);
}

#[test]
fn who_has_just_logged_in_does_not_bounce_though_the_record_is_late() {
    let redis = Redis::start();
    let app = Upstream::start(|request| match request.target() {
        "/login" => {
            let cookie = format!("connect.sid={}; Path=/", signed("late", SECRET));
            Reply::new(200, &[("Set-Cookie", &cookie)], "welcome")
        }
        _ => Reply::new(200, &[], request.header("x-forwarded-user").unwrap_or_default()),
    });
    let (url, app_url) = (redis.url(), app.url());
    let gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        timeout = "10s"
        [session]
        format = "express"
        secrets = ["{SECRET}"]
        user = "user.id"
        [upstreams]
        app = "{app_url}"
        {RULES}"#
    ));
    let mut jar = Jar::default();
    assert_eq!(jar.send(get("/login"), gateway.address).status(), 200);
    std::thread::scope(|scope| {
        let back = scope.spawn(|| gateway.send(&jar.with(get("/"))));
        let asked = || redis.ask(&["INFO", "commandstats"]).filter(|stats| stats.contains("cmdstat_getrange"));
        eventually("the gateway looks for the record", asked);
        redis.set("sess:late", record("42", "[]"));
        let response = back.join().unwrap();
        assert_eq!((response.status(), response.text().as_str()), (200, "42"));
    });
    let begun = now();
    let stranger = get("/").cookie(format!("connect.sid={}", signed("never", SECRET)));
    assert_eq!(gateway.send(&stranger).status(), 401);
    redis.ask(&["DEL", "sess:late"]);
    eventually("who has come and gone is gone", || (gateway.send(&jar.with(get("/"))).status() == 401).then_some(()));
    assert!(now() - begun < Duration::from_secs(5), "nobody else waits, nor whoever was there");
}

/// An app as PHP is: it takes the id that the browser brings, and keeps it.
fn php(redis: &Arc<Redis>) -> Upstream {
    // The service may outlive the test, and Redis must not.
    let redis = Arc::downgrade(redis);
    Upstream::start(move |request| {
        let Some(redis) = redis.upgrade() else { return Reply::new(503, &[], "") };
        let cookie = request.header("cookie").unwrap_or_default();
        let brought = cookie.split("; ").find_map(|pair| pair.strip_prefix("PHPSESSID="));
        let id = brought.map_or_else(|| format!("{:032}", redis.keys("*").len()), str::to_owned);
        let key = format!("PHPREDIS_SESSION:{id}");
        match request.target() {
            "/login" => redis.set(&key, "user|a:1:{s:2:\"id\";i:42;}"),
            "/logout" => drop(redis.ask(&["DEL", &key])),
            _ => {}
        }
        Reply::new(200, &[("Set-Cookie", &format!("PHPSESSID={id}; path=/"))], "")
    })
}

#[test]
fn who_logs_in_again_under_the_same_id_is_in_again_unless_the_gateway_ended_that_id() {
    let redis = Arc::new(Redis::start());
    let app = php(&redis);
    let (url, app_url) = (redis.url(), app.url());
    let gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [session]
        format = "php"
        user = "user.id"
        idle_timeout = "3s"
        [upstreams]
        app = "{app_url}"
        [[rules]]
        path = "/logout"
        dest = "app"
        session = "off"
        {RULES}"#
    ));
    let mut jar = Jar::default();
    let mut ids = Vec::new();
    for _ in 0..2 {
        assert_eq!(jar.send(get("/login"), gateway.address).status(), 200);
        assert_eq!(jar.send(get("/"), gateway.address).status(), 200);
        ids.push(jar.value("PHPSESSID").unwrap().to_owned());
        jar.send(get("/logout"), gateway.address);
        assert_eq!(gateway.send(&jar.with(get("/poll"))).status(), 401);
    }
    assert_eq!(ids[0], ids[1], "the same browser, the same id");
    assert_eq!(jar.send(get("/login"), gateway.address).status(), 200);
    eventually("it is idle", || (gateway.send(&jar.with(get("/poll"))).status() == 401).then_some(()));
    assert_eq!(jar.send(get("/login"), gateway.address).status(), 200);
    assert_ne!(jar.value("PHPSESSID"), Some(ids[0].as_str()), "the app saw no cookie, so it made a new id");
    assert_eq!(jar.send(get("/"), gateway.address).status(), 200);
}
