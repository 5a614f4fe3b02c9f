//! Quick start: `onedoor demo` on a machine with nothing else on it, and with a Redis.

use crate::harness::{Dir, Jar, Process, Redis, eventually, free_address, get, onedoor, post};
use std::{net::SocketAddr, process::Command};

fn demo(redis: Option<&Redis>) -> (Process, SocketAddr) {
    let address = free_address();
    let mut command = onedoor(&["demo", "--listen", &address.to_string()]);
    if let Some(redis) = redis {
        command.env("REDIS_URL", redis.url());
    }
    let mut process = Process::start(&mut command);
    eventually("the demo serves", || {
        assert!(process.is_running(), "the demo ended:\n{}", process.output());
        get("/_onedoor/healthz").try_send(address).filter(|response| response.status() == 200)
    });
    (process, address)
}

/// Logs in and counts twice.
fn log_in_and_count(address: SocketAddr) -> Jar {
    let mut jar = Jar::default();
    let response = jar.send(post("/login", "user=zoe"), address);
    assert!(matches!(response.status(), 200..400), "{}: {}", response.start, response.text());
    assert!(!jar.text().is_empty(), "logging in sets a cookie");
    for _ in 0..2 {
        let response = jar.send(post("/increment", ""), address);
        assert!(matches!(response.status(), 200..400), "{}: {}", response.start, response.text());
    }
    jar
}

fn count(jar: &mut Jar, address: SocketAddr) -> Option<i64> {
    let response = jar.send(get("/").header("Accept", "application/json"), address);
    (response.status() == 200).then(|| response.json()["count"].as_i64().unwrap_or_default())
}

#[test]
fn it_prints_what_to_try_and_that_works_as_printed() {
    let (process, address) = demo(None);
    let output = process.wait_for_output("curl");
    assert!(output.contains(&format!("http://{address}")), "{output}");
    let dir = Dir::new();
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 3, "{output}");
    for line in lines {
        let ran = Command::new("sh").args(["-c", line]).current_dir(dir.path()).output().unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn a_browser_without_a_session_is_sent_to_the_login_page_and_back() {
    let (_process, address) = demo(None);
    let response = get("/").html().send(address);
    assert_eq!((response.status(), response.header("location")), (303, Some("/login?return_to=%2F")));
    let page = get("/login?return_to=%2F").html().send(address);
    assert_eq!(page.status(), 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
}

#[test]
fn a_program_without_a_session_is_told_so() {
    let (_process, address) = demo(None);
    let response = get("/").send(address);
    assert_eq!((response.status(), response.reason().as_str()), (401, "session_required"));
    assert!(response.json()["login"].as_str().unwrap().starts_with("/login"));
}

#[test]
fn one_logs_in_counts_and_logs_out() {
    let (_process, address) = demo(None);
    let mut jar = log_in_and_count(address);
    assert_eq!(count(&mut jar, address), Some(2));
    let old = jar.clone();
    jar.send(post("/logout", ""), address);
    assert_eq!(count(&mut jar, address), None);
    assert_eq!(count(&mut old.clone(), address), None, "the old cookie is dead too");
}

#[test]
fn with_redis_the_session_survives_the_gateway_and_redis() {
    let mut redis = Redis::start();
    let (mut process, address) = demo(Some(&redis));
    let mut jar = log_in_and_count(address);
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    let (_process, address) = demo(Some(&redis));
    assert_eq!(count(&mut jar, address), Some(2));
    redis.kill();
    eventually("the store is gone", || (get("/").cookie(jar.text()).send(address).status() == 503).then_some(()));
    redis.restart();
    eventually("the store heals", || count(&mut jar, address).filter(|count| *count == 2));
}

#[test]
fn without_redis_it_says_that_sessions_live_in_this_process() {
    let (process, _address) = demo(None);
    process.wait_for_output("memory");
}
