//! Several sessions: two teams on two frameworks behind one domain.

use crate::harness::{Gateway, Jar, Redis, Reply, SECRET, Setup, Upstream, get, record, store_session};

const RULES: &str = r#"
[[rules]]
path = ["/login", "/accounts", "/either"]
dest = "app"
session = "optional"
[[rules]]
path = "/shop"
dest = "app"
accept = "shop"
[[rules]]
path = "/api"
dest = "app"
accept = "api"
[[rules]]
dest = "app"
"#;

struct Stage {
    redis: Redis,
    app: Upstream,
    gateway: Gateway,
}

fn stage(more: &str) -> Stage {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let gateway = Setup::new(format!(
        r#"
[store]
url = "{}"
[[session]]
name = "shop"
format = "express"
secrets = ["{SECRET}"]
user = "user.id"
{more}
[[session]]
name = "api"
format = "starlette"
user = "user.id"
login = "/accounts"
[upstreams]
app = "{}"
{RULES}"#,
        redis.url(),
        app.url()
    ));
    Stage { redis, app, gateway: gateway.start() }
}

impl Stage {
    /// The user and the session's name that the upstream learns, or the refusal's reason.
    fn seen(&self, path: &str, cookies: &str) -> Result<(String, String), String> {
        let response = self.gateway.send(&get(path).cookie(cookies));
        if response.status() != 200 {
            return Err(response.reason());
        }
        let seen = self.app.last();
        let header = |name| seen.header(name).unwrap_or("nobody").to_owned();
        Ok((header("x-forwarded-user"), header("x-onedoor-session")))
    }

    fn shop(&self) -> String {
        store_session(&self.redis, "one", &record("\"zoe\"", "[]"))
    }

    fn api(&self) -> String {
        let id = "0123456789abcdef0123456789abcdef";
        self.redis.set(&format!("starsessions.{id}"), r#"{"user":{"id":"ada"}}"#);
        format!("session={id}")
    }
}

fn known(user: &str, session: &str) -> Result<(String, String), String> {
    Ok((user.to_owned(), session.to_owned()))
}

#[test]
fn they_are_tried_in_order_and_a_rule_may_accept_only_some() {
    let stage = stage("");
    let (shop, api, refused) = (stage.shop(), stage.api(), Err("session_required".to_owned()));
    let both = format!("{api}; {shop}");
    for path in ["/", "/either"] {
        assert_eq!(stage.seen(path, &shop), known("zoe", "shop"), "{path}");
        assert_eq!(stage.seen(path, &api), known("ada", "api"), "{path}");
        assert_eq!(stage.seen(path, &both), known("zoe", "shop"), "{path}: the first session of the file goes before");
    }
    assert_eq!(stage.seen("/shop", &both), known("zoe", "shop"));
    assert_eq!(stage.seen("/shop", &api), refused);
    assert_eq!(stage.seen("/api", &both), known("ada", "api"));
    assert_eq!(stage.seen("/api", &shop), refused);
    assert_eq!(stage.seen("/", "session=nonsense; connect.sid=nonsense"), refused);
}

#[test]
fn who_must_log_in_is_sent_to_the_first_session_that_the_rule_accepts() {
    let stage = stage("");
    let location = |path| {
        let response = stage.gateway.send(&get(path).html());
        assert_eq!(response.status(), 303, "{path}");
        response.header("location").unwrap().to_owned()
    };
    assert_eq!(location("/"), "/login?return_to=%2F");
    assert_eq!(location("/shop"), "/login?return_to=%2Fshop");
    assert_eq!(location("/api"), "/accounts?return_to=%2Fapi");
}

#[test]
fn a_cookie_that_stays_at_the_gateway_does_so_whatever_the_rule_accepts() {
    let stage = stage("forward_cookie = false");
    let (shop, api) = (stage.shop(), stage.api());
    let both = format!("a=1; {api}; {shop}");
    for path in ["/api", "/", "/either"] {
        assert!(stage.seen(path, &both).is_ok(), "{path}");
        assert_eq!(stage.app.last().header("cookie"), Some(format!("a=1; {api}").as_str()), "{path}");
    }
}

/// Customers and staff, either with sessions that the gateway writes, and an upstream that steers as its query says.
fn staff_and_customers() -> (Redis, Upstream, Gateway) {
    let redis = Redis::start();
    let auth = Upstream::start(|request| {
        let query = request.target().split_once('?').map_or("", |(_, query)| query);
        let (command, value) = match query {
            "logout" => ("Session-Logout", "this"),
            "update" => ("Session-Update", r#"{"cart":1}"#),
            _ => ("Session-Login", r#"{"user":{"id":"42"}}"#),
        };
        let seen = request.header("x-onedoor-session").unwrap_or("nobody").to_owned();
        let steering: &[(&str, &str)] = if query.is_empty() { &[] } else { &[(command, value)] };
        Reply::new(200, steering, &seen)
    });
    let gateway = Gateway::start(format!(
        r#"
[store]
url = "{}"
[[session]]
name = "staff"
format = "onedoor"
[[session]]
name = "customers"
format = "express"
secrets = ["{SECRET}"]
user = "user.id"
[upstreams]
auth = {{ endpoints = "{}", session_authority = true }}
[[rules]]
path = "/customers/login"
dest = "auth"
session = "optional"
accept = "customers"
[[rules]]
path = "/login"
dest = "auth"
session = "optional"
[[rules]]
path = "/off"
dest = "auth"
session = "off"
[[rules]]
path = "/staff"
dest = "auth"
accept = "staff"
[[rules]]
dest = "auth"
"#,
        redis.url(),
        auth.url()
    ));
    (redis, auth, gateway)
}

#[test]
fn who_logs_in_where_only_one_session_counts_gets_that_one() {
    let (_redis, _auth, gateway) = staff_and_customers();
    let mut jar = Jar::default();
    assert_eq!(jar.send(get("/customers/login?login"), gateway.address).status(), 200);
    let seen = |jar: &Jar, path: &str| gateway.send(&jar.with(get(path)));
    assert_eq!(seen(&jar, "/staff").status(), 401, "a customer is not one of the staff");
    assert_eq!(seen(&jar, "/").text(), "customers");

    let mut staff = Jar::default();
    staff.send(get("/login?login"), gateway.address);
    assert_eq!(seen(&staff, "/staff").text(), "staff", "where all count, the first that is written here");
}

#[test]
fn a_logout_ends_the_session_that_the_request_brings_also_where_nobody_is_asked() {
    let (redis, _auth, gateway) = staff_and_customers();
    let mut jar = Jar::default();
    jar.send(get("/customers/login?login"), gateway.address);
    assert_eq!(redis.keys("sess:*").len(), 1);
    let before = jar.with(get("/"));
    assert_eq!(gateway.send(&jar.with(get("/off?logout"))).status(), 200);
    assert!(redis.keys("sess:*").is_empty(), "the record is gone");
    assert_eq!(gateway.send(&before).status(), 401);
}

#[test]
fn an_anonymous_session_is_updated_where_it_is() {
    let (redis, _auth, gateway) = staff_and_customers();
    let mut jar = Jar::default();
    jar.send(get("/customers/login?update"), gateway.address);
    assert_eq!(redis.keys("sess:*").len(), 1);
    jar.send(get("/login?update"), gateway.address);
    assert!(redis.keys("onedoor:session:*").is_empty(), "no second session begins");
}
