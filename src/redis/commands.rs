//! The commands, each sent to the primary of its key.
//!
//! Each hands itself on: with asynchronous closures, which would make one call of it, the compiler does not see that the
//! futures are `Send`.

use super::{Failure, Primaries, Redis, Shape, Step, Swap};
use crate::tasks::Worker;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// A record as its primary has it, and what lies beside it.
#[derive(Debug)]
pub struct Whole {
    /// Its bytes; empty if there is none.
    pub value: Bytes,
    /// The time that it has left; `None` = it does not expire.
    pub remaining: Option<Duration>,
    /// What the keys beside it hold.
    pub beside: [Result<Bytes, Failure>; 2],
    /// The primary. `None` = the key is on its way from one to another, and nobody tells all that happens to it.
    pub from: Option<Arc<Redis>>,
}

impl Primaries {
    /// The first `bytes_max` bytes of a string; empty if there is none.
    pub async fn read(&self, worker: Worker, key: &str, bytes_max: usize) -> Result<Bytes, Failure> {
        self.ask(worker, key, |redis| async move { redis.read(worker, key, bytes_max).await }).await
    }

    /// As [`Primaries::read`], of a record of this shape, and with what the keys `beside` it hold. In a cluster these must
    /// share its slot.
    pub async fn read_whole(
        &self,
        worker: Worker,
        key: &str,
        shape: Shape,
        beside: [Option<&str>; 2],
        bytes_max: usize,
    ) -> Result<Whole, Failure> {
        self.ask(worker, key, |redis| async move {
            let (value, remaining, beside) = redis.read_whole(worker, key, shape, beside, bytes_max).await?;
            let from = (!redis.asking).then_some(redis);
            Ok(Whole { value, remaining, beside, from })
        })
        .await
    }

    /// The time that a key has left, none = for ever; `None` = there is no such key.
    pub async fn remaining(&self, worker: Worker, key: &str) -> Result<Option<Option<Duration>>, Failure> {
        self.ask(worker, key, |redis| async move { redis.remaining(worker, key).await }).await
    }

    /// Whether all of these keys are known to be there; asking takes away those that are over. In a cluster that is not
    /// known.
    pub async fn exist(&self, worker: Worker, keys: &[&str]) -> Result<bool, Failure> {
        match keys.first() {
            Some(first) if !self.is_cluster() => {
                self.ask(worker, first, |redis| async move { redis.exist(worker, keys).await }).await
            }
            first => Ok(first.is_none()),
        }
    }

    /// Creates a string that lives for `ttl`; `false` if the key was already there.
    pub async fn create(&self, worker: Worker, key: &str, value: Bytes, ttl: Duration) -> Result<bool, Failure> {
        self.ask(worker, key, |redis| {
            let value = value.clone();
            async move { redis.create(worker, key, value, ttl).await }
        })
        .await
    }

    /// Writes a string that lives for `ttl`, whatever the key held before.
    pub async fn write(&self, worker: Worker, key: &str, value: Bytes, ttl: Duration) -> Result<(), Failure> {
        self.ask(worker, key, |redis| {
            let value = value.clone();
            async move { redis.write(worker, key, value, ttl).await }
        })
        .await
    }

    /// Deletes a key; `false` if it was not there.
    pub async fn delete(&self, worker: Worker, key: &str) -> Result<bool, Failure> {
        self.ask(worker, key, |redis| async move { redis.delete(worker, key).await }).await
    }

    /// Replaces `expected` by `new`; the time to live stays.
    pub async fn swap(&self, worker: Worker, key: &str, expected: Bytes, new: Bytes) -> Result<Swap, Failure> {
        self.ask(worker, key, |redis| {
            let (expected, new) = (expected.clone(), new.clone());
            async move { redis.swap(worker, key, expected, new).await }
        })
        .await
    }

    /// One step of a rate limit whose places come back every `interval`, and of which `tolerance` may be taken at
    /// once; how long to wait where there is no place.
    pub async fn throttle(
        &self,
        worker: Worker,
        key: &str,
        interval: Duration,
        tolerance: Duration,
        step: Step,
    ) -> Result<Option<Duration>, Failure> {
        self.ask(worker, key, |redis| async move { redis.throttle(worker, key, interval, tolerance, step).await }).await
    }

    /// Lets a key live for `ttl` from now; `false` if it is not there, and then it stays away, or lives longer anyway.
    pub async fn renew(&self, worker: Worker, key: &str, ttl: Duration) -> Result<bool, Failure> {
        self.ask(worker, key, |redis| async move { redis.renew(worker, key, ttl).await }).await
    }
}
