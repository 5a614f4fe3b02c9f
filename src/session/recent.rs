//! What was learnt of some keys lately: bounded, shared by the workers, and forgetful.

use crate::clock;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Locks that the keys are spread over.
const SHARDS: usize = 16;
/// The most keys of one shard; beyond it the shard forgets them all, and whoever asks learns them anew.
const KEYS_MAX: usize = 8 * 1024;

/// Values with the time until which they are known.
type Shard<V> = HashMap<u64, (V, Instant)>;

/// Values under keys, of which only a hash is kept.
#[derive(Debug)]
pub(super) struct Recent<V> {
    shards: [Mutex<Shard<V>>; SHARDS],
    hasher: RandomState,
    used: AtomicBool,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            used: AtomicBool::new(false),
        }
    }
}

impl<V: Clone> Recent<V> {
    /// What is known of a key, if it is not too long ago. Without any key ever put, it costs nothing.
    pub(super) fn get(&self, key: &str) -> Option<V> {
        if self.is_unused() {
            return None;
        }
        let (shard, hash) = self.shard(key);
        shard.get(&hash).filter(|(_, until)| *until > clock::now()).map(|(value, _)| value.clone())
    }

    /// Remembers a value for so long.
    pub(super) fn put(&self, key: &str, value: V, keep: Duration) {
        self.used.store(true, Ordering::Relaxed);
        let now = clock::now();
        let (mut shard, hash) = self.shard(key);
        if shard.len() >= KEYS_MAX && !shard.contains_key(&hash) {
            shard.retain(|_, (_, until)| *until > now);
            if shard.len() >= KEYS_MAX {
                shard.clear();
            }
        }
        shard.insert(hash, (value, now + keep));
    }

    /// Forgets a key, and says what was known of it.
    pub(super) fn take(&self, key: &str) -> Option<V> {
        if self.is_unused() {
            return None;
        }
        let (mut shard, hash) = self.shard(key);
        shard.remove(&hash).filter(|(_, until)| *until > clock::now()).map(|(value, _)| value)
    }

    /// Whether nothing was ever put.
    pub(super) fn is_unused(&self) -> bool {
        !self.used.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &str) -> (MutexGuard<'_, Shard<V>>, u64) {
        let hash = self.hasher.hash_one(key);
        // An entry is replaced in one step, so a lock that a panic left behind guards nothing half done.
        (self.shards[hash as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner), hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_until_its_time_is_over_or_it_is_forgotten() {
        let recent = Recent::default();
        let minute = Duration::from_secs(60);
        assert!(recent.is_unused() && recent.get("k").is_none());
        recent.put("k", 1, minute);
        recent.put("k", 2, minute);
        recent.put("old", 3, Duration::ZERO);
        assert_eq!((recent.get("k"), recent.get("old"), recent.get("other")), (Some(2), None, None));
        assert_eq!((recent.take("k"), recent.take("k"), recent.take("old")), (Some(2), None, None));
        assert!(!recent.is_unused());
    }

    #[test]
    fn it_stays_bounded_and_keeps_the_newest() {
        let recent = Recent::default();
        for number in 0..SHARDS * KEYS_MAX * 2 {
            let key = number.to_string();
            recent.put(&key, number, Duration::from_secs(60));
            assert_eq!(recent.get(&key), Some(number));
        }
        let kept: usize = recent.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * KEYS_MAX, "{kept}");
    }
}
