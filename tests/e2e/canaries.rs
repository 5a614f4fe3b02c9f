//! Weights and prefixes: who gets the new version, and services that live under a path of the site.

use crate::harness::{
    Gateway, Redis, Reply, Upstream, eventually, express_gateway, get, open_rule, record, store_session,
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
        let ask = |cookie: &String| gateway.send(&get("/").cookie(cookie)).text();
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
        let cookies = [("Set-Cookie", "seen=1; Path=/; HttpOnly"), ("Set-Cookie", "plain=1")];
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
    assert_eq!(moved.all("set-cookie"), ["seen=1; Path=/shop; HttpOnly", "plain=1"]);
    assert_eq!(gateway.get("/shop/far").header("location"), Some("https://elsewhere.test/x"));
    assert_eq!(gateway.get("/shop/new?a=1").json()["target"], "/new?a=1");
    assert_eq!(app.last().header("x-forwarded-prefix"), Some("/shop"));
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
