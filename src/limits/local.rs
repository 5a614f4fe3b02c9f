//! Counting in this process: for limits that are local, and for all while the store is away.

use super::{Key, Step};
use crate::clock;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Keys are spread over so many maps, so that workers seldom wait for one another.
const SHARDS: usize = 16;

/// Keys that one map holds; beyond it some are forgotten, those first that mean nothing any more.
const KEYS_MAX: usize = 8192;

/// How often a full map is looked through for those.
const SWEEP: Duration = Duration::from_secs(1);

/// When each key will have nothing left to wait for.
#[derive(Debug, Default)]
pub(super) struct Local([Mutex<Shard>; SHARDS]);

#[derive(Debug, Default)]
struct Shard {
    even_at: HashMap<Key, Instant>,
    swept: Option<Instant>,
}

impl Local {
    /// One step; how long to wait where there is no room for it.
    pub(super) fn step(&self, key: &Key, step: Step, interval: Duration, tolerance: Duration) -> Option<Duration> {
        let now = clock::now();
        let mut shard = self.0[key.spread() % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        let left = shard.even_at.get(key).map_or(Duration::ZERO, |even| even.saturating_duration_since(now));
        if step == Step::Return {
            match left.checked_sub(interval).filter(|left| !left.is_zero()) {
                Some(left) => shard.even_at.insert(*key, now + left),
                None => shard.even_at.remove(key),
            };
            return None;
        }
        let level = left + interval;
        if level > tolerance {
            return Some(level - tolerance);
        }
        if step == Step::Take {
            if !shard.even_at.contains_key(key) {
                shard.make_room(now);
            }
            shard.even_at.insert(*key, now + level);
        }
        None
    }
}

impl Shard {
    fn make_room(&mut self, now: Instant) {
        if self.even_at.len() < KEYS_MAX {
            return;
        }
        if self.swept.is_none_or(|swept| now - swept >= SWEEP) {
            self.swept = Some(now);
            self.even_at.retain(|_, even| *even > now);
        }
        if self.even_at.len() >= KEYS_MAX
            && let Some(any) = self.even_at.keys().next().copied()
        {
            self.even_at.remove(&any);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::key::{Facts, Found},
        *,
    };
    use crate::config::limits::By;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn key(last: u32) -> Key {
        let facts = Facts { client: Some(last.to_be_bytes().into()), ..Facts::default() };
        match facts.key(&[By::Ip]) {
            Found::Key(key) => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_burst_passes_and_then_one_after_the_other() {
        let local = Local::default();
        let (one, other) = (key(1), key(2));
        let step = |key, step| local.step(key, step, INTERVAL, INTERVAL * 3);
        assert_eq!(step(&one, Step::Look), None);
        for _ in 0..3 {
            assert_eq!(step(&one, Step::Take), None);
        }
        let wait = step(&one, Step::Take).expect("there is no room");
        assert!(wait <= INTERVAL && wait > INTERVAL - Duration::from_secs(10), "{wait:?}");
        assert!(step(&one, Step::Look).is_some());
        assert_eq!(step(&other, Step::Take), None);
        assert_eq!(step(&one, Step::Return), None);
        assert_eq!((step(&one, Step::Look), step(&one, Step::Take)), (None, None));
        assert!(step(&one, Step::Take).is_some());
    }

    #[test]
    fn a_crowd_of_keys_is_bounded_and_who_comes_again_takes_nobodys_place() {
        let local = Local::default();
        for last in 0..(SHARDS * KEYS_MAX * 2) as u32 {
            assert_eq!(local.step(&key(last), Step::Take, INTERVAL, INTERVAL), None);
        }
        let held = || local.0.iter().map(|shard| shard.lock().expect("unpoisoned").even_at.len()).sum::<usize>();
        let full = held();
        assert!(full <= SHARDS * KEYS_MAX, "{full}");
        let known = *local.0[0].lock().expect("unpoisoned").even_at.keys().last().expect("a key");
        assert_eq!(local.step(&known, Step::Take, INTERVAL, INTERVAL * 2), None);
        assert_eq!(held(), full);
    }
}
