//! Chaos: whatever is killed and started again under a loop of logged-in requests, no session is lost and nobody
//! gets in without one.

use crate::harness::{Gateway, Redis, SECRET, Upstream, express_gateway, get, record, store_session};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

const RULES: &str = "[[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"off\"\n[[rules]]\ndest = \"app\"";

/// What the loop has seen so far.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    good: AtomicUsize,
    down: AtomicUsize,
}

impl Tally {
    /// Waits until the logged-in loop has passed so many more requests.
    fn more(&self, count: usize) {
        let target = self.good.load(Ordering::SeqCst) + count;
        crate::harness::eventually("logged-in requests pass again", || {
            (self.good.load(Ordering::SeqCst) >= target).then_some(())
        });
    }

    /// Waits until the logged-in loop has met an outage.
    fn outage(&self) {
        let before = self.down.load(Ordering::SeqCst);
        crate::harness::eventually("the outage shows", || (self.down.load(Ordering::SeqCst) > before).then_some(()));
    }

    /// A logged-in user who never gives up: down is allowed, logged out is not.
    fn logged_in(&self, address: SocketAddr, cookie: &str) {
        while !self.stop.load(Ordering::SeqCst) {
            let Some(response) = get("/private").cookie(cookie).try_send(address) else { continue };
            assert!(matches!(response.status(), 200 | 502 | 503 | 504), "{}: {}", response.start, response.text());
            assert!(response.all("set-cookie").is_empty());
            let counter = if response.status() == 200 { &self.good } else { &self.down };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A stranger, with and without a forged cookie: nothing but a refusal is allowed.
    fn stranger(&self, address: SocketAddr) {
        let forged = format!("connect.sid={}", crate::harness::signed("one", "a wrong secret"));
        while !self.stop.load(Ordering::SeqCst) {
            for request in [get("/private"), get("/private").cookie(&forged)] {
                let Some(response) = request.try_send(address) else { continue };
                assert!(matches!(response.status(), 401 | 503), "{}", response.start);
            }
        }
    }
}

/// Stops the loops even when the chaos itself fails.
struct StopAtEnd<'a>(&'a Tally);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

fn survive(mut chaos: impl FnMut(&mut Redis, &mut [Upstream; 2], &mut Gateway, &Tally)) {
    let mut redis = Redis::start();
    let mut apps = [Upstream::echo(), Upstream::echo()];
    let two = format!("{}\", \"{}", apps[0].url(), apps[1].url());
    let url = redis.url();
    let mut gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [session]
        format = "express"
        secrets = ["{SECRET}"]
        user = "user.id"
        [upstreams]
        app = ["{two}"]
        {RULES}
        "#
    ));
    let cookie = store_session(&redis, "one", &record("1", "[]"));
    let (address, tally) = (gateway.address, Tally::default());
    thread::scope(|scope| {
        let stop = StopAtEnd(&tally);
        let (tally, cookie) = (&tally, &cookie);
        for _ in 0..2 {
            scope.spawn(move || tally.logged_in(address, cookie));
        }
        scope.spawn(move || tally.stranger(address));
        tally.more(20);
        for _ in 0..3 {
            chaos(&mut redis, &mut apps, &mut gateway, tally);
            tally.more(20);
        }
        drop(stop);
    });
    for request in apps.iter().flat_map(Upstream::requests) {
        assert_eq!(request.all("x-forwarded-user"), ["1"], "a stranger was let through");
    }
}

#[test]
fn redis_is_killed_and_started_again() {
    survive(|redis, _, _, _| {
        redis.kill();
        redis.restart();
    });
}

#[test]
fn redis_hangs_for_a_while() {
    survive(|redis, _, _, tally| {
        redis.pause();
        tally.outage();
        redis.resume();
    });
}

#[test]
fn each_upstream_is_stopped_and_started_again() {
    survive(|_, apps, _, tally| {
        for app in apps {
            app.stop();
            tally.more(10);
            app.restart();
            tally.more(10);
        }
    });
}

#[test]
fn the_gateway_is_killed_and_started_again() {
    survive(|_, _, gateway, _| gateway.restart());
}

#[test]
fn everything_at_once() {
    survive(|redis, apps, gateway, _| {
        redis.kill();
        apps[0].stop();
        gateway.process.kill();
        redis.restart();
        gateway.restart();
        apps[0].restart();
    });
}

#[test]
fn a_session_that_was_logged_out_stays_so_through_a_restart() {
    let (mut redis, app) = (Redis::start(), Upstream::echo());
    let mut gateway = express_gateway(&redis, &app.url(), "", RULES);
    let cookie = store_session(&redis, "one", &record("1", "[]"));
    assert_eq!(gateway.send(&get("/").cookie(&cookie)).status(), 200);
    redis.ask(&["DEL", "sess:one"]);
    crate::harness::eventually("it is refused", || {
        (gateway.send(&get("/").cookie(&cookie)).status() == 401).then_some(())
    });
    gateway.restart();
    redis.restart();
    crate::harness::eventually("the refusal is back", || {
        let response = gateway.send(&get("/").cookie(&cookie));
        assert!(matches!(response.status(), 401 | 503), "{}", response.start);
        (response.status() == 401).then_some(())
    });
}
