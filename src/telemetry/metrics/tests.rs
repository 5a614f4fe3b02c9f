//! The page is what Prometheus reads, and the README lists what it holds.

use super::*;
use crate::tasks::Worker;
use std::time::Duration;

#[test]
fn the_readme_lists_every_metric_and_no_other() {
    let row = |family: &&Family| format!("| `{}` | {} | {} |", family.name, family.labels.join(", "), family.help);
    let families: Vec<String> = families::ALL.iter().map(row).collect();
    let readme = include_str!("../../../README.md");
    let listed: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `onedoor_")).collect();
    assert_eq!(listed, families, "README's table should be:\n{}", families.join("\n"));
}

#[test]
fn names_and_labels_are_prometheus_own() {
    for Family { name, kind, labels, .. } in families::ALL.iter().copied() {
        let counts = matches!(kind, Kind::Counter | Kind::Tally);
        assert_eq!(name.ends_with("_total"), counts, "{name}");
        assert_eq!(name.ends_with("_seconds"), *kind == Kind::Histogram || name.contains("_time_"), "{name}");
        for word in labels.iter().chain([name]) {
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
        }
    }
}

#[test]
fn workers_count_apart_and_the_page_sums_up() {
    let metrics = Metrics::new(2);
    let (store, cookies) =
        (metrics.gauge(&families::STORE_UP, &[]), metrics.counter(&families::COOKIES_REMOVED, &["a"]));
    let requests = metrics.tally(&families::REQUESTS, &["rules[0] /\"\\"]);
    let duration = metrics.histogram(&families::REQUEST_DURATION, &[""]);
    store.set(1);
    cookies.add(Worker(0));
    cookies.add_many(Worker(1), 2);
    for (worker, status, reason) in
        [(0, 200, ""), (1, 200, ""), (1, 401, "session_required"), (1, 303, "session_required")]
    {
        requests.add(Worker(worker), status, reason);
    }
    duration.add(Worker(0), Duration::from_micros(300));
    duration.add(Worker(1), Duration::from_secs(60));
    let page = metrics.page();
    for line in [
        "# TYPE onedoor_set_cookies_removed_total counter",
        "onedoor_set_cookies_removed_total{upstream=\"a\"} 3",
        "onedoor_store_up 1",
        "onedoor_requests_total{rule=\"rules[0] /\\\"\\\\\",status=\"200\",reason=\"\"} 2",
        "onedoor_requests_total{rule=\"rules[0] /\\\"\\\\\",status=\"401\",reason=\"session_required\"} 1",
        "onedoor_requests_total{rule=\"rules[0] /\\\"\\\\\",status=\"303\",reason=\"session_required\"} 1",
        "onedoor_request_duration_seconds_bucket{rule=\"\",le=\"0.00025\"} 0",
        "onedoor_request_duration_seconds_bucket{rule=\"\",le=\"0.0005\"} 1",
        "onedoor_request_duration_seconds_bucket{rule=\"\",le=\"+Inf\"} 2",
        "onedoor_request_duration_seconds_sum{rule=\"\"} 60.000300",
        "onedoor_request_duration_seconds_count{rule=\"\"} 2",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
    assert!(!page.contains("onedoor_reloads_total"), "nobody counts these here");
}

#[test]
fn a_cell_lives_on_in_whoever_asks_for_it_again_and_ends_with_the_last() {
    let metrics = Metrics::new(1);
    let old = metrics.counter(&families::COOKIES_REMOVED, &["a"]);
    old.add(Worker(0));
    let new = metrics.counter(&families::COOKIES_REMOVED, &["a"]);
    drop(old);
    new.add(Worker(0));
    assert!(metrics.page().contains("onedoor_set_cookies_removed_total{upstream=\"a\"} 2\n"));
    drop(new);
    assert!(!metrics.page().contains("upstream=\"a\""));
}

#[test]
fn a_tally_keeps_its_size_whatever_is_counted() {
    let metrics = Metrics::new(1);
    let requests = metrics.tally(&families::REQUESTS, &["r"]);
    for status in 100..1000 {
        requests.add(Worker(0), status, "");
    }
    let page = metrics.page();
    assert_eq!(page.lines().filter(|line| line.starts_with("onedoor_requests_total")).count(), 48);
    assert!(page.contains("status=\"0\",reason=\"other\"} 853\n"));
}
