//! An app logs a user out by deleting the record, and another request that was still at work in it writes the record
//! again.

use crate::harness::{
    COUNTER, Gateway, Jar, Redis, SECRET, Upstream, counter_site, eventually, get, post, record, store_session,
};
/// Of whichever format the site has.
const HITS: &str = "onedoor_session_memory_total{session=";

fn stage(session: &str) -> (Redis, Upstream, Gateway) {
    let (redis, app) = (Redis::start(), Upstream::echo());
    redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "Kg$hxe"]);
    let (url, app_url) = (redis.url(), app.url());
    let gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [session]
        user = "user.id"
        {session}
        [upstreams]
        app = "{app_url}"
        [[rules]]
        path = "/login"
        dest = "app"
        session = "off"
        [[rules]]
        dest = "app"
        "#
    ));
    armed(&gateway);
    (redis, app, gateway)
}

fn express() -> (Redis, Upstream, Gateway) {
    stage(&format!("format = \"express\"\nsecrets = [\"{SECRET}\"]"))
}

fn armed(gateway: &Gateway) {
    eventually("events are heard", || (metric(gateway, "onedoor_session_memory_armed") == 1).then_some(()));
    eventually("it says so", || gateway.output().contains("keyspace events").then_some(()));
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = get("/metrics").send(gateway.admin).text();
    let is_it = |line: &&str| line.starts_with(name) && (name != HITS || line.contains("event=\"hit\""));
    let line = page.lines().find(is_it).unwrap_or("0");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn status(gateway: &Gateway, cookie: &str) -> u16 {
    gateway.send(&get("/").cookie(cookie)).status()
}

fn becomes(gateway: &Gateway, cookie: &str, wanted: u16) {
    eventually(&format!("it becomes {wanted}"), || (status(gateway, cookie) == wanted).then_some(()));
}

/// Waits until the session is answered from memory.
fn remembered(gateway: &Gateway, cookie: &str) {
    let before = metric(gateway, HITS);
    becomes(gateway, cookie, 200);
    eventually("it is in memory", || {
        assert_eq!(status(gateway, cookie), 200);
        (metric(gateway, HITS) > before).then_some(())
    });
}

#[test]
fn a_record_that_its_app_deleted_brings_nobody_back_when_it_is_written_late() {
    let (redis, _app, mut gateway) = express();
    let text = record("42", "[]");
    let mut round = 0;
    // On a busy machine nobody may be listening just then.
    let (key, cookie, left) = eventually("a deletion is heard and the store knows", || {
        round += 1;
        let cookie = store_session(&redis, &round.to_string(), &text);
        let key = format!("sess:{round}");
        redis.ask(&["EXPIRE", &key, "200000"]);
        remembered(&gateway, &cookie);
        redis.ask(&["DEL", &key]);
        becomes(&gateway, &cookie, 401);
        redis.wait_until_heard();
        let left: i64 = redis.ask(&["TTL", &format!("onedoor:revoked:{{{key}}}")])?.parse().ok()?;
        (left > 0).then_some((key, cookie, left))
    });
    assert!((190_000..=200_000).contains(&left), "as long as the record had: {left}");
    eventually("it is counted", || {
        redis.set(&key, &text);
        redis.wait_until_heard();
        (metric(&gateway, "onedoor_resurrections_total{") > 0).then_some(())
    });
    assert_eq!(gateway.send(&get("/").cookie(&cookie)).reason(), "session_required");
    let line = gateway.log_line("wrote its record again");
    assert_eq!((line["rule"].is_string(), line["status"].as_i64()), (true, Some(401)), "{line}");
    let seen = gateway.send(&get("/login").cookie(&cookie)).text();
    assert!(!seen.contains("connect.sid"), "the app begins a new session: {seen}");
    gateway.restart();
    assert_eq!(status(&gateway, &cookie), 401, "others know it, too");
    assert_eq!(metric(&gateway, "onedoor_resurrections_total{"), 1);
}

#[test]
fn what_is_no_logout_ends_no_id() {
    let (redis, _app, gateway) = express();
    let text = record("42", "[]");
    let ends: [(&str, &[&str]); 4] = [
        ("expired", &["PEXPIRE", "sess:expired", "20"]),
        ("renamed", &["RENAME", "sess:renamed", "elsewhere"]),
        ("flushed", &["FLUSHALL"]),
        ("nobody's", &["DEL", "sess:nobody's"]),
    ];
    for (id, end) in ends {
        let is_nobodys = id == "nobody's";
        let cookie = store_session(&redis, id, if is_nobodys { r#"{"cookie":{}}"# } else { &text });
        if is_nobodys {
            becomes(&gateway, &cookie, 401);
        } else {
            remembered(&gateway, &cookie);
        }
        redis.ask(end);
        becomes(&gateway, &cookie, 401);
        redis.wait_until_heard();
        redis.set(&format!("sess:{id}"), &text);
        becomes(&gateway, &cookie, 200);
    }
    assert!(redis.keys("onedoor:revoked:*").is_empty());
}

#[test]
fn where_a_framework_uses_ids_again_one_logs_in_again_under_the_same_id() {
    let (redis, _app, gateway) = stage("format = \"php\"");
    let (key, cookie) = (format!("PHPREDIS_SESSION:{:032}", 1), format!("PHPSESSID={:032}", 1));
    for _ in 0..3 {
        redis.set(&key, "user|a:1:{s:2:\"id\";i:42;}");
        remembered(&gateway, &cookie);
        redis.ask(&["DEL", &key]);
        becomes(&gateway, &cookie, 401);
    }
    assert!(redis.keys("onedoor:revoked:*").is_empty());
}

#[test]
fn a_real_express_app_logs_out_for_good_and_the_browser_in_again() {
    let site = counter_site("current", &COUNTER.replacen("[session]", "[store.cache]\nconfigure = true\n[session]", 1));
    armed(&site.gateway);
    let (mut jar, mut ids, mut rounds) = (Jar::default(), Vec::new(), 0);
    while ids.len() < 3 {
        let known = site.redis.keys("onedoor:revoked:*").len();
        jar.send(post("/login", "user=42&roles=reader&return_to=/start"), site.gateway.address);
        eventually("it is in memory", || {
            let before = metric(&site.gateway, HITS);
            assert_eq!(jar.send(get("/"), site.gateway.address).status(), 200);
            (metric(&site.gateway, HITS) > before).then_some(())
        });
        let old = jar.clone();
        let kept: Vec<_> = site.redis.keys("sess:*").into_iter().collect();
        let records: Vec<_> = kept.iter().map(|key| (key, site.redis.ask(&["GET", key]).unwrap())).collect();
        assert_eq!(jar.send(post("/logout", ""), site.gateway.address).status(), 200);
        assert_eq!(site.gateway.send(&old.with(get("/"))).status(), 401);
        site.redis.wait_until_heard();
        if site.redis.keys("onedoor:revoked:*").len() == known {
            // On a busy machine nobody may have been listening just then.
            rounds += 1;
            assert!(rounds < 5, "no deletion is heard");
            continue;
        }
        for (key, record) in records {
            site.redis.set(key, record);
        }
        assert_eq!(site.gateway.send(&old.with(get("/"))).status(), 401);
        ids.push(old.value("connect.sid").unwrap().to_owned());
        // Some apps leave the old cookie in the browser.
        jar = old;
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each login has its own id");
}
