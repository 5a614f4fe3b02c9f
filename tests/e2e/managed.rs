//! Managed sessions: an upstream with authority steers them by response headers, in any language.

use crate::harness::{Cluster, Connection, Gateway, Jar, Redis, Reply, Upstream, eventually, get, post};
use std::thread;

/// Stands for a command of more than 16 KiB, which would not fit into a query.
const TOO_LARGE: &str = "too large";

/// An upstream that answers with the headers that its request's query names: `?Session-Login=<JSON>&…`.
fn steering() -> Upstream {
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(17 * 1024));
    Upstream::start(move |request| {
        let query = request.target().split_once('?').map_or("", |(_, query)| query);
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs: Vec<(String, String)> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decode(value)))
            .map(|(name, value)| (name, if value == TOO_LARGE { large.clone() } else { value }))
            .collect();
        let mut headers: Vec<(&str, &str)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let seen = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let (user, count, cart) = (seen("x-forwarded-user"), seen("x-count"), seen("x-cart"));
        headers.extend([
            ("X-Seen-User", user.as_str()),
            ("X-Seen-Count", count.as_str()),
            ("X-Seen-Cart", cart.as_str()),
        ]);
        Reply::new(200, &headers, "steered")
    })
}

struct Stage {
    redis: Redis,
    gateway: Gateway,
    _upstreams: [Upstream; 2],
}

fn stage_with(server: &str, session: &str) -> Stage {
    let (redis, upstreams) = (Redis::start(), [steering(), steering()]);
    let [auth, app] = upstreams.each_ref().map(Upstream::url);
    let url = redis.url();
    let gateway = Gateway::start(format!(
        r#"
        {server}
        [store]
        url = "{url}"
        # A busy machine may take a while.
        timeout = "3s"
        [session]
        {session}
        [identity.headers]
        X-Forwarded-User = "@user"
        X-Count = "count"
        X-Cart = "cart"
        [upstreams]
        auth = {{ endpoints = "{auth}", session_authority = true }}
        app = "{app}"
        [[rules]]
        path = ["/login", "/steer"]
        dest = "auth"
        session = "optional"
        [[rules]]
        path = "/public"
        dest = "app"
        session = "off"
        [[rules]]
        dest = "app"
        "#
    ));
    Stage { redis, gateway, _upstreams: upstreams }
}

fn stage() -> Stage {
    stage_with("", "format = \"onedoor\"")
}

impl Stage {
    /// Sends a command with this value as the steering upstream's answer.
    fn steer(&self, jar: &mut Jar, command: &str, value: &str) -> crate::harness::Message {
        let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        jar.send(get(&format!("/steer?{command}={value}")), self.gateway.address)
    }

    fn logged_in(&self) -> Jar {
        let mut jar = Jar::default();
        let response = self.steer(&mut jar, "Session-Login", r#"{"user":{"id":"42"},"roles":["admin"],"count":0}"#);
        assert_eq!((response.status(), response.text().as_str()), (200, "steered"));
        jar
    }

    /// What the protected service sees of the session.
    fn seen(&self, jar: &Jar, name: &str) -> Option<String> {
        let response = self.gateway.send(&jar.with(get("/")));
        (response.status() == 200).then(|| response.header(name).unwrap_or_default().to_owned())
    }
}

#[test]
fn logging_in_sets_a_careful_cookie() {
    let stage = stage();
    let response = stage.steer(&mut Jar::default(), "Session-Login", r#"{"user":{"id":"42"}}"#);
    let cookie = response.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    let (name, id) = pair.split_once('=').unwrap();
    assert_eq!(name, "onedoor");
    assert!(id.len() >= 43, "256 bits: {id}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(attributes.split("; ").any(|part| part.trim() == attribute), "{cookie}");
    }
    assert!(
        !attributes.contains("Secure") && !attributes.contains("Expires") && !attributes.contains("Max-Age"),
        "{cookie}"
    );
    assert!(response.header("session-login").is_none(), "the command stays here");
}

#[test]
fn over_https_the_cookie_belongs_to_this_host_alone() {
    let stage =
        stage_with("public_url = \"https://127.0.0.1\"\ntrusted_proxies = [\"127.0.0.1/32\"]", "format = \"onedoor\"");
    let response = stage.steer(&mut Jar::default(), "Session-Login", r#"{"user":{"id":"42"}}"#);
    let cookie = response.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-onedoor=") && cookie.contains("Secure"), "{cookie}");
}

#[test]
fn login_update_increment_and_logout_do_what_they_say() {
    let stage = stage();
    let mut jar = stage.logged_in();
    assert_eq!(stage.seen(&jar, "x-seen-user").as_deref(), Some("42"));
    stage.steer(&mut jar, "Session-Update", r#"{"cart":"apples","count":5,"draft":null}"#);
    assert_eq!(stage.seen(&jar, "x-seen-cart").as_deref(), Some("apples"));
    stage.steer(&mut jar, "Session-Increment", r#"{"count":2}"#);
    assert_eq!(stage.seen(&jar, "x-seen-count").as_deref(), Some("7"));
    stage.steer(&mut jar, "Session-Update", r#"{"cart":null}"#);
    assert_eq!(stage.seen(&jar, "x-seen-cart").as_deref(), Some(""));
    let old = jar.clone();
    let response = stage.steer(&mut jar, "Session-Logout", "this");
    assert!(response.header("set-cookie").is_some_and(|cookie| cookie.starts_with("onedoor=;")), "{response:?}");
    assert_eq!(jar.text(), "");
    assert_eq!(stage.seen(&old, "x-seen-user"), None, "the record is gone");
    assert!(stage.redis.keys("onedoor:session:*").is_empty());
}

#[test]
fn a_login_takes_a_fresh_id_and_the_old_one_is_dead() {
    let stage = stage();
    let first = stage.logged_in();
    let mut second = first.clone();
    stage.steer(&mut second, "Session-Login", r#"{"user":{"id":"43"}}"#);
    assert_ne!(first.text(), second.text());
    assert_eq!(stage.seen(&first, "x-seen-user"), None);
    assert_eq!(stage.seen(&second, "x-seen-user").as_deref(), Some("43"));
    let mut planted = Jar::default();
    let id = "A".repeat(43);
    let request =
        get("/steer?Session-Login=%7B%22user%22%3A%7B%22id%22%3A%221%22%7D%7D").cookie(format!("onedoor={id}"));
    planted.keep(&stage.gateway.send(&request));
    assert_ne!(planted.value("onedoor"), Some(id.as_str()), "an id is never taken from a client");
}

#[test]
fn an_update_without_a_session_starts_an_anonymous_one() {
    let stage = stage();
    let mut jar = Jar::default();
    stage.steer(&mut jar, "Session-Update", r#"{"cart":"pears"}"#);
    assert!(jar.value("onedoor").is_some());
    assert_eq!(stage.seen(&jar, "x-seen-user"), None, "anonymous is not logged in");
    let anonymous = jar.clone();
    stage.steer(&mut jar, "Session-Login", r#"{"user":{"id":"7"}}"#);
    assert_eq!(stage.seen(&jar, "x-seen-user").as_deref(), Some("7"));
    assert_ne!(anonymous.text(), jar.text());
}

#[test]
fn parallel_increments_are_exact() {
    let stage = stage();
    let jar = stage.logged_in();
    let address = stage.gateway.address;
    thread::scope(|scope| {
        for _ in 0..8 {
            let request = jar.with(get("/steer?Session-Increment=%7B%22count%22%3A1%7D"));
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                for _ in 0..50 {
                    assert_eq!(request.send_on(&mut connection, address).status(), 200);
                }
            });
        }
    });
    assert_eq!(stage.seen(&jar, "x-seen-count").as_deref(), Some("400"));
}

#[test]
fn a_record_is_never_brought_back() {
    let stage = stage();
    let mut jar = stage.logged_in();
    let old = jar.clone();
    for key in stage.redis.keys("onedoor:session:*") {
        stage.redis.ask(&["DEL", &key]);
    }
    eventually("it is noticed", || stage.seen(&old, "x-seen-user").is_none().then_some(()));
    let response = stage.steer(&mut jar, "Session-Update", r#"{"cart":"ghost"}"#);
    assert_eq!(response.status(), 200);
    assert_eq!(stage.seen(&old, "x-seen-user"), None);
    assert_eq!(stage.seen(&jar, "x-seen-user"), None);
}

#[test]
fn a_command_that_cannot_be_obeyed_is_502_and_names_itself_in_the_log() {
    let stage = stage();
    let table = [
        ("Session-Login", "not json"),
        ("Session-Login", "[]"),
        ("Session-Login", "{\"user\":{\"id\":\"z\u{eb}\"}}"),
        ("Session-Update", "42"),
        ("Session-Update", TOO_LARGE),
        ("Session-Increment", r#"{"count":"one"}"#),
        ("Session-Logout", "everyone"),
    ];
    for (command, value) in table {
        let mut jar = stage.logged_in();
        let response = stage.steer(&mut jar, command, value);
        assert_eq!(response.status(), 502, "{command}: {}", &value[..value.len().min(40)]);
        assert!(!response.text().contains("steered"));
        let name = command.to_ascii_lowercase();
        eventually("the log names the command", || {
            stage.gateway.output().to_ascii_lowercase().contains(&name).then_some(())
        });
    }
}

#[test]
fn commands_of_others_are_not_obeyed_and_never_reach_a_client() {
    let stage = stage();
    let jar = stage.logged_in();
    for command in [
        "Session-Logout=this",
        "Session-Login=%7B%22user%22%3A%7B%22id%22%3A%22mallory%22%7D%7D",
        "session_login=%7B%7D",
    ] {
        let response = stage.gateway.send(&jar.with(get(&format!("/anything?{command}"))));
        assert_eq!(response.status(), 200, "{command}");
        let head = String::from_utf8(response.head).unwrap().to_ascii_lowercase();
        assert!(!head.contains("session-log") && !head.contains("session_log"), "{command}:\n{head}");
        assert!(!head.contains("set-cookie"), "{command}:\n{head}");
        assert_eq!(stage.seen(&jar, "x-seen-user").as_deref(), Some("42"), "{command}");
    }
    let public = stage.gateway.get("/public?Session-Update=%7B%7D");
    assert!(public.header("session-update").is_none() && public.header("set-cookie").is_none());
}

#[test]
fn if_the_store_fails_the_client_does_not_get_the_answer() {
    let mut stage = stage();
    let mut jar = stage.logged_in();
    stage.redis.kill();
    let response = Jar::default()
        .send(get("/steer?Session-Login=%7B%22user%22%3A%7B%22id%22%3A%221%22%7D%7D"), stage.gateway.address);
    assert_eq!((response.status(), response.reason().as_str()), (503, "store_unavailable"));
    assert!(response.header("set-cookie").is_none());
    stage.redis.restart();
    eventually("the store heals", || {
        Some(stage.steer(&mut jar, "Session-Increment", r#"{"count":1}"#)).filter(|r| r.status() == 200)
    });
    assert_eq!(stage.seen(&jar, "x-seen-count").as_deref(), Some("1"));
}

#[test]
fn roles_and_the_idle_time_are_kept() {
    let stage = stage_with("", "format = \"onedoor\"\nttl = \"1h\"");
    let jar = stage.logged_in();
    let key = stage.redis.keys("onedoor:session:*").pop().expect("one record");
    let ttl: i64 = stage.redis.ask(&["TTL", &key]).unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&ttl), "{ttl}");
    assert_eq!(stage.gateway.send(&jar.with(post("/", "x=1"))).status(), 200);
}

#[test]
fn express_sessions_can_be_managed_too() {
    let stage = stage_with(
        "",
        "format = \"express\"\nsecrets = [\"0123456789abcdef-onedoor\"]\nuser = \"user.id\"\ncookie_max_age = \"1h\"",
    );
    let mut jar = stage.logged_in();
    assert!(jar.value("connect.sid").unwrap().starts_with("s%3A"), "{jar:?}");
    let key = stage.redis.keys("sess:*").pop().expect("one record");
    let record: serde_json::Value = serde_json::from_str(&stage.redis.ask(&["GET", &key]).unwrap()).unwrap();
    assert_eq!(
        (record["cookie"]["originalMaxAge"].as_i64(), record["user"]["id"].as_str()),
        (Some(3_600_000), Some("42"))
    );
    stage.steer(&mut jar, "Session-Increment", r#"{"count":2}"#);
    assert_eq!(stage.seen(&jar, "x-seen-count").as_deref(), Some("2"));
    stage.steer(&mut jar, "Session-Logout", "this");
    assert!(stage.redis.keys("sess:*").is_empty());
}

/// A gateway whose one service begins and ends sessions as its path says.
fn authority(url: &str, app: &Upstream) -> Gateway {
    let app = app.url();
    Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        timeout = "2s"
        [session]
        format = "onedoor"
        [upstreams]
        auth = {{ endpoints = "{app}", session_authority = true }}
        [[rules]]
        path = ["/login", "/steer"]
        dest = "auth"
        session = "optional"
        [[rules]]
        dest = "auth"
        "#
    ))
}

fn logged_in(gateway: &Gateway, user: &str) -> Jar {
    let mut jar = Jar::default();
    let target = format!("/steer?Session-Login=%7B%22user%22%3A%7B%22id%22%3A%22{user}%22%7D%7D");
    assert_eq!(jar.send(get(&target), gateway.address).status(), 200);
    jar
}

fn leave_everywhere(gateway: &Gateway, jar: &Jar) -> crate::harness::Message {
    gateway.send(&jar.with(get("/steer?Session-Logout=everywhere")))
}

fn status(gateway: &Gateway, jar: &Jar) -> u16 {
    gateway.send(&jar.with(get("/"))).status()
}

#[test]
fn a_thousand_sessions_of_one_user_end_at_once_in_every_gateway() {
    let (redis, app) = (Redis::start(), steering());
    let gateways = [(); 2].map(|()| authority(&redis.url(), &app));
    gateways.iter().for_each(Gateway::armed);
    let jars: Vec<Jar> = thread::scope(|scope| {
        let begin = |at: usize| {
            let gateway = &gateways[at % 2];
            scope.spawn(move || (0..250).map(|_| logged_in(gateway, "42")).collect::<Vec<_>>())
        };
        let begun: Vec<_> = (0..4).map(begin).collect();
        begun.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let other = logged_in(&gateways[0], "4");
    for jar in jars.iter().step_by(20).chain([&other]) {
        assert!(gateways.iter().all(|gateway| status(gateway, jar) == 200), "both remember it");
    }
    let response = leave_everywhere(&gateways[1], &jars[999]);
    assert_eq!(response.status(), 200);
    assert!(response.header("set-cookie").unwrap().contains("Max-Age=0"));
    eventually("all are refused", || {
        let refused = |jar: &Jar| gateways.iter().all(|gateway| status(gateway, jar) == 401);
        jars.iter().step_by(20).chain(jars.last()).all(refused).then_some(())
    });
    assert_eq!(redis.keys("onedoor:session:*").len(), 1, "nobody's but the other user's");
    assert!(gateways.iter().all(|gateway| status(gateway, &other) == 200));
    assert_eq!(redis.keys("onedoor:user:*").len(), 1, "a roster without sessions is gone");
}

#[test]
fn a_logout_everywhere_that_fails_half_way_says_so_and_can_be_tried_again() {
    let (redis, app) = (Redis::start(), steering());
    let gateway = authority(&redis.url(), &app);
    let jars: Vec<Jar> = (0..10).map(|_| logged_in(&gateway, "42")).collect();
    // Some are gone; then the server takes no more.
    redis.ask(&["ACL", "SETUSER", "default", "-zrem"]);
    let response = leave_everywhere(&gateway, &jars[0]);
    assert_eq!((response.status(), response.reason().as_str()), (503, "store_unavailable"));
    assert_eq!(response.header("set-cookie"), None);
    assert_eq!(status(&gateway, &jars[0]), 200, "who tries again must be known");
    redis.ask(&["ACL", "SETUSER", "default", "+zrem", "-del"]);
    assert_eq!(leave_everywhere(&gateway, &jars[0]).status(), 503);
    assert_eq!(status(&gateway, &jars[0]), 200);
    redis.ask(&["ACL", "SETUSER", "default", "+@all"]);
    assert_eq!(leave_everywhere(&gateway, &jars[0]).status(), 200);
    assert!(jars.iter().all(|jar| status(&gateway, jar) == 401));
    // Who cannot be enlisted is not logged in.
    redis.ask(&["ACL", "SETUSER", "default", "-zadd"]);
    let refused = gateway.get("/steer?Session-Login=%7B%22user%22%3A%7B%22id%22%3A%2242%22%7D%7D");
    assert_eq!((refused.status(), refused.header("set-cookie")), (503, None));
    assert!(redis.keys("onedoor:session:*").is_empty());
}

#[test]
fn in_a_cluster_sessions_of_all_slots_end_or_none_is_said_to() {
    let (cluster, app) = (Cluster::start(0), steering());
    let gateway = authority(&cluster.url(), &app);
    let jars: Vec<Jar> = (0..30).map(|_| logged_in(&gateway, "42")).collect();
    let records = || -> Vec<usize> { cluster.nodes.iter().map(|node| node.keys("onedoor:session:*").len()).collect() };
    let before = records();
    assert!(before.iter().sum::<usize>() == 30 && before.iter().all(|records| *records > 0), "{before:?}");
    let hung = (0..3).find(|node| cluster.nodes[*node].keys("onedoor:user:*").is_empty()).unwrap();
    cluster.nodes[hung].pause();
    // One whose session is on a server that works.
    let leaver = eventually("some are still known", || jars.iter().find(|jar| status(&gateway, jar) == 200));
    let response = leave_everywhere(&gateway, leaver);
    assert_eq!((response.status(), response.header("set-cookie")), (503, None));
    cluster.nodes[hung].resume();
    eventually("it succeeds", || (leave_everywhere(&gateway, leaver).status() == 200).then_some(()));
    eventually("all are gone", || (records() == [0, 0, 0]).then_some(()));
    assert!(jars.iter().all(|jar| status(&gateway, jar) == 401));
}
