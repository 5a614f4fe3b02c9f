//! Logging in that goes round in circles: after five rounds the browser is told why, instead of a sixth.

use crate::harness::{
    Gateway, Jar, Message, Redis, Reply, Request, SECRET, Upstream, express_gateway, get, post, signed,
};
use std::sync::{Arc, Mutex};

const RULES: &str = r#"
[[rules]]
path = ["/login", "/login/**"]
dest = "app"
session = "optional"
[[rules]]
path = "/forced"
on_refusal = "redirect"
dest = "app"
[[rules]]
dest = "app"
"#;

/// What the login service answers; changed by the test while it runs.
type Answer = Arc<Mutex<Reply>>;

fn stage(answer: Reply) -> (Redis, Upstream, Gateway, Answer) {
    let redis = Redis::start();
    let answer = Arc::new(Mutex::new(answer));
    let current = answer.clone();
    let app = Upstream::start(move |request| match request.target().starts_with("/login") {
        true => current.lock().unwrap().clone(),
        false => Reply::echo(request),
    });
    let gateway = express_gateway(&redis, &app.url(), "", RULES);
    (redis, app, gateway, answer)
}

/// Logged in, it seems: back to where the browser came from.
fn back(cookies: &[&str]) -> Reply {
    let mut headers = vec![("Location", "/page")];
    headers.extend(cookies.iter().map(|cookie| ("Set-Cookie", *cookie)));
    Reply::new(303, &headers, "")
}

/// Asks for a page as a browser does, and follows to the login page; the first answer.
fn round(gateway: &Gateway, page: &Request, login: &Request) -> Message {
    let answer = gateway.send(page);
    if answer.status() == 303 {
        assert!(answer.header("location").unwrap().starts_with("/login?return_to="), "{}", answer.start);
        gateway.send(login);
    }
    answer
}

/// The statuses of so many rounds, and the last answer's text.
fn rounds(gateway: &Gateway, page: &Request, login: &Request, times: usize) -> (Vec<u16>, String) {
    let answers: Vec<_> = (0..times).map(|_| round(gateway, page, login)).collect();
    (answers.iter().map(Message::status).collect(), answers.last().unwrap().text())
}

const LOOP: [u16; 6] = [303, 303, 303, 303, 303, 508];

#[test]
fn the_page_names_the_cause() {
    let proven = signed("gone", SECRET);
    let (set, secure) = (format!("connect.sid={proven}; Path=/"), format!("connect.sid={proven}; Path=/; Secure"));
    let foreign = signed("gone", "another secret");
    let (given, twice) = (format!("connect.sid={proven}"), format!("connect.sid={proven}; connect.sid={proven}"));
    let (forged, removed) = (format!("connect.sid={foreign}"), format!("connect.sid={foreign}; Path=/"));
    let table = [
        (back(&[&set]), None, "cookie not returned"),
        (back(&[]), None, "never set the session's cookie"),
        (back(&[&secure]), None, "Secure cookie over http"),
        (back(&[&removed]), None, "bad signature"),
        (back(&[]), Some(&forged), "bad signature"),
        (back(&[]), Some(&given), "not in store"),
        (back(&[]), Some(&twice), "two cookies of one name"),
    ];
    for (number, (answer, cookie, cause)) in table.into_iter().enumerate() {
        let (_redis, _app, gateway, _) = stage(answer);
        let agent = |request: Request| request.html().header("User-Agent", format!("browser {number}"));
        let with = |request: Request| cookie.into_iter().fold(request, Request::cookie);
        let (page, login) = (with(agent(get("/page"))), with(agent(get("/login"))));
        let (statuses, text) = rounds(&gateway, &page, &login, 6);
        assert_eq!(statuses, LOOP, "{cause}");
        assert!(text.contains(cause) && text.contains("login_loop") && text.contains("href=\"/login\""), "{text}");
        assert!(gateway.log_line("login_loop")["cause"].as_str().unwrap().contains(cause));
    }
}

#[test]
fn a_session_without_a_user_is_a_cause_too() {
    let (redis, _app, gateway, _) = stage(back(&[]));
    redis.set("sess:nobody", r#"{"cookie":{}}"#);
    let cookie = format!("connect.sid={}", signed("nobody", SECRET));
    let (page, login) = (get("/page").html().cookie(&cookie), get("/login").html().cookie(&cookie));
    let (statuses, text) = rounds(&gateway, &page, &login, 6);
    assert_eq!(statuses, LOOP);
    assert!(text.contains("names no user"), "{text}");
}

#[test]
fn logging_in_by_a_form_that_sets_the_cookie_counts_as_well() {
    let cookie = format!("connect.sid={}; Path=/", signed("gone", SECRET));
    let (_redis, _app, gateway, _) = stage(Reply::new(200, &[("Set-Cookie", &cookie)], "welcome"));
    let (statuses, text) = rounds(&gateway, &get("/page").html(), &post("/login/form", "user=1"), 6);
    assert_eq!(statuses, LOOP);
    assert!(text.contains("cookie not returned"), "{text}");
}

#[test]
fn programs_that_are_sent_to_login_learn_the_cause_as_a_problem() {
    let (_redis, _app, gateway, _) = stage(back(&[]));
    let (statuses, text) = rounds(&gateway, &get("/forced"), &get("/login"), 6);
    assert_eq!(statuses, LOOP);
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&problem["reason"], &problem["status"]), (&"login_loop".into(), &508.into()));
    assert!(problem["detail"].as_str().unwrap().contains("cookie not returned"), "{problem}");
}

#[test]
fn pages_merely_shown_prefetches_and_redirects_elsewhere_do_not_count() {
    let (page, login) = (get("/page").html(), get("/login").html());
    let never = [303; 12];
    let elsewhere = |to| Reply::new(303, &[("Location", to)], "");
    let answers = [
        Reply::new(200, &[], "log in here"),
        elsewhere("/login/step-2"),
        elsewhere("step-2"),
        elsewhere("https://idp.test/authorize"),
        Reply::new(200, &[("Set-Cookie", "connect.sid=; Path=/; Max-Age=0"), ("Set-Cookie", "theme=dark")], ""),
    ];
    for answer in answers {
        let (_redis, _app, gateway, _) = stage(answer);
        let login = if matches!(gateway.send(&login).header("location"), Some("step-2")) {
            get("/login/step-1").html()
        } else {
            login.clone()
        };
        assert_eq!(rounds(&gateway, &page, &login, 12).0, never);
    }
    let (_redis, _app, gateway, _) = stage(back(&[]));
    let prefetch = |request: &Request| request.clone().header("Sec-Purpose", "prefetch;prerender");
    assert_eq!(rounds(&gateway, &prefetch(&page), &prefetch(&login), 12).0, never);
    assert_eq!(rounds(&gateway, &page, &prefetch(&login), 12).0, never);
    assert_eq!(rounds(&gateway, &page, &login, 6).0, LOOP);
}

#[test]
fn each_browser_and_page_is_counted_for_itself() {
    let (_redis, _app, gateway, _) = stage(back(&[]));
    let (page, login) = (get("/page").html(), get("/login").html());
    assert_eq!(rounds(&gateway, &page, &login, 6).0, LOOP);
    assert_eq!(gateway.send(&get("/other").html()).status(), 303);
    assert_eq!(gateway.send(&page.clone().header("User-Agent", "another")).status(), 303);
    assert_eq!(gateway.send(&page).status(), 508);
    assert_eq!(gateway.send(&get("/page")).status(), 401, "a program is not sent to login");
    assert_ne!(gateway.send(&login).status(), 508);
}

#[test]
fn a_session_that_is_valid_ends_the_loop() {
    let (redis, _app, gateway, answer) = stage(back(&[]));
    let (page, login) = (get("/page").html(), get("/login").html());
    assert_eq!(rounds(&gateway, &page, &login, 5).0, [303; 5]);
    redis.set("sess:one", crate::harness::record("7", "[]"));
    *answer.lock().unwrap() = back(&[&format!("connect.sid={}; Path=/", signed("one", SECRET))]);
    let mut jar = Jar::default();
    jar.send(login.clone(), gateway.address);
    assert_eq!(jar.send(page.clone(), gateway.address).status(), 200);
    *answer.lock().unwrap() = back(&[]);
    assert_eq!(rounds(&gateway, &page, &login, 6).0, LOOP, "it begins anew");
    assert_eq!(jar.send(page, gateway.address).status(), 200);
}
