//! The store is down: refused, never let through, never logged out, and healed without help.

use crate::harness::{
    ARMED, Gateway, Redis, Reply, Upstream, eventually, express_gateway, express_stage, get, record, store_session,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const RULES: &str = r#"
[[rules]]
path = "/optional"
dest = "app"
session = "optional"
[[rules]]
path = ["/public", "/login"]
dest = "app"
session = "off"
[[rules]]
dest = "app"
"#;

struct Stage {
    redis: Redis,
    app: Upstream,
    gateway: Gateway,
    cookie: String,
}

fn stage() -> Stage {
    let (redis, app, gateway) = express_stage("", RULES);
    let cookie = store_session(&redis, "one", &record("1", "[]"));
    let stage = Stage { redis, app, gateway, cookie };
    stage.heals();
    stage
}

impl Stage {
    fn is_refused_in_time(&self) {
        eventually("memory is not believed any more", || {
            (self.gateway.send(&get("/").cookie(&self.cookie)).status() == 503).then_some(())
        });
        for path in ["/", "/optional"] {
            let before = self.app.requests().len();
            let start = Instant::now();
            let response = self.gateway.send(&get(path).cookie(&self.cookie));
            assert!(start.elapsed() < Duration::from_secs(5), "{path}: {:?}", start.elapsed());
            assert_eq!((response.status(), response.reason().as_str()), (503, "store_unavailable"), "{path}");
            assert!(response.header("retry-after").unwrap().parse::<u32>().is_ok());
            assert!(response.all("set-cookie").is_empty(), "the cookie is kept");
            assert_eq!(self.app.requests().len(), before, "{path}");
        }
        let browser = self.gateway.send(&get("/").cookie(&self.cookie).html());
        assert_eq!(browser.status(), 503, "a browser is not sent to log in again");
        assert_eq!(self.gateway.send(&get("/public").cookie(&self.cookie)).status(), 200);
        assert_eq!(self.gateway.get("/").status(), 401, "who brings no cookie needs no store");
        assert_eq!(get("/readyz").send(self.gateway.admin).status(), 200);
    }

    fn heals(&self) {
        eventually("the session is found again", || {
            let response = self.gateway.send(&get("/").cookie(&self.cookie));
            assert!(matches!(response.status(), 200 | 503), "{}", response.start);
            (response.status() == 200).then_some(())
        });
    }
}

#[test]
fn a_store_that_is_gone_is_503_until_it_is_back() {
    let mut stage = stage();
    stage.redis.kill();
    stage.is_refused_in_time();
    stage.redis.restart();
    stage.heals();
}

#[test]
fn a_store_that_does_not_answer_is_503_until_it_does() {
    let stage = stage();
    stage.redis.pause();
    stage.is_refused_in_time();
    stage.redis.resume();
    stage.heals();
}

#[test]
fn a_store_that_refuses_its_work_is_503() {
    let stage = stage();
    stage.redis.ask(&["ACL", "SETUSER", "default", "-@all", "+acl", "+ping"]);
    stage.is_refused_in_time();
    stage.redis.ask(&["ACL", "SETUSER", "default", "+@all"]);
    stage.heals();
}

#[test]
fn a_store_that_takes_no_writes_for_a_while_is_read_from_all_the_same() {
    let stage = stage();
    stage.redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    eventually("memory is not believed any more", || (!stage.gateway.measures(ARMED)).then_some(()));
    let passes = |_| {
        std::thread::sleep(Duration::from_millis(20));
        stage.gateway.send(&get("/").cookie(&stage.cookie)).status() == 200
    };
    // What is read may have to wait once, behind a write that was under way.
    eventually("two seconds pass without an outage", || (0..100).all(passes).then_some(()));
    assert!(!stage.gateway.measures(ARMED), "without writes nothing is proven");
    stage.redis.ask(&["CLIENT", "UNPAUSE"]);
    stage.gateway.armed();
}

#[test]
fn a_gateway_that_starts_without_its_store_heals_too() {
    let (mut redis, app) = (Redis::start(), Upstream::echo());
    let cookie = store_session(&redis, "one", &record("1", "[]"));
    redis.kill();
    let gateway = express_gateway(&redis, &app.url(), "", RULES);
    let mut stage = Stage { redis, app, gateway, cookie };
    stage.is_refused_in_time();
    stage.redis.restart();
    stage.heals();
}

#[test]
fn answers_never_cross_over_between_cancelled_requests() {
    let stage = stage();
    let cookies: Vec<(String, String)> = (0..32)
        .map(|n| (n.to_string(), store_session(&stage.redis, &format!("many-{n}"), &record(&n.to_string(), "[]"))))
        .collect();
    for round in 0..20 {
        for (_, cookie) in &cookies {
            // A request whose client leaves at once.
            let mut connection = crate::harness::Connection::open(stage.gateway.address);
            connection.write(get("/gone").cookie(cookie).bytes(stage.gateway.address));
        }
        let (user, cookie) = &cookies[round % cookies.len()];
        let response = stage.gateway.send(&get("/").cookie(cookie)).json();
        let header = response["headers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case("x-forwarded-user"));
        assert_eq!(header.unwrap()[1], user.as_str());
    }
}

#[test]
fn whose_session_is_not_known_can_neither_be_changed_nor_replaced() {
    // Each answer of the upstream comes after the store has come back.
    let redis = Arc::new(Mutex::new(Redis::start()));
    let (url, back) = (redis.lock().unwrap().url(), redis.clone());
    let app = Upstream::start(move |request| {
        let command = request.target().strip_prefix("/optional?").and_then(|query| query.split_once('='));
        if let Some((name, value)) = command {
            back.lock().unwrap().restart();
            let planted = ("Set-Cookie", "onedoor=planted; Path=/");
            return Reply::new(200, &[(name, &value.replace("%22", "\"")), planted], "");
        }
        let login = [("Session-Login", r#"{"user":{"id":"1"}}"#)];
        Reply::new(200, if request.target() == "/login" { &login } else { &[] }, "")
    });
    let app_url = app.url();
    for enforce in [true, false] {
        let gateway = Gateway::start(format!(
            r#"
            [store]
            url = "{url}"
            [session]
            format = "onedoor"
            [upstreams]
            app = {{ endpoints = "{app_url}", session_authority = true }}
            [[rules]]
            path = "/optional"
            dest = "app"
            session = "optional"
            on_outage = "{}"
            enforce = {enforce}
            [[rules]]
            path = "/login"
            dest = "app"
            session = "optional"
            [[rules]]
            dest = "app"
            "#,
            if enforce { "anonymous" } else { "refuse" }
        ));
        let mut jar = crate::harness::Jar::default();
        eventually("somebody is logged in", || {
            (jar.send(get("/login"), gateway.address).status() == 200).then_some(())
        });
        let is_logged_in = || gateway.send(&jar.with(get("/"))).status() == 200;
        eventually("the session is good", || is_logged_in().then_some(()));
        let keys = |redis: &Redis| BTreeSet::from_iter(redis.keys("onedoor:session:*"));
        let before = keys(&redis.lock().unwrap());
        for command in
            ["Session-Login={%22user%22:{%22id%22:%222%22}}", "Session-Update={%22a%22:1}", "Session-Logout=this"]
        {
            redis.lock().unwrap().kill();
            eventually("the store is away", || (!is_logged_in()).then_some(()));
            let response = gateway.send(&jar.with(get(&format!("/optional?{command}"))));
            assert_eq!((response.status(), response.reason().as_str()), (503, "store_unavailable"), "{command}");
            assert!(response.all("set-cookie").is_empty(), "{command}");
            eventually("the session is still good", || is_logged_in().then_some(()));
            assert_eq!(keys(&redis.lock().unwrap()), before, "{command}");
        }
    }
}
