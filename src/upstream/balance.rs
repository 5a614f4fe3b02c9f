//! Which of several endpoints gets the next request.

use super::{
    affinity::{mix, rendezvous},
    endpoint::Endpoint,
};
use crate::config::upstreams;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// A way of choosing, and what it remembers.
#[derive(Debug)]
pub(super) struct Balance {
    way: Way,
    turn: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    LeastRequests,
    RoundRobin,
    Hash,
}

impl Balance {
    pub(super) fn new(balance: &upstreams::Balance) -> Self {
        let way = match balance {
            upstreams::Balance::LeastRequests => Way::LeastRequests,
            upstreams::Balance::RoundRobin => Way::RoundRobin,
            upstreams::Balance::Hash(_) => Way::Hash,
        };
        Self { way, turn: AtomicU64::new(0) }
    }

    /// One of the endpoints that `may` have it. `key` is what requests that belong together share; those without one
    /// go where there is least to do.
    pub(super) fn choose<'e>(
        &self,
        endpoints: &'e [Arc<Endpoint>],
        key: Option<u64>,
        now: Instant,
        may: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<&'e Arc<Endpoint>> {
        let able = || endpoints.iter().filter(|endpoint| may(endpoint));
        if let (Way::Hash, Some(key)) = (self.way, key) {
            return able().max_by_key(|endpoint| rendezvous(key, endpoint.seed()));
        }
        let count = able().count() as u64;
        if count <= 1 {
            return able().next();
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        if self.way == Way::RoundRobin {
            return nth(able(), turn % count);
        }
        // Two at random, and of them the one with less to do: nearly as even as asking all, and no herd runs to one
        // that has just come back.
        let dice = mix(turn);
        let (first, step) = (dice % count, 1 + (dice >> 32) % (count - 1));
        let (one, other) = (nth(able(), first)?, nth(able(), (first + step) % count)?);
        Some(if other.load(now) < one.load(now) { other } else { one })
    }
}

fn nth<T>(mut all: impl Iterator<Item = T>, place: u64) -> Option<T> {
    all.nth(usize::try_from(place).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{super::health::Health, *};
    use crate::{
        clock,
        config::{self, Environment},
        tasks::Workers,
        telemetry::metrics::{Metrics, families},
    };
    use std::collections::BTreeMap;

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
}
