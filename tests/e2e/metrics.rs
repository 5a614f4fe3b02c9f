//! `/metrics`: what happened is counted, under names from the configuration alone.

use crate::harness::{
    Connection, Gateway, Redis, Reply, SECRET, Upstream, eventually, express_gateway, get, open_gateway, record,
    store_session,
};

/// The sample with these words in its line; 0 if there is none.
fn sample(gateway: &Gateway, name: &str, labels: &[&str]) -> f64 {
    let page = get("/metrics").send(gateway.admin);
    assert_eq!(page.status(), 200);
    let page = page.text();
    let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
    page.lines().find(is_it).map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Waits until a sample is this much.
fn counts(gateway: &Gateway, name: &str, labels: &[&str], expected: f64) {
    let mut last = 0.0;
    let reached = || {
        last = sample(gateway, name, labels);
        (last >= expected).then_some(())
    };
    eventually(&format!("{name} {labels:?} is {expected}"), reached);
    assert!((last - expected).abs() < f64::EPSILON, "{name} {labels:?} is {last}, not {expected}");
}

#[test]
fn requests_verdicts_the_store_and_upstreams_are_counted() {
    let (mut redis, app) = (Redis::start(), Upstream::echo());
    let gone = crate::harness::free_address();
    let gateway = express_gateway(
        &redis,
        &app.url(),
        "",
        &format!(
            "[upstreams.gone]\nendpoints = \"http://{gone}\"\n[[rules]]\npath = \"/login\"\ndest = \"app\"\n\
             session = \"off\"\n[[rules]]\npath = \"/gone\"\ndest = \"gone\"\nsession = \"off\"\n[[rules]]\n\
             path = \"/report\"\ndest = \"app\"\nenforce = false\n[[rules]]\ndest = \"app\""
        ),
    );
    let cookie = store_session(&redis, "id-of-zoe", &record("\"zoe\"", "[]"));
    let broken = store_session(&redis, "two", "garbage");
    for _ in 0..3 {
        assert_eq!(gateway.send(&get("/private/of-zoe").cookie(&cookie)).status(), 200);
    }
    assert_eq!(gateway.send(&get("/private").cookie(&broken)).status(), 401);
    assert_eq!(gateway.get("/private").status(), 401);
    assert_eq!(gateway.get("/gone").status(), 502);
    assert_eq!(gateway.get("/report").status(), 200);
    let rule = "rule=\"rules[3] /**\"";
    counts(&gateway, "onedoor_requests_total", &[rule, "status=\"200\"", "reason=\"\""], 3.0);
    counts(&gateway, "onedoor_requests_total", &[rule, "status=\"401\"", "reason=\"session_required\""], 2.0);
    counts(&gateway, "onedoor_request_duration_seconds_count", &[rule], 5.0);
    counts(&gateway, "onedoor_would_refuse_total", &["rules[2] /report", "session_required"], 1.0);
    counts(&gateway, "onedoor_session_verdicts_total", &["session=\"express\"", "valid"], 3.0);
    counts(&gateway, "onedoor_session_verdicts_total", &["session=\"express\"", "no_cookie"], 2.0);
    counts(&gateway, "onedoor_session_verdicts_total", &["session=\"express\"", "unreadable"], 1.0);
    counts(&gateway, "onedoor_records_unreadable_total", &["format=\"express\""], 1.0);
    counts(&gateway, "onedoor_upstream_duration_seconds_count", &["upstream=\"app\""], 4.0);
    counts(&gateway, "onedoor_upstream_errors_total", &["upstream=\"gone\"", "unreachable"], 1.0);
    assert!(sample(&gateway, "onedoor_store_duration_seconds_count", &[]) >= 1.0);
    counts(&gateway, "onedoor_store_up", &[], 1.0);
    assert!(sample(&gateway, "onedoor_session_memory_total", &["miss"]) >= 1.0);
    redis.kill();
    eventually("the outage shows", || {
        (gateway.send(&get("/private/of-zoe").cookie(&cookie)).status() == 503).then_some(())
    });
    counts(&gateway, "onedoor_session_memory_armed", &[], 0.0);
    counts(&gateway, "onedoor_session_verdicts_total", &["unknown"], 1.0);
    // Who waits gives up a moment before the reading that it waits for.
    eventually("the error is counted", || (sample(&gateway, "onedoor_store_errors_total", &[]) >= 1.0).then_some(()));
    eventually("the store is told to be down", || (sample(&gateway, "onedoor_store_up", &[]) < 1.0).then_some(()));
    let page = get("/metrics").send(gateway.admin).text();
    for secret in ["zoe", "private", SECRET, "127.0.0.1"] {
        // An endpoint's address is the configuration's, not a client's.
        let samples = page.lines().filter(|line| !line.starts_with('#') && !line.starts_with("onedoor_endpoint_up"));
        let values = samples.flat_map(|line| line.split('"').skip(1).step_by(2));
        assert!(!values.into_iter().any(|value| value.contains(secret)), "{secret} is in\n{page}");
    }
}

#[test]
fn every_sample_belongs_to_a_metric_that_says_what_it_is() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    gateway.get("/");
    let response = get("/metrics").send(gateway.admin);
    assert!(response.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let page = response.text();
    let mut told = "";
    for line in page.lines() {
        match line.strip_prefix("# ").map(|comment| comment.split(' ').collect::<Vec<_>>()) {
            Some(words) if words[0] == "HELP" => told = words[1],
            Some(words) => assert!(words[0] == "TYPE" && words[1] == told, "{line}"),
            None => {
                assert!(line.starts_with(told), "{line} stands under {told}");
                line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
            }
        }
    }
    for name in
        ["onedoor_build_info", "onedoor_start_time_seconds", "onedoor_connections", "onedoor_log_lines_dropped_total"]
    {
        assert!(page.lines().any(|line| line.starts_with(name)), "{name}");
    }
}

#[test]
fn connections_bad_heads_and_forbidden_cookies_are_counted() {
    let redis = Redis::start();
    let app = Upstream::start(|_| Reply::new(200, &[("Set-Cookie", "connect.sid=s%3Aforged.signature")], ""));
    let gateway = express_gateway(&redis, &app.url(), "", "[[rules]]\ndest = \"app\"\nsession = \"off\"");
    let before = sample(&gateway, "onedoor_connections_total", &[]);
    let mut connection = Connection::open(gateway.address);
    connection.write("GET / HTTP/1.1\r\nno colon\r\n\r\n");
    assert_eq!(connection.response(false).unwrap().status(), 400);
    counts(&gateway, "onedoor_heads_refused_total", &[], 1.0);
    gateway.process.wait_for_output("a head that cannot be parsed was answered with a bare 400");
    counts(&gateway, "onedoor_connections_total", &[], before + 1.0);
    assert_eq!(gateway.get("/").status(), 200);
    counts(&gateway, "onedoor_set_cookies_removed_total", &["upstream=\"app\""], 1.0);
}

#[test]
fn counts_go_on_over_a_reload_which_is_counted_itself() {
    let app = Upstream::echo();
    let rules = crate::harness::open_rule(&format!("\"{}\"", app.url()));
    let gateway = Gateway::start(&rules);
    gateway.get("/");
    gateway.replace(&format!("{rules}\n[log]\nquery = true\n"));
    counts(&gateway, "onedoor_reloads_total", &["loaded"], 1.0);
    gateway.get("/");
    counts(&gateway, "onedoor_requests_total", &["rules[0] /**", "200"], 2.0);
    gateway.replace("nonsense");
    counts(&gateway, "onedoor_reloads_total", &["refused"], 1.0);
}
