//! The store in this process's memory, shared by its workers and lost at exit.

use super::{Outage, Updated};
use crate::clock;
use bytes::Bytes;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Locks that the records are spread over.
const SHARDS: usize = 64;
/// The most records that one shard holds.
const SHARD_RECORDS_MAX: usize = 8 * 1024;
/// Below this many records a shard is never swept.
const SWEEP_MIN: usize = 64;

/// Records under keys.
#[derive(Debug, Default)]
pub(super) struct Memory {
    shards: Shards,
    hasher: RandomState,
}

#[derive(Debug)]
struct Shards([Mutex<Shard>; SHARDS]);

#[derive(Debug)]
struct Shard {
    records: HashMap<Box<str>, Record>,
    /// Expired records are removed when there are this many in all.
    sweep_at: usize,
}

#[derive(Debug)]
struct Record {
    value: Bytes,
    ends: Instant,
}

impl Memory {
    pub(super) fn read(&self, key: &str) -> Option<(Bytes, Duration)> {
        let now = clock::now();
        let mut shard = self.shard(key);
        shard.live(key, now).map(|record| (record.value.clone(), record.ends - now))
    }

    pub(super) fn create(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool, Outage> {
        let now = clock::now();
        let mut shard = self.shard(key);
        if shard.live(key, now).is_some() {
            return Ok(false);
        }
        shard.insert(key, Record { value, ends: now + ttl }, now).map(|()| true)
    }

    pub(super) fn write(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), Outage> {
        let now = clock::now();
        self.shard(key).insert(key, Record { value, ends: now + ttl }, now)
    }

    pub(super) fn delete(&self, key: &str) -> bool {
        let now = clock::now();
        self.shard(key).records.remove(key).is_some_and(|record| record.ends > now)
    }

    pub(super) fn renew(&self, key: &str, ttl: Duration) -> bool {
        let now = clock::now();
        let mut shard = self.shard(key);
        let shorter = shard.live(key, now).filter(|record| record.ends < now + ttl);
        shorter.map(|record| record.ends = now + ttl).is_some()
    }

    pub(super) fn update<E>(
        &self,
        key: &str,
        mut change: impl FnMut(&[u8]) -> Result<Option<Bytes>, E>,
    ) -> Result<Updated, E> {
        let mut shard = self.shard(key);
        let Some(record) = shard.live(key, clock::now()) else {
            return Ok(Updated::Gone);
        };
        let Some(new) = change(&record.value)? else {
            return Ok(Updated::Gone);
        };
        record.value = new;
        Ok(Updated::Done)
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        // A record is replaced in one step, so a lock that a panic left behind guards nothing half done.
        self.shards.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn live(&mut self, key: &str, now: Instant) -> Option<&mut Record> {
        self.records.get_mut(key).filter(|record| record.ends > now)
    }

    fn insert(&mut self, key: &str, record: Record, now: Instant) -> Result<(), Outage> {
        if !self.has_room(now) {
            return Err(Outage("the memory store is full".to_owned()));
        }
        self.records.insert(key.into(), record);
        Ok(())
    }

    /// Sweeps when the number of records has doubled since the last time, so that a sweep costs little per record.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.records.len() >= self.sweep_at {
            self.records.retain(|_, record| record.ends > now);
            self.sweep_at = (self.records.len() * 2).clamp(SWEEP_MIN, SHARD_RECORDS_MAX);
        }
        self.records.len() < SHARD_RECORDS_MAX
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(Shard { records: HashMap::new(), sweep_at: SWEEP_MIN })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_at_its_limit_and_has_room_again_when_records_expire() {
        let memory = Memory::default();
        let (long, begun) = (Duration::from_secs(3600), clock::now());
        let mut created = 0;
        while memory.create(&format!("k{created}"), Bytes::new(), long).is_ok() {
            created += 1;
        }
        assert!((SHARD_RECORDS_MAX * SHARDS / 2..=SHARD_RECORDS_MAX * SHARDS).contains(&created), "{created}");
        for shard in &memory.shards.0 {
            shard.lock().unwrap().records.values_mut().for_each(|record| record.ends = begun);
        }
        assert_eq!(memory.create("late", Bytes::new(), long), Ok(true), "after {:?}", begun.elapsed());
    }

    #[test]
    fn expired_records_do_not_pile_up() {
        let memory = Memory::default();
        for number in 0..100_000 {
            memory.create(&format!("k{number}"), Bytes::new(), Duration::ZERO).unwrap();
        }
        let held: usize = memory.shards.0.iter().map(|shard| shard.lock().unwrap().records.len()).sum();
        assert!(held <= SHARDS * SWEEP_MIN, "{held}");
    }
}
