//! Where records live: Redis, or this process's memory.

mod memory;
mod roster;

use crate::{
    clock,
    config::store,
    redis::{Failure, Primaries, Redis, Shape, Swap, Whole},
    tasks::{Worker, Workers},
    telemetry::metrics::Metrics,
};
use bytes::Bytes;
use memory::Memory;
use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;

/// The longest record that is read or written, in bytes.
pub const RECORD_MAX: usize = super::value::budget::BYTES_MAX;

type Turns = [Mutex<()>; 64];

/// A store of records: bytes under keys, each with a time to live. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// Updates of one key take turns within this process, so that only processes race for it.
    Redis {
        redis: Arc<Primaries>,
        timeout: Duration,
        turns: Arc<Turns>,
        shape: Shape,
    },
    Memory(Arc<Memory>),
}

/// The store could not answer; the text is for the log and holds neither keys nor values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage(pub String);

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Nothing.
    Absent,
    /// Something that cannot be a record, and why.
    Unreadable(&'static str),
    /// A record.
    Present(Bytes),
}

/// What [`Store::read_whole`] finds.
#[derive(Debug)]
pub struct Reading {
    /// The record.
    pub record: Record,
    /// The time it has left; `None` = it does not expire, or is not there.
    pub remaining: Option<Duration>,
    /// What the keys beside it hold.
    pub beside: [Record; 2],
    /// The server that told, if what changes there is told of.
    pub from: Option<Arc<Redis>>,
}

/// What became of [`Store::update`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// The record was replaced; its time to live stayed.
    Done,
    /// There is no record to update, and none was made.
    Gone,
}

/// Why [`Store::update`] changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum NotUpdated<E> {
    /// The store could not answer.
    Outage(Outage),
    /// The change itself was refused.
    Refused(E),
}

impl Reading {
    /// A record of which nothing more is known.
    pub(super) fn alone(record: Record) -> Self {
        Self { record, remaining: None, beside: [Record::Absent, Record::Absent], from: None }
    }
}

impl Store {
    /// Makes the store that `[store]` names. A Redis server is connected to in the background, by each worker for
    /// itself; one that is missing is an [`Outage`] for whoever asks, until it is there.
    pub fn compile(store: &store::Store, workers: &Workers, metrics: &Metrics) -> Self {
        match &store.url {
            store::Url::Memory => Self(Kind::Memory(Arc::default())),
            url => {
                let redis = Arc::new(Primaries::connect(url, store.connections, store.timeout, workers, metrics));
                Self(Kind::Redis {
                    redis,
                    timeout: store.timeout,
                    turns: Arc::new(std::array::from_fn(|_| Mutex::default())),
                    shape: Shape::Text,
                })
            }
        }
    }

    /// The Redis that the records are in: for what is counted there, too, and is no record.
    pub fn redis(&self) -> Option<&Arc<Primaries>> {
        match &self.0 {
            Kind::Redis { redis, .. } => Some(redis),
            Kind::Memory(_) => None,
        }
    }

    /// The same store, of which [`Store::read_whole`] takes records for hashes: it reads their fields and values in
    /// turn, each after its length in four bytes.
    pub fn of_hashes(mut self) -> Self {
        if let Kind::Redis { shape, .. } = &mut self.0 {
            *shape = Shape::Hash;
        }
        self
    }

    /// Whether the store is, at least in part, known to be out of reach. Asks nobody.
    pub fn degraded(&self) -> bool {
        matches!(&self.0, Kind::Redis { redis, .. } if redis.degraded())
    }

    /// How long anything may be waited for; nothing, where nobody else writes.
    pub fn patience(&self) -> Duration {
        match &self.0 {
            Kind::Redis { timeout, .. } => *timeout,
            Kind::Memory(_) => Duration::ZERO,
        }
    }

    /// Reads a record.
    pub async fn read(&self, worker: Worker, key: &str) -> Result<Record, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => judge(redis.read(worker, key, RECORD_MAX + 1).await),
            Kind::Memory(memory) => Ok(memory.read(key).map_or(Record::Absent, |(value, _)| Record::Present(value))),
        }
    }

    /// Reads a record together with the time it has left and with what the keys `beside` it hold, all in one go.
    pub async fn read_whole(&self, worker: Worker, key: &str, beside: [Option<&str>; 2]) -> Result<Reading, Outage> {
        match &self.0 {
            Kind::Redis { redis, shape, .. } => {
                match redis.read_whole(worker, key, *shape, beside, RECORD_MAX + 1).await {
                    Ok(Whole { value, remaining, beside: [one, other], from }) => {
                        let beside = [judge(one)?, judge(other)?];
                        Ok(Reading { record: judge(Ok(value))?, remaining, beside, from })
                    }
                    Err(failure) => judge(Err(failure)).map(Reading::alone),
                }
            }
            Kind::Memory(memory) => {
                let read = |key: &str| memory.read(key).map_or(Record::Absent, |(value, _)| Record::Present(value));
                let found = memory.read(key);
                let remaining = found.as_ref().map(|(_, remaining)| *remaining);
                let record = found.map_or(Record::Absent, |(value, _)| Record::Present(value));
                let beside = beside.map(|key| key.map_or(Record::Absent, read));
                Ok(Reading { remaining, beside, ..Reading::alone(record) })
            }
        }
    }

    /// The time that a record has left, none = for ever; `None` = there is no record.
    pub async fn remaining(&self, worker: Worker, key: &str) -> Result<Option<Option<Duration>>, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.remaining(worker, key).await.map_err(outage),
            Kind::Memory(memory) => Ok(memory.read(key).map(|(_, remaining)| Some(remaining))),
        }
    }

    /// Whether all of these records are known to be there; those that are over are told of by then. `false` where that
    /// cannot be asked in one go.
    pub async fn exist(&self, worker: Worker, keys: &[&str]) -> Result<bool, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.exist(worker, keys).await.map_err(outage),
            Kind::Memory(memory) => Ok(keys.iter().all(|key| memory.read(key).is_some())),
        }
    }

    /// Creates a record that lives for `ttl`; `false` if the key is taken.
    pub async fn create(&self, worker: Worker, key: &str, value: Bytes, ttl: Duration) -> Result<bool, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.create(worker, key, value, ttl).await.map_err(outage),
            Kind::Memory(memory) => memory.create(key, value, ttl),
        }
    }

    /// Writes a record that lives for `ttl`, whatever the key held before.
    pub async fn write(&self, worker: Worker, key: &str, value: Bytes, ttl: Duration) -> Result<(), Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.write(worker, key, value, ttl).await.map_err(outage),
            Kind::Memory(memory) => memory.write(key, value, ttl),
        }
    }

    /// Deletes a record; `false` if there was none.
    pub async fn delete(&self, worker: Worker, key: &str) -> Result<bool, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.delete(worker, key).await.map_err(outage),
            Kind::Memory(memory) => Ok(memory.delete(key)),
        }
    }

    /// Lets a record live for `ttl` from now; `false` if there is none, and none is made, or if it lives longer anyway.
    pub async fn renew(&self, worker: Worker, key: &str, ttl: Duration) -> Result<bool, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.renew(worker, key, ttl).await.map_err(outage),
            Kind::Memory(memory) => Ok(memory.renew(key, ttl)),
        }
    }

    /// Changes a record atomically: `change` sees the current bytes and gives the new ones, or `None` where it
    /// takes the record for gone. It may be called several times. A record that ends meanwhile stays ended.
    pub async fn update<E>(
        &self,
        worker: Worker,
        key: &str,
        mut change: impl FnMut(&[u8]) -> Result<Option<Bytes>, E>,
    ) -> Result<Updated, NotUpdated<E>> {
        let (redis, timeout, turns) = match &self.0 {
            Kind::Redis { redis, timeout, turns, .. } => (redis, *timeout, turns),
            Kind::Memory(memory) => return memory.update(key, change).map_err(NotUpdated::Refused),
        };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let turn = turns[hash as usize % turns.len()].lock();
        let _turn = tokio::time::timeout(timeout, turn)
            .await
            .map_err(|_| NotUpdated::Outage(Outage("too many updates of one record wait".to_owned())))?;
        let begun = clock::now();
        while begun.elapsed() < timeout {
            let Record::Present(current) = self.read(worker, key).await.map_err(NotUpdated::Outage)? else {
                return Ok(Updated::Gone);
            };
            let Some(new) = change(&current).map_err(NotUpdated::Refused)? else {
                return Ok(Updated::Gone);
            };
            match redis.swap(worker, key, current, new).await {
                Ok(Swap::Done) => return Ok(Updated::Done),
                Ok(Swap::Gone) | Err(Failure::WrongType) => return Ok(Updated::Gone),
                Ok(Swap::Changed) => {}
                Err(failure @ (Failure::Outage(_) | Failure::Astray { .. })) => {
                    return Err(NotUpdated::Outage(outage(failure)));
                }
            }
        }
        Err(NotUpdated::Outage(Outage("the record changes too often to be updated".to_owned())))
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn judge(reply: Result<Bytes, Failure>) -> Result<Record, Outage> {
    match reply {
        Ok(value) if value.is_empty() => Ok(Record::Absent),
        Ok(value) if value.len() > RECORD_MAX => Ok(Record::Unreadable("longer than 1 MiB, as no session should be")),
        Ok(value) => Ok(Record::Present(value)),
        Err(Failure::WrongType) => Ok(Record::Unreadable(
            "its key holds another type than the format's: does someone else write under `prefix`?",
        )),
        Err(failure @ (Failure::Outage(_) | Failure::Astray { .. })) => Err(outage(failure)),
    }
}

fn outage(failure: Failure) -> Outage {
    match failure {
        Failure::Outage(cause) | Failure::Astray { cause, .. } => Outage(cause),
        Failure::WrongType => Outage("the key holds something else than a string".to_owned()),
    }
}

#[cfg(test)]
mod contract;
