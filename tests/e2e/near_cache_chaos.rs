//! Chaos against the memory of sessions, with an oracle that knows the truth: no answer is staler than allowed, none
//! hangs, nobody is refused who is logged in, and all is well soon after. `tests/chaos` runs it for longer.

mod oracle;

use crate::harness::{Cluster, Redis, Sentinel, eventually};
use oracle::{SESSIONS, Site, Store, hang, key, survive};
use std::{thread, time::Duration};

/// One server, and both ways of invalidation.
fn survive_both(name: &str, mut chaos: impl FnMut(&Site, &mut Redis)) {
    for (events, by) in [(false, "tracking"), (true, "events")] {
        survive_alone(&format!("{name} ({by})"), events, &mut chaos);
    }
}

fn survive_alone(name: &str, events: bool, mut chaos: impl FnMut(&Site, &mut Redis)) {
    let mut redis = Redis::start();
    if events {
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"]);
    }
    let store = Store { url: redis.url(), homes: vec![redis.address(); SESSIONS + 1], is_bare: false };
    survive(name, store, |site| chaos(site, &mut redis));
}

fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
fn quiet() {
    survive_both("nothing happens", |_, _| pause(100));
}

#[test]
fn the_listener_is_killed_over_and_over() {
    survive_both("the listener is killed every 150 ms", |_, redis| {
        kill_listener(redis);
        pause(150);
    });
}

fn kill_listener(redis: &Redis) {
    let list = redis.ask(&["CLIENT", "LIST"]).unwrap_or_default();
    let listener = list.lines().find(|line| line.contains("name=onedoor-listener"));
    if let Some(id) = listener.and_then(|line| line.split(' ').next()?.strip_prefix("id=")) {
        redis.ask(&["CLIENT", "KILL", "ID", id]);
    }
}

#[test]
fn keys_without_a_prefix_are_listened_to_now_and_then() {
    let redis = Redis::start();
    let store = Store { url: redis.url(), homes: vec![redis.address(); SESSIONS + 1], is_bare: true };
    survive("no prefix, events are switched off and on, the listener is killed", store, |_| {
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"]);
        kill_listener(&redis);
        pause(700);
        kill_listener(&redis);
        pause(100);
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
        pause(2000);
    });
}

#[test]
fn all_clients_are_killed_over_and_over() {
    survive_both("all normal clients are killed every 150 ms", |site, _| {
        site.ask(0, &["CLIENT", "KILL", "TYPE", "normal"]);
        pause(150);
    });
}

#[test]
fn everything_is_flushed_over_and_over() {
    survive_both("FLUSHALL every 150 ms", |site, _| {
        site.all_end(|| assert!(site.ask(0, &["FLUSHALL"]).is_some()));
        pause(150);
    });
}

#[test]
fn redis_is_restarted_over_and_over() {
    survive_both("Redis is restarted every second", |_, redis| {
        redis.restart();
        pause(1000);
    });
}

#[test]
fn redis_hangs_over_and_over() {
    survive_both("SIGSTOP over and over", |_, redis| {
        redis.pause();
        thread::sleep(hang());
        redis.resume();
        pause(500);
    });
}

#[test]
fn events_are_switched_off_and_on() {
    survive_alone("notify-keyspace-events is switched off and on", true, |_, redis| {
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
        pause(2000);
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"]);
        // Else they are turned to only seconds later.
        kill_listener(redis);
        pause(700);
    });
}

#[test]
fn a_storm_of_renewals() {
    let renew = "for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, 600) end return 1";
    let keys: Vec<_> = (0..SESSIONS).map(key).collect();
    let count = SESSIONS.to_string();
    let storm: Vec<&str> = ["EVAL", renew, &count].into_iter().chain(keys.iter().map(String::as_str)).collect();
    survive_both("a storm of renewals", |site, _| {
        site.ask(0, &storm);
        pause(1);
    });
}

/// A primary and its replica, of which sentinels or a cluster choose one.
struct Pair {
    primary: Redis,
    replica: Redis,
}

impl Pair {
    /// Waits until the replica has everything that the primary has now.
    fn in_step(&self) {
        let offset = |field: &str| -> Option<u64> {
            let info = self.primary.ask(&["INFO", "replication"])?;
            let (_, rest) = info.split_once(field)?;
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        let goal = eventually("the primary says how far it is", || offset("master_repl_offset:"));
        eventually("the replica has it all", || offset("state=online,offset=").filter(|done| *done >= goal));
    }

    /// Once the replica has taken over and whoever asks is told so, the roles are changed, and the sessions have moved.
    fn change_over(&mut self, site: &Site, told: impl Fn(&str) -> bool) {
        let port = self.replica.address().port().to_string();
        eventually("the replica has taken over", || told(&port).then_some(()));
        site.move_home(self.primary.address(), self.replica.address());
        std::mem::swap(&mut self.primary, &mut self.replica);
    }

    /// The server that was replaced is a replica that has everything.
    fn healed(&mut self) {
        self.replica.wait_for_info("replication", "role:slave");
        self.replica.wait_for_info("replication", "master_link_status:up");
    }
}

#[test]
fn sentinels_replace_a_primary_that_is_killed_or_hangs() {
    let primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    let sentinel = Sentinel::of(&primary);
    let mut pair = Pair { primary, replica };
    let store = Store { url: sentinel.url(), homes: vec![pair.primary.address(); SESSIONS + 1], is_bare: false };
    let mut hangs = false;
    survive("sentinel failover", store, |site| {
        site.undisturbed(|| {
            pair.in_step();
            if hangs {
                pair.primary.pause()
            } else {
                pair.primary.kill()
            }
            let primary = || sentinel.redis.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
            pair.change_over(site, |port| primary().is_some_and(|address| address.ends_with(port)));
        });
        pause(500);
        if hangs {
            pair.replica.resume()
        } else {
            pair.replica.restart()
        }
        hangs = !hangs;
        pair.healed();
        sentinel.redis.wait_for_info("sentinel", "slaves=1");
    });
}

fn shared_by(cluster: &Cluster) -> Store {
    let homes = (0..=SESSIONS).map(|session| cluster.nodes[cluster.home_of(&key(session))].address()).collect();
    Store { url: cluster.url(), homes, is_bare: false }
}

#[test]
fn a_primary_of_a_cluster_hangs() {
    let cluster = Cluster::start(0);
    let mut turn = 0;
    survive("a cluster's primaries hang in turn", shared_by(&cluster), |_| {
        cluster.nodes[turn].pause();
        thread::sleep(hang());
        cluster.nodes[turn].resume();
        pause(500);
        turn = (turn + 1) % 3;
    });
}

#[test]
fn slots_of_a_cluster_move() {
    for events in [false, true] {
        let cluster = Cluster::start(0);
        if events {
            cluster.nodes.iter().for_each(|node| drop(node.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"])));
        }
        let mut homes: Vec<_> = (0..SESSIONS).map(|session| cluster.home_of(&key(session))).collect();
        let (mut session, by) = (0, if events { "events" } else { "tracking" });
        survive(&format!("a slot moves every 50 ms ({by})"), shared_by(&cluster), |site| {
            let (from, to) = (homes[session], (homes[session] + 1) % 3);
            site.undisturbed(|| {
                cluster.hand_over(&key(session), from, to, || pause(20));
                site.move_one(session, cluster.nodes[to].address());
            });
            homes[session] = to;
            session = (session + 1) % SESSIONS;
            pause(30);
        });
    }
}

#[test]
fn a_primary_of_a_cluster_is_killed() {
    let mut cluster = Cluster::start(1);
    let store = shared_by(&cluster);
    let replica = cluster.nodes.remove(3);
    let mut pair = Pair { primary: cluster.nodes.remove(0), replica };
    survive("a cluster's primary is killed", store, |site| {
        site.undisturbed(|| {
            pair.in_step();
            pair.primary.kill();
            let other = &cluster.nodes[0];
            pair.change_over(site, |port| {
                let slots = other.ask(&["CLUSTER", "SLOTS"]).unwrap_or_default();
                slots.starts_with(&format!("0 5461 127.0.0.1 {port} "))
            });
        });
        pause(500);
        pair.replica.restart();
        pair.healed();
    });
}
