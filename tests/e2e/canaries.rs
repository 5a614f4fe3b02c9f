//! Weights and prefixes: who gets the new version, and services that live under a path of the site.

use crate::harness::{
    Gateway, Redis, Reply, Request, Upstream, eventually, express_gateway, get, open_rule, post, record, store_session,
};

fn weights(one: &Upstream, two: &Upstream, weights: (u32, u32)) -> String {
    let (one, two) = (one.url(), two.url());
    format!("v1 = {one:?}\nv2 = {two:?}\n[[rules]]\ndest = {{ v1 = {}, v2 = {} }}\n", weights.0, weights.1)
}

#[test]
fn a_user_stays_on_one_side_and_moves_only_towards_what_grows() {
    let (one, two, redis) = (Upstream::named("one"), Upstream::named("two"), Redis::start());
    let text = |shares| {
        let login = "login = \"https://id.test/\"";
        (login, weights(&one, &two, shares))
    };
    let cookies: Vec<[String; 2]> = (0..40)
        .map(|user| {
            let store =
                |device: &str| store_session(&redis, &format!("{user}{device}"), &record(&user.to_string(), "[]"));
            [store("a"), store("b")]
        })
        .collect();
    let sides = |gateway: &Gateway| -> Vec<String> {
        // The store may be slow where much else is going on.
        let ask = |cookie: &String| {
            let answered = || Some(gateway.send(&get("/").cookie(cookie))).filter(|answer| answer.status() == 200);
            eventually("a side answers", answered).text()
        };
        cookies
            .iter()
            .map(|[one, other]| {
                let side = ask(one);
                assert_eq!(side, ask(other), "two devices of one user");
                side
            })
            .collect()
    };
    let at = |shares| {
        let (login, rules) = text(shares);
        sides(&express_gateway(&redis, "http://127.0.0.1:9", login, &rules))
    };
    let (before, after) = (at((80, 20)), at((50, 50)));
    let second = |sides: &[String]| sides.iter().filter(|side| *side == "two").count();
    assert!(second(&before) > 0 && second(&after) > second(&before) && second(&after) < 40);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || after == "two"));
    assert_eq!(second(&at((0, 1))), 40);
}

/// What these users get, each on a device of its own.
fn by_address(gateway: &Gateway, request: &Request) -> Vec<String> {
    let ask = |user: u32| gateway.send(&request.clone().header("X-Forwarded-For", format!("192.0.2.{user}"))).text();
    (0..40).map(ask).collect()
}

#[test]
fn a_side_that_cannot_be_reached_costs_its_users_nothing_and_has_them_back_when_it_can() {
    let (one, mut two) = (Upstream::named("one"), Upstream::named("two"));
    let urls = (one.url(), two.url());
    let text = |more: &str| {
        let (one, two) = &urls;
        format!(
            "trusted_proxies = [\"127.0.0.1\"]\n[upstreams]\nv1 = {one:?}\n\
             v2 = {{ endpoints = {two:?}, eject = {{ errors = 3, for = \"1s\" }}{more} }}\n\
             [[rules]]\ndest = {{ v1 = 50, v2 = 50 }}\nsession = \"off\"\n"
        )
    };
    let gateway = Gateway::start(text(""));
    let homes = by_address(&gateway, &get("/"));
    assert!(homes.contains(&"one".to_owned()) && homes.contains(&"two".to_owned()));
    two.stop();
    for request in [get("/"), post("/", "a=1"), get("/")] {
        assert_eq!(by_address(&gateway, &request), ["one"; 40]);
    }
    gateway.process.wait_for_output("an upstream cannot be reached and gets no requests");
    let seen = get("/metrics").send(gateway.admin).text();
    assert!(seen.contains("onedoor_upstream_errors_total{upstream=\"v2\",reason=\"unreachable\"}"), "{seen}");
    assert!(gateway.output().contains("\"upstream\":\"v1\""));
    two.restart();
    eventually("everybody is at home again", || (by_address(&gateway, &get("/")) == homes).then_some(()));
    assert!(gateway.output().contains("an upstream can be reached again"));
    two.stop();
    let strict = Gateway::start(text(", retries = 0"));
    let told = by_address(&strict, &get("/"));
    assert_eq!(told.iter().filter(|text| *text != "one").count(), 3, "those that were tried: {told:?}");
}

#[test]
fn a_side_that_answers_with_errors_or_is_full_keeps_its_users() {
    let (one, two) = (Upstream::named("one"), Upstream::start(|_| Reply::new(503, &[], "sorry")));
    let gateway = Gateway::start(format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[upstreams]\n{}session = \"off\"\n",
        weights(&one, &two, (50, 50))
    ));
    let homes = by_address(&gateway, &get("/"));
    assert!(homes.contains(&"one".to_owned()) && homes.contains(&"sorry".to_owned()));
    assert_eq!(by_address(&gateway, &get("/")), homes);
}

#[test]
fn a_side_whose_checks_fail_is_left_to_those_that_pass() {
    let (one, two) = (Upstream::named("one"), Upstream::start(|_| Reply::new(500, &[], "sick")));
    let (first, second) = (one.url(), two.url());
    let gateway = Gateway::start(format!(
        "[upstreams]\nv1 = {first:?}\n\
         v2 = {{ endpoints = {second:?}, health = {{ path = \"/healthz\", interval = \"100ms\" }} }}\n\
         [[rules]]\ndest = {{ v1 = 1, v2 = 1000000 }}\nsession = \"off\"\n"
    ));
    gateway.process.wait_for_output("an endpoint fails its checks and gets no requests");
    eventually("the other side answers", || (gateway.get("/").text() == "one").then_some(()));
}

#[test]
fn new_weights_count_at_once() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let text = |shares| format!("[upstreams]\n{}session = \"off\"\n", weights(&one, &two, shares));
    let gateway = Gateway::start(text((1, 0)));
    assert_eq!(gateway.get("/").text(), "one");
    gateway.replace(&text((0, 1)));
    eventually("the other side answers", || (gateway.get("/").text() == "two").then_some(()));
}

#[test]
fn a_service_under_a_path_need_not_know_it() {
    let app = Upstream::start(|request| {
        let host = ("Set-Cookie", "__Host-a=1; Secure; Path=/");
        let cookies = [("Set-Cookie", "seen=1; Path=/; HttpOnly"), ("Set-Cookie", "plain=1"), host];
        match request.target() {
            "/old" => Reply::new(302, &[&[("Location", "/new?a=1")], &cookies[..]].concat(), ""),
            "/far" => Reply::new(302, &[("Location", "https://elsewhere.test/x")], ""),
            _ => Reply::echo(request),
        }
    });
    let gateway = Gateway::start(format!(
        "{}strip_prefix = \"/shop\"\nrewrite_location = true\n",
        open_rule(&format!("{:?}", app.url()))
    ));
    let moved = gateway.get("/shop/old");
    assert_eq!(moved.header("location"), Some("/shop/new?a=1"));
    assert_eq!(moved.all("set-cookie"), ["seen=1; Path=/shop; HttpOnly", "plain=1", "__Host-a=1; Secure; Path=/"]);
    assert_eq!(gateway.get("/shop/far").header("location"), Some("https://elsewhere.test/x"));
    assert_eq!(gateway.get("/shop/new?a=1").json()["target"], "/new?a=1");
    assert_eq!(app.last().header("x-forwarded-prefix"), Some("/shop"));
}

#[test]
fn a_path_that_comes_back_without_its_prefix_never_becomes_a_host() {
    let app = Upstream::start(|request| {
        let (_, behind) = request.target().split_once("?").unwrap();
        Reply::new(302, &[("Location", &format!("/v1{}", behind.replace("tab", "\t")))], "")
    });
    let gateway = Gateway::start(format!(
        "{}add_prefix = \"/v1\"\nrewrite_location = true\n",
        open_rule(&format!("{:?}", app.url()))
    ));
    for (behind, location) in [
        ("/next", "/next"),
        ("//evil.test", "/v1//evil.test"),
        ("/\\evil.test", "/v1/\\evil.test"),
        ("/tab/evil.test", "/v1/\t/evil.test"),
    ] {
        let seen = gateway.get(&format!("/x?{behind}"));
        assert_eq!(seen.header("location"), Some(location), "{behind}");
    }
}

#[test]
fn a_rule_sets_and_removes_headers_both_ways() {
    let app =
        Upstream::start(|_| Reply::new(200, &[("Server", "x/1"), ("Cache-Control", "public"), ("X-Kept", "1")], ""));
    let gateway = Gateway::start(format!(
        "{}set_request_headers = {{ X-Tenant = \"blue\", Accept-Language = \"\" }}\n\
         set_response_headers = {{ Cache-Control = \"no-store\", Server = \"\" }}\n",
        open_rule(&format!("{:?}", app.url()))
    ));
    let response = gateway.send(&get("/").header("Accept-Language", "de").header("X-Tenant", "red"));
    let seen = app.last();
    assert_eq!((seen.all("x-tenant"), seen.header("accept-language")), (vec!["blue"], None));
    assert_eq!((response.all("cache-control"), response.header("server")), (vec!["no-store"], None));
    assert_eq!(response.header("x-kept"), Some("1"));
}
