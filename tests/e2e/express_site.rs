//! The counter site: real Express apps that know nothing of the gateway, of today and of the connect-redis 3 time.

use crate::harness::{COUNTER, Jar, Message, Site, counter_site, eventually, get, post};

const GENERATIONS: [&str; 2] = ["current", "three"];

fn log_in(site: &Site, user: &str) -> Jar {
    let mut jar = Jar::default();
    let response =
        jar.send(post("/login", &format!("user={user}&roles=reader&return_to=/start")), site.gateway.address);
    assert_eq!((response.status(), response.header("location")), (303, Some("/start")), "{}", response.text());
    assert!(jar.value("connect.sid").is_some());
    jar
}

fn read(site: &Site, jar: &mut Jar) -> Message {
    jar.send(get("/"), site.gateway.address)
}

#[test]
fn one_logs_in_counts_reads_on_both_instances_and_logs_out() {
    for generation in GENERATIONS {
        let site = counter_site(generation, COUNTER);
        let door = site.gateway.get("/");
        assert_eq!((door.status(), door.reason().as_str()), (401, "session_required"), "{generation}");
        let page = site.gateway.send(&get("/start").html());
        assert_eq!(page.header("location"), Some("/login?return_to=%2Fstart"));
        let form = site.gateway.send(&get("/login?return_to=%2Fstart").html());
        assert!(form.text().contains("value=\"/start\""), "{}", form.text());

        let mut jar = log_in(&site, "42");
        for count in 1..=3 {
            assert_eq!(jar.send(post("/increment", ""), site.gateway.address).json()["count"], count);
        }
        let mut instances = Vec::new();
        for _ in 0..20 {
            let body = read(&site, &mut jar).json();
            assert_eq!((body["user"]["id"].as_i64(), body["count"].as_i64()), (Some(42), Some(3)), "{generation}");
            assert_eq!(body["seen"]["x-forwarded-user"], "42");
            instances.push(body["instance"].as_str().unwrap().to_owned());
        }
        instances.sort();
        instances.dedup();
        assert_eq!(instances.len(), 2, "both instances serve");

        let old = jar.clone();
        assert_eq!(jar.send(post("/logout", ""), site.gateway.address).status(), 200);
        assert_eq!(read(&site, &mut old.clone()).status(), 401, "{generation}: logged out at once");
        assert_eq!(site.gateway.send(&old.with(post("/increment", ""))).status(), 403, "the app itself agrees");
    }
}

#[test]
fn what_the_file_names_reaches_the_apps_and_nothing_else() {
    for generation in GENERATIONS {
        let text = format!(
            "{COUNTER}\n[identity.headers]\nX-Forwarded-User = \"@user\"\nX-Name = \"user.name\"\nX-Count = \"count\"\n"
        );
        let site = counter_site(generation, &text);
        let jar = log_in(&site, "zo%C3%AB");
        let request = jar.with(get("/")).header("X-Name", "mallory").header("x_forwarded_user", "mallory");
        let body = site.gateway.send(&request).json();
        assert_eq!(
            (body["user"]["id"].as_str(), body["seen"]["x-name"].as_str()),
            (Some("zo\u{eb}"), Some("zo%C3%AB"))
        );
        assert_eq!(
            (body["seen"]["x-forwarded-user"].as_str(), body["seen"]["x-count"].as_str()),
            (Some("zo%C3%AB"), Some("0"))
        );
        assert!(!body.to_string().contains("mallory"));
    }
}

#[test]
fn two_users_stay_apart() {
    let site = counter_site("current", COUNTER);
    let (mut one, mut two) = (log_in(&site, "one"), log_in(&site, "two"));
    one.send(post("/increment", ""), site.gateway.address);
    assert_eq!(read(&site, &mut one).json()["count"], 1);
    let body = read(&site, &mut two).json();
    assert_eq!((body["user"]["id"].as_str(), body["count"].as_i64()), (Some("two"), Some(0)));
}

#[test]
fn killing_each_part_in_turn_loses_no_session() {
    for generation in GENERATIONS {
        let mut site = counter_site(generation, COUNTER);
        let mut jar = log_in(&site, "7");
        jar.send(post("/increment", ""), site.gateway.address);
        let still_there = |site: &Site, jar: &mut Jar, what: &str| {
            let body = eventually(&format!("{generation}: the session is there after {what}"), || {
                let response = read(site, jar);
                assert!(matches!(response.status(), 200 | 500..), "{what}: {} {}", response.start, response.text());
                (response.status() == 200).then(|| response.json()).filter(|body| !body["user"].is_null())
            });
            assert_eq!((body["user"]["id"].as_i64(), body["count"].as_i64()), (Some(7), Some(1)), "{what}");
        };
        site.redis.restart();
        still_there(&site, &mut jar, "redis was killed");
        site.writer.restart();
        still_there(&site, &mut jar, "the writer was killed");
        site.readers[0].kill();
        still_there(&site, &mut jar, "one reader was killed");
        site.readers[0].restart();
        site.readers[1].restart();
        still_there(&site, &mut jar, "both readers were killed");
        site.gateway.restart();
        still_there(&site, &mut jar, "the gateway was killed");
        assert_eq!(jar.send(post("/increment", ""), site.gateway.address).json()["count"], 2, "{generation}");
    }
}

#[test]
fn a_session_the_app_has_ended_is_over_for_the_gateway() {
    let site = counter_site("current", COUNTER);
    let jar = log_in(&site, "9");
    assert_eq!(jar.with(post("/logout", "")).send(site.writer.address).status(), 200, "not through the gateway");
    eventually("it is refused", || (site.gateway.send(&jar.with(get("/"))).status() == 401).then_some(()));
}

#[test]
fn what_an_app_writes_after_the_end_of_a_session_brings_nobody_back() {
    let text = COUNTER
        .replace("\"${AUTH}\"", "{ endpoints = \"${AUTH}\", session_authority = true }")
        .replace("\"/logout\"", "\"/logout\", \"/slow\", \"/sign-out\"");
    for generation in GENERATIONS {
        let site = counter_site(generation, &text);
        let mut jar = log_in(&site, "42");
        let old = jar.clone();
        assert_eq!(read(&site, &mut jar).status(), 200);
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| site.gateway.send(&old.with(post("/slow", ""))));
            eventually("the app works on the session", || {
                site.writer.output().contains("slow has begun").then_some(())
            });
            let bye = jar.send(post("/sign-out", ""), site.gateway.address);
            assert_eq!((bye.status(), jar.text().as_str()), (200, ""), "{generation}: the cookie is cleared");
            assert_eq!(read(&site, &mut old.clone()).status(), 401);
            assert_eq!(post("/go-on", "").send(site.writer.address).status(), 200);
            assert_eq!(slow.join().unwrap().json()["count"], 1);
        });
        assert_eq!(site.redis.keys("sess:*").len(), 1, "{generation}: the app wrote the record again");
        assert_eq!(read(&site, &mut old.clone()).status(), 401, "{generation}: and nobody is logged in by it");
        assert_eq!(site.gateway.send(&old.with(post("/increment", ""))).status(), 403, "nor at the app itself");
        let mut again = old;
        let welcome = again.send(post("/login", "user=42&return_to=/"), site.gateway.address);
        assert_eq!(welcome.status(), 303);
        assert_eq!(read(&site, &mut again).status(), 200, "{generation}: a new login counts");
    }
}
