//! Limits: how often somebody may, for all gateways together, and what happens beyond.

use crate::harness::{
    Connection, Gateway, Redis, Reply, Request, SECRET, Setup, Upstream, eventually, get, post, record, store_session,
};

/// A gateway with a Redis, limits and rules; the upstream is `app`.
fn gateway(redis: &Redis, app: &Upstream, text: &str) -> Gateway {
    let (url, app) = (redis.url(), app.url());
    let gateway = Setup::new(format!(
        "trusted_proxies = \"127.0.0.1\"\n[store]\nurl = \"{url}\"\n[session]\nformat = \"express\"\nuser = \"user.id\"\n\
         secrets = \"{SECRET}\"\nlogin = \"https://id.test/\"\n[upstreams]\napp = \"{app}\"\n{text}"
    ))
    .start();
    // Until the store is there, each gateway counts for itself.
    eventually("the store is there", || {
        (!get("/readyz").send(gateway.admin).text().contains("degraded")).then_some(())
    });
    gateway
}

fn rule(path: &str, limit: &str) -> String {
    format!("[[rules]]\npath = \"{path}\"\nsession = \"optional\"\ndest = \"app\"\nlimit = {limit}\n")
}

fn from(client: &str, request: Request) -> Request {
    request.header("X-Forwarded-For", client)
}

fn statuses(gateway: &Gateway, count: usize, request: impl Fn() -> Request) -> Vec<u16> {
    (0..count).map(|_| gateway.send(&request()).status()).collect()
}

#[test]
fn beyond_a_limit_one_is_told_when_to_come_again() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let limit = "[limits.page]\nrequests = 3\nper = \"1h\"\n";
    let text = format!("{limit}{}{}", rule("/page", "\"page\""), "[[rules]]\nsession = \"off\"\ndest = \"app\"\n");
    let gateway = gateway(&redis, &app, &text);
    assert_eq!(statuses(&gateway, 3, || from("192.0.2.1", get("/page"))), [200; 3]);
    for target in ["/page", "/PAGE", "/page/"] {
        let refused = gateway.send(&from("192.0.2.1", get(target)));
        assert_eq!((refused.status(), refused.reason().as_str()), (429, "rate_limited"), "{target}");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1200).contains(&wait), "{wait}");
        assert_eq!(refused.header("ratelimit"), Some(format!("\"page\";r=0;t={wait}").as_str()));
        assert_eq!(refused.header("ratelimit-policy"), Some("\"page\";q=3;w=3600"));
    }
    assert_eq!(app.requests().len(), 3);
    assert_eq!(gateway.send(&from("192.0.2.2", get("/page"))).status(), 200, "another address");
    assert_eq!(gateway.send(&from("192.0.2.1", get("/other"))).status(), 200, "another rule");
    assert_eq!(statuses(&gateway, 2, || from("2001:db8::1", get("/page"))), [200; 2]);
    assert_eq!(gateway.send(&from("2001:db8::2", get("/page"))).status(), 200);
    assert_eq!(gateway.send(&from("2001:db8::3", get("/page"))).status(), 429, "one customer's network is one");
    let keys = redis.keys("onedoor:limit:page:*");
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| !key.contains("192")), "{keys:?}");
    assert!(keys.iter().all(|key| redis.ask(&["PTTL", key]).unwrap().parse::<i64>().unwrap() > 0));
}

#[test]
fn gateways_count_together_unless_the_limit_is_local() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let limits =
        "[limits.all]\nrequests = 4\nper = \"1h\"\n[limits.own]\nrequests = 2\nper = \"1h\"\nscope = \"local\"\n";
    let text = format!("{limits}{}{}", rule("/all", "\"all\""), rule("/own", "\"own\""));
    let both = [gateway(&redis, &app, &text), gateway(&redis, &app, &text)];
    let mut passed = 0;
    for gateway in both.iter().cycle().take(8) {
        passed += usize::from(gateway.get("/all").status() == 200);
    }
    assert_eq!(passed, 4);
    for gateway in &both {
        assert_eq!(statuses(gateway, 3, || get("/own")), [200, 200, 429]);
    }
    // All workers of a process count together, too, and at once: nobody slips through beside another.
    let waiting: Vec<Connection> = (0..12)
        .map(|_| {
            let mut connection = Connection::open(both[0].address);
            let request = from("192.0.2.9", get("/all"));
            connection.write(request.bytes(both[0].address));
            connection
        })
        .collect();
    let passed = waiting.into_iter().filter_map(|mut connection| connection.response(false));
    assert_eq!(passed.filter(|response| response.status() == 200).count(), 4);
}

#[test]
fn failed_logins_count_by_address_and_by_account() {
    let redis = Redis::start();
    let app = Upstream::start(|request| {
        let form = request.text();
        let account = form.split('&').find_map(|field| field.strip_prefix("user=")).unwrap_or_default();
        let status = if form.contains("password=right") { 200 } else { 401 };
        Reply::new(status, &[("X-Login-Account", account), ("Set-Cookie", "connect.sid=; Path=/")], "")
    });
    let limits = "[limits.ip]\nrequests = 5\nper = \"15m\"\ncount = [\"401\", \"403\"]\n\
                  [limits.account]\nrequests = 3\nper = \"15m\"\nby = \"response:X-Login-Account\"\ncount = \"401\"\n";
    let gateway = gateway(&redis, &app, &format!("{limits}{}", rule("/login", "[\"ip\", \"account\"]")));
    let login = |client: &str, user: &str, password: &str| {
        gateway.send(&from(client, post("/login", &format!("user={user}&password={password}"))))
    };
    for _ in 0..10 {
        assert_eq!(login("192.0.2.1", "ada", "right").status(), 200, "what succeeds is not counted");
    }
    let answer = login("192.0.2.1", "ada", "wrong");
    assert_eq!((answer.status(), answer.header("x-login-account")), (401, None), "clients never see the account");
    for client in ["192.0.2.2", "192.0.2.3"] {
        assert_eq!(login(client, "ada", "wrong").status(), 401);
    }
    let guessed = login("192.0.2.4", "ada", "right");
    assert_eq!((guessed.status(), guessed.reason().as_str()), (429, "rate_limited"), "from whatever address");
    assert_eq!(guessed.header("set-cookie"), None, "and nothing of the service's answer is seen");
    assert_eq!(login("192.0.2.4", "bob", "right").status(), 200);
    for user in ["b", "c", "d", "e"] {
        assert_eq!(login("192.0.2.1", user, "wrong").status(), 401);
    }
    let before = app.requests().len();
    assert_eq!(login("192.0.2.1", "f", "right").status(), 429);
    assert_eq!(app.requests().len(), before, "the service is not even asked");
}

#[test]
fn users_sessions_and_headers_count_each_for_themselves() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let limits = "[limits.user]\nrequests = 2\nper = \"1h\"\nby = \"user\"\n\
                  [limits.session]\nrequests = 2\nper = \"1h\"\nby = \"session\"\n\
                  [limits.key]\nrequests = 2\nper = \"1h\"\nby = [\"ip\", \"header:X-Api-Key\"]\n";
    let rules = rule("/user", "\"user\"") + &rule("/session", "\"session\"") + &rule("/key", "\"key\"");
    let gateway = gateway(&redis, &app, &format!("{limits}{rules}"));
    let ada = store_session(&redis, "one", &record("42", "[]"));
    let ada_elsewhere = store_session(&redis, "two", &record("42", "[]"));
    let bob = store_session(&redis, "three", &record("43", "[]"));
    let ask = |target: &str, cookie: &str| gateway.send(&get(target).cookie(cookie)).status();
    assert_eq!([ask("/user", &ada), ask("/user", &ada_elsewhere), ask("/user", &ada)], [200, 200, 429]);
    assert_eq!(ask("/user", &bob), 200);
    assert_eq!([ask("/session", &ada), ask("/session", &ada), ask("/session", &ada)], [200, 200, 429]);
    assert_eq!(ask("/session", &ada_elsewhere), 200);
    assert_eq!(statuses(&gateway, 3, || from("192.0.2.1", get("/user"))), [200, 200, 429], "nobody is an address");
    let key = |client: &str, key: &str| from(client, get("/key").header("X-Api-Key", key));
    assert_eq!(statuses(&gateway, 3, || key("192.0.2.1", "a")), [200, 200, 429]);
    assert_eq!(gateway.send(&key("192.0.2.1", "b")).status(), 200);
    assert_eq!(gateway.send(&key("192.0.2.2", "a")).status(), 200);
}

#[test]
fn while_the_store_is_away_each_gateway_counts_for_itself() {
    let (mut redis, app) = (Redis::start(), Upstream::echo());
    let limit = "[limits.page]\nrequests = 3\nper = \"1h\"\n";
    let rules = "[[rules]]\nsession = \"off\"\ndest = \"app\"\nlimit = \"page\"\n";
    let gateway = gateway(&redis, &app, &format!("{limit}{rules}"));
    assert_eq!(statuses(&gateway, 4, || from("192.0.2.1", get("/"))), [200, 200, 200, 429]);
    redis.kill();
    assert_eq!(statuses(&gateway, 4, || from("192.0.2.2", get("/"))), [200, 200, 200, 429]);
    redis.restart();
    eventually("the store counts again", || (gateway.send(&from("192.0.2.1", get("/"))).status() == 429).then_some(()));
}

#[test]
fn a_rule_that_is_not_enforced_only_reports() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let limit = "[limits.page]\nrequests = 1\nper = \"1h\"\n";
    let rules = rule("/page", "\"page\"") + "enforce = false\n";
    let gateway = gateway(&redis, &app, &format!("{limit}{rules}"));
    assert_eq!(statuses(&gateway, 3, || get("/page")), [200; 3]);
    assert_eq!(gateway.log_line("would_refuse")["would_refuse"], "rate_limited");
}

#[test]
fn a_reload_forgets_nothing_that_was_counted_here() {
    let app = Upstream::echo();
    let text = |more: &str| {
        format!(
            "[upstreams]\napp = \"{}\"\n[limits.page]\nrequests = 2\nper = \"1h\"\n[[rules]]\nsession = \"off\"\n\
             dest = \"app\"\nlimit = \"page\"\n{more}",
            app.url()
        )
    };
    let gateway = Gateway::start(text(""));
    assert_eq!(statuses(&gateway, 2, || get("/")), [200; 2]);
    gateway.replace(&text("[log]\nquery = true\n"));
    eventually("it is loaded", || gateway.output().contains("was reloaded").then_some(()));
    assert_eq!(gateway.get("/").status(), 429);
}
