//! Shares of endpoints, and a simulation of clients that wait for each answer.

use super::{
    super::{endpoint::Place, health::Health},
    *,
};
use crate::{
    clock,
    config::{self, Environment},
    tasks::Workers,
    telemetry::metrics::{Metrics, families},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

fn endpoints(count: usize) -> Vec<Arc<Endpoint>> {
    let urls: Vec<String> = (1..=count).map(|n| format!("\"http://10.0.0.{n}\"")).collect();
    let text = format!("[upstreams]\na = [{}]\n[[rules]]\ndest = 'a'\nsession = 'off'\n", urls.join(", "));
    let config = config::read("gateway.toml", &text, &Environment::from_iter::<[(&str, &str); 0]>([]));
    let upstream = config.config.expect("a configuration").upstreams.remove(0);
    let (workers, metrics) = (Workers::current(), Metrics::new(1));
    let make = |spec| {
        let health = Health::new(metrics.gauge(&families::ENDPOINT_UP, &["a", "b"]));
        Arc::new(Endpoint::new(spec, None, &upstream, &workers, None, health))
    };
    upstream.endpoints.iter().map(make).collect()
}

fn shares(
    balance: &upstreams::Balance,
    endpoints: &[Arc<Endpoint>],
    keys: impl Iterator<Item = Option<u64>>,
) -> BTreeMap<String, usize> {
    let (balance, now) = (Balance::new(balance), clock::now());
    let mut shares = BTreeMap::new();
    for key in keys {
        let chosen = balance.choose(endpoints, key, now, |_| true).expect("all may");
        *shares.entry(chosen.spec().to_string()).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn every_endpoint_gets_its_share() {
    let endpoints = endpoints(4);
    let turns = shares(&upstreams::Balance::RoundRobin, &endpoints, (0..400).map(|_| None));
    assert!(turns.len() == 4 && turns.values().all(|count| *count == 100), "{turns:?}");
    let idle = shares(&upstreams::Balance::LeastRequests, &endpoints, (0..4000).map(|_| None));
    assert!(idle.len() == 4 && idle.values().all(|count| (800..1200).contains(count)), "{idle:?}");
    let by_user = upstreams::Balance::Hash(upstreams::HashBy::User);
    let hashed = shares(&by_user, &endpoints, (0..4000).map(|key| Some(mix(key))));
    assert!(hashed.len() == 4 && hashed.values().all(|count| (800..1200).contains(count)), "{hashed:?}");
}

#[tokio::test]
async fn the_one_with_more_to_do_is_left_alone() {
    let endpoints = endpoints(4);
    let _busy: Vec<_> = (0..3).map(|_| endpoints[0].admit().expect("there is room")).collect();
    let shares = shares(&upstreams::Balance::LeastRequests, &endpoints, (0..1000).map(|_| None));
    assert!(shares.len() == 3 && !shares.contains_key("http://10.0.0.1"), "{shares:?}");
}

#[tokio::test]
async fn when_an_endpoint_goes_only_what_was_there_moves() {
    let endpoints = endpoints(5);
    let (balance, now) = (Balance::new(&upstreams::Balance::Hash(upstreams::HashBy::Ip)), clock::now());
    for key in (0..1000).map(mix) {
        let all = balance.choose(&endpoints, Some(key), now, |_| true).expect("all may");
        let gone = |endpoint: &Arc<Endpoint>| !Arc::ptr_eq(endpoint, &endpoints[2]);
        let left = balance.choose(&endpoints, Some(key), now, gone).expect("four may");
        assert!(Arc::ptr_eq(all, left) || Arc::ptr_eq(all, &endpoints[2]));
    }
}

/// How long a request takes, and whether it goes well.
struct Work(Duration, bool);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many clients each send one request after the other for a while. What an endpoint does is told by its place and a
/// number that is evenly spread. Answers how many requests each had.
fn run(
    endpoints: &[Arc<Endpoint>],
    clients: u64,
    (start, duration): (Instant, Duration),
    work: impl Fn(usize, u64) -> Work,
) -> Vec<f64> {
    let balance = Balance::new(&upstreams::Balance::LeastRequests);
    let (mut had, mut under_way, mut dice) = (vec![0.0; endpoints.len()], BTreeMap::new(), 1);
    let mut due: BinaryHeap<_> = (0..clients).map(|client| Reverse((start, client))).collect();
    while let Some(Reverse((now, client))) = due.pop().filter(|Reverse((at, _))| *at < start + duration) {
        let over: Option<(Place, usize, Work)> = under_way.remove(&client);
        if let Some((_place, at, Work(took, well))) = over {
            let speed = endpoints[at].speed();
            speed.fared(well);
            if well {
                speed.answered(took, now);
            }
            had[at] += 1.0;
        }
        let chosen = balance.choose(endpoints, None, now, |_| true).expect("all may");
        chosen.speed().ask(now);
        let place = chosen.admit().expect("there is room");
        let at = endpoints.iter().position(|endpoint| Arc::ptr_eq(endpoint, chosen)).expect("one of them");
        dice = mix(dice);
        let doing = work(at, dice);
        // A little apart, so that nothing goes in step.
        due.push(Reverse((now + doing.0 + Duration::from_micros(50 + dice % 200), client)));
        under_way.insert(client, (place, at, doing));
    }
    had
}

/// What the last one had beside an equal share.
fn share_of_last(had: &[f64]) -> f64 {
    had[had.len() - 1] * had.len() as f64 / had.iter().sum::<f64>()
}

fn slow_fourth(endpoint: usize, _: u64) -> Work {
    Work(millis(if endpoint == 3 { 200 } else { 2 }), true)
}

#[tokio::test]
async fn one_slow_endpoint_costs_next_to_nothing() {
    for (clients, seconds) in [(1, 30), (8, 10), (64, 5)] {
        let time = (clock::now(), Duration::from_secs(seconds));
        let three: f64 = run(&endpoints(3), clients, time, slow_fourth).iter().sum();
        let four = run(&endpoints(4), clients, time, slow_fourth);
        let ratio = four.iter().sum::<f64>() / three;
        assert!(ratio > 0.85 && four[3] > 0.0, "{clients} clients: {ratio}, {four:?}");
    }
}

#[tokio::test]
async fn requests_that_take_long_everywhere_starve_nobody() {
    for (clients, every) in [(1, 20), (8, 10), (64, 3), (64, 2)] {
        let mixed = |_, dice| Work(millis(if dice % every == 0 { 3000 } else { 2 }), true);
        let had = run(&endpoints(4), clients, (clock::now(), Duration::from_secs(300)), mixed);
        let mean = had.iter().sum::<f64>() / 4.0;
        let is_even = had.iter().all(|had| (0.5..1.5).contains(&(had / mean)));
        assert!(is_even, "{clients} clients, one in {every} takes long: {had:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_at_once_gets_no_more_than_its_share() {
    for (count, clients) in [(2, 1), (2, 64), (4, 8), (4, 64)] {
        let failing = |endpoint, _| if endpoint == count - 1 { Work(millis(0), false) } else { Work(millis(50), true) };
        let had = run(&endpoints(count), clients, (clock::now(), Duration::from_secs(20)), failing);
        assert!(share_of_last(&had) < 1.1, "{clients} clients: {had:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_quick_again_has_its_share_again() {
    for clients in [1, 8] {
        let (endpoints, start, part) = (endpoints(4), clock::now(), Duration::from_secs(20));
        let slow = run(&endpoints, clients, (start, part), slow_fourth);
        run(&endpoints, clients, (start + part, 2 * part), |_, _| Work(millis(2), true));
        let quick = run(&endpoints, clients, (start + 3 * part, part), |_, _| Work(millis(2), true));
        let shares = (share_of_last(&slow), share_of_last(&quick));
        assert!(shares.0 < 0.1 && shares.1 > 0.7, "{clients} clients: {shares:?}");
    }
}
