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
        let key = key.filter(|_| self.way == Way::Hash);
        let turn = key.unwrap_or_else(|| self.turn.fetch_add(1, Relaxed));
        // What belongs together moves to a returned endpoint at one time.
        let dice = mix(turn);
        let warm =
            self.among(endpoints, key, turn, now, |endpoint| may(endpoint) && endpoint.health().takes(now, dice));
        warm.or_else(|| self.among(endpoints, key, turn, now, may))
    }

    fn among<'e>(
        &self,
        endpoints: &'e [Arc<Endpoint>],
        key: Option<u64>,
        turn: u64,
        now: Instant,
        may: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<&'e Arc<Endpoint>> {
        let able = || endpoints.iter().filter(|endpoint| may(endpoint));
        if let Some(key) = key {
            return able().max_by_key(|endpoint| rendezvous(key, endpoint.seed()));
        }
        let count = able().count() as u64;
        if count <= 1 {
            return able().next();
        }
        if self.way == Way::RoundRobin {
            return nth(able(), turn % count);
        }
        // Two at random, and of them the one with less to do: nearly as even as asking all, and no herd runs to one
        // that has just come back.
        let dice = mix(turn);
        let (first, step) = (dice % count, 1 + (dice >> 32) % (count - 1));
        let (one, other) = (nth(able(), first)?, nth(able(), (first + step) % count)?);
        let load = |this: &Endpoint, that: &Endpoint| this.load() * this.speed().handicap(that.speed(), now);
        let (better, worse) = if load(other, one) < load(one, other) { (other, one) } else { (one, other) };
        Some(if better.speed().yields(mix(dice)) { worse } else { better })
    }
}

fn nth<T>(mut all: impl Iterator<Item = T>, place: u64) -> Option<T> {
    all.nth(usize::try_from(place).unwrap_or_default())
}

#[cfg(test)]
mod tests;
