//! Chaos against the memory of sessions, with an oracle that knows the truth: no answer is staler than allowed, none
//! hangs, nobody is refused who is logged in, and all is well soon after. `tests/chaos` runs it for longer.

use crate::harness::{Gateway, Redis, Upstream, get};
use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// `max_staleness` of these gateways.
const STALENESS: Duration = Duration::from_millis(1000);
/// `[store] timeout`, and what a busy machine may add to it.
const HANGING: Duration = Duration::from_millis(500 + 2500);
const SESSIONS: usize = 24;

/// Where a session's record is. PHP logs in again under the same id, as happens here all the time.
fn key(session: usize) -> String {
    format!("PHPREDIS_SESSION:{session:032}")
}

fn cookie(session: usize) -> String {
    format!("PHPSESSID={session:032}")
}

fn record(user: usize) -> String {
    format!("user|a:1:{{s:2:\"id\";i:{user};}}")
}

/// What is known of one session: since when it is there, gone, or perhaps one of both.
struct Truth(Mutex<Vec<(Instant, Option<bool>)>>);

impl Truth {
    fn turn(&self, state: Option<bool>) {
        self.0.lock().unwrap().push((Instant::now(), state));
    }

    /// Whether the session may have been in this state at some time of the stretch.
    fn may_be(&self, state: bool, from: Instant, to: Instant) -> bool {
        let turns = self.0.lock().unwrap();
        let ends = turns.iter().skip(1).map(|(at, _)| *at).chain([to + Duration::from_secs(3600)]);
        turns.iter().zip(ends).any(|((at, known), end)| *at <= to && end >= from && known.is_none_or(|it| it == state))
    }
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    passed: AtomicUsize,
    refused: AtomicUsize,
    unavailable: AtomicUsize,
    stale: Mutex<Duration>,
    slowest: Mutex<Duration>,
    wrong: Mutex<Vec<String>>,
}

struct Site {
    redis: Mutex<Redis>,
    address: SocketAddr,
    truths: Vec<Truth>,
    /// Who holds it changes sessions, and nobody else does.
    changing: Mutex<()>,
    tally: Tally,
}

impl Site {
    /// Logs users in and out, over and over.
    fn change(&self, url: &str) {
        let mut number = 0_usize;
        while !self.tally.stop.load(Ordering::SeqCst) {
            number += 1;
            let index = number * 7 % SESSIONS;
            let alive = !number.is_multiple_of(3);
            let changing = self.changing.lock().unwrap();
            self.truths[index].turn(None);
            let (key, record) = (key(index), record(index));
            let set = ["SET", &key, &record, "EX", "600"];
            let delete = ["DEL", &key];
            if ask(url, if alive { &set } else { &delete }).is_some() {
                self.truths[index].turn(Some(alive));
            }
            drop(changing);
            thread::sleep(Duration::from_millis(4));
        }
    }

    /// A user who asks, and an oracle who judges the answers.
    fn judge(&self, user: usize) {
        let mut number = user;
        while !self.tally.stop.load(Ordering::SeqCst) {
            number += 5;
            let index = number % SESSIONS;
            let cookie = cookie(index);
            let begun = Instant::now();
            let Some(response) = get("/").cookie(&cookie).try_send(self.address) else { continue };
            let ended = Instant::now();
            let truth = &self.truths[index];
            let fault = match response.status() {
                200 => {
                    self.tally.passed.fetch_add(1, Ordering::SeqCst);
                    let before = begun.checked_sub(STALENESS).unwrap_or(begun);
                    let app = response.json();
                    let headers = app["headers"].as_array().unwrap();
                    let own = |pair: &&serde_json::Value| pair[0] == "x-forwarded-user";
                    let user = headers.iter().find(own).map(|pair| pair[1].as_str().unwrap().to_owned());
                    if user != Some(index.to_string()) {
                        Some(format!("{index} is {user:?}"))
                    } else {
                        self.note_staleness(truth, begun, ended);
                        (!truth.may_be(true, before, ended)).then(|| format!("{index} passed, but was gone"))
                    }
                }
                401 => {
                    self.tally.refused.fetch_add(1, Ordering::SeqCst);
                    (!truth.may_be(false, begun, ended)).then(|| format!("{index} was refused, but was there"))
                }
                503 => {
                    self.tally.unavailable.fetch_add(1, Ordering::SeqCst);
                    None
                }
                other => Some(format!("{other} for {index}")),
            };
            let mut slowest = self.tally.slowest.lock().unwrap();
            *slowest = (*slowest).max(ended - begun);
            drop(slowest);
            let fault = fault.or((ended - begun > HANGING).then(|| format!("{index} waited {:?}", ended - begun)));
            self.tally.wrong.lock().unwrap().extend(fault);
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn note_staleness(&self, truth: &Truth, begun: Instant, ended: Instant) {
        for milliseconds in 0..=STALENESS.as_millis() as u64 {
            let allowed = Duration::from_millis(milliseconds);
            if truth.may_be(true, begun.checked_sub(allowed).unwrap_or(begun), ended) {
                let mut stale = self.tally.stale.lock().unwrap();
                *stale = (*stale).max(allowed);
                return;
            }
        }
    }

    fn all_turn(&self, state: Option<bool>) {
        for truth in &self.truths {
            truth.turn(state);
        }
    }

    fn ask(&self, command: &[&str]) {
        ask(&self.redis.lock().unwrap().url(), command);
    }
}

/// A command to a server that may be away.
fn ask(url: &str, command: &[&str]) -> Option<()> {
    use std::io::{Read, Write};
    let address: SocketAddr = url.trim_start_matches("redis://").parse().unwrap();
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
    let mut request = format!("*{}\r\n", command.len());
    for part in command {
        request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0];
    stream.read_exact(&mut answer).ok()?;
    (answer != *b"-").then_some(())
}

/// How long the chaos lasts.
fn duration() -> Duration {
    let seconds = std::env::var("ONEDOOR_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

fn survive(name: &str, events: bool, mut chaos: impl FnMut(&Site)) {
    let (redis, app) = (Redis::start(), Upstream::echo());
    if events {
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"]);
    }
    let url = redis.url();
    let gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [store.cache]
        max_staleness = "1s"
        [session]
        format = "php"
        user = "user.id"
        [upstreams]
        app = "{}"
        [[rules]]
        path = ["/login", "/login/"]
        respond = {{ status = 204 }}
        [[rules]]
        dest = "app"
        "#,
        app.url()
    ));
    let truths = (0..SESSIONS).map(|_| Truth(Mutex::new(vec![(Instant::now(), Some(false))]))).collect();
    let site = Site {
        redis: Mutex::new(redis),
        address: gateway.address,
        truths,
        changing: Mutex::default(),
        tally: Tally::default(),
    };
    let site = &site;
    thread::scope(|scope| {
        struct StopAtEnd<'a>(&'a AtomicBool);
        impl Drop for StopAtEnd<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let stop = StopAtEnd(&site.tally.stop);
        let url = &url;
        scope.spawn(move || site.change(url));
        for user in 0..3 {
            scope.spawn(move || site.judge(user));
        }
        let begun = Instant::now();
        while begun.elapsed() < duration() {
            chaos(site);
        }
        drop(stop);
    });
    let recovery = Instant::now();
    site.redis.lock().unwrap().set(&key(SESSIONS), record(SESSIONS));
    let cookie = cookie(SESSIONS);
    crate::harness::eventually("all is well", || {
        let armed = get("/metrics").send(gateway.admin).text().contains("onedoor_session_memory_armed 1");
        (get("/").cookie(&cookie).send(gateway.address).status() == 200 && armed).then_some(())
    });
    let tally = &site.tally;
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let wrong = tally.wrong.lock().unwrap();
    eprintln!(
        "report: {name}: {} passed, {} refused, {} unavailable; stalest {:?}, slowest {:?}, well after {:?}; {} wrong",
        count(&tally.passed),
        count(&tally.refused),
        count(&tally.unavailable),
        tally.stale.lock().unwrap(),
        tally.slowest.lock().unwrap(),
        recovery.elapsed(),
        wrong.len(),
    );
    assert!(wrong.is_empty(), "{name}: {} wrong answers, the first: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(count(&tally.passed) > 20 && count(&tally.refused) > 5, "{name}: the chaos let nothing happen");
}

/// Both ways of invalidation.
fn survive_both(name: &str, mut chaos: impl FnMut(&Site)) {
    for (events, by) in [(false, "tracking"), (true, "events")] {
        survive(&format!("{name} ({by})"), events, &mut chaos);
    }
}

fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
fn quiet() {
    survive_both("nothing happens", |_| pause(100));
}

#[test]
fn the_listener_is_killed_over_and_over() {
    survive_both("the listener is killed every 150 ms", |site| {
        let redis = site.redis.lock().unwrap();
        let list = redis.ask(&["CLIENT", "LIST"]).unwrap_or_default();
        let listener = list.lines().find(|line| line.contains("name=onedoor-listener"));
        if let Some(id) = listener.and_then(|line| line.split(' ').next()?.strip_prefix("id=")) {
            redis.ask(&["CLIENT", "KILL", "ID", id]);
        }
        drop(redis);
        pause(150);
    });
}

#[test]
fn all_clients_are_killed_over_and_over() {
    survive_both("all normal clients are killed every 150 ms", |site| {
        site.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        pause(150);
    });
}

#[test]
fn everything_is_flushed_over_and_over() {
    survive_both("FLUSHALL every 150 ms", |site| {
        let changing = site.changing.lock().unwrap();
        site.all_turn(None);
        site.ask(&["FLUSHALL"]);
        site.all_turn(Some(false));
        drop(changing);
        pause(150);
    });
}

#[test]
fn redis_is_restarted_over_and_over() {
    survive_both("Redis is restarted every second", |site| {
        site.redis.lock().unwrap().restart();
        pause(1000);
    });
}

#[test]
fn redis_hangs_over_and_over() {
    survive_both("SIGSTOP for 1.5 s", |site| {
        site.redis.lock().unwrap().pause();
        pause(1500);
        site.redis.lock().unwrap().resume();
        pause(500);
    });
}

#[test]
fn events_are_switched_off_and_on() {
    survive("notify-keyspace-events is switched off and on", true, |site| {
        site.ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
        pause(700);
        site.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"]);
        pause(700);
    });
}

#[test]
fn a_storm_of_renewals() {
    survive_both("a storm of renewals", |site| {
        for index in 0..SESSIONS {
            site.ask(&["EXPIRE", &format!("sess:{index}"), "600"]);
        }
        pause(1);
    });
}
