//! Rosters: the keys of records that belong together. They may name records that are gone.

use super::{Kind, Outage, Store, memory::Memory, outage};
use crate::{clock, tasks::Worker};
use std::time::Duration;

/// How long ago a record must have been enlisted that is missing for good: it is enlisted before it is there.
const SETTLED: Duration = Duration::from_secs(60);
/// The most that are told.
const MOST: usize = 100_000;

impl Store {
    /// Puts a record on a roster that lives for at least `ttl` from now. Answers some that were enlisted long ago, so that
    /// those that are gone can be struck off, and the others enlisted again.
    pub async fn enlist(&self, worker: Worker, roster: &str, key: &str, ttl: Duration) -> Result<Vec<String>, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.enlist(worker, roster, key, ttl, SETTLED).await.map_err(outage),
            Kind::Memory(memory) => enlist(memory, roster, key, ttl),
        }
    }

    /// All that are on a roster.
    pub async fn enlisted(&self, worker: Worker, roster: &str) -> Result<Vec<String>, Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.enlisted(worker, roster, MOST).await.map_err(outage),
            Kind::Memory(memory) => {
                let all = memory.read(roster).map(|(text, _)| lines(&text)).unwrap_or_default();
                Ok(all.into_iter().take(MOST).map(|(_, key)| key).collect())
            }
        }
    }

    /// Strikes records off a roster.
    pub async fn strike(&self, worker: Worker, roster: &str, keys: &[String]) -> Result<(), Outage> {
        match &self.0 {
            Kind::Redis { redis, .. } => redis.strike(worker, roster, keys).await.map_err(outage),
            Kind::Memory(memory) => {
                edit(memory, roster, |lines| lines.retain(|(_, key)| !keys.contains(key)));
                Ok(())
            }
        }
    }
}

fn enlist(memory: &Memory, roster: &str, key: &str, ttl: Duration) -> Result<Vec<String>, Outage> {
    let now = clock::since_epoch();
    let mut long_ago = Vec::new();
    let put = |lines: &mut Vec<(Duration, String)>| {
        lines.retain(|(_, known)| known != key);
        let settled = lines.iter().filter(|(at, _)| *at + SETTLED <= now);
        long_ago = settled.take(2).map(|(_, key)| key.clone()).collect();
        lines.push((now, key.to_owned()));
    };
    memory.create(roster, bytes::Bytes::new(), ttl)?;
    edit(memory, roster, put);
    memory.renew(roster, ttl);
    Ok(long_ago)
}

/// Changes a roster, if it is there.
fn edit(memory: &Memory, roster: &str, change: impl FnOnce(&mut Vec<(Duration, String)>)) {
    let mut change = Some(change);
    let _ = memory.update(roster, |text| {
        let mut lines = lines(text);
        if let Some(change) = change.take() {
            change(&mut lines);
        }
        let line = |(at, key): (Duration, String)| format!("{} {key}\n", at.as_millis());
        Ok::<_, std::convert::Infallible>(Some(lines.into_iter().map(line).collect::<String>().into()))
    });
}

/// Each record with when it was enlisted.
fn lines(text: &[u8]) -> Vec<(Duration, String)> {
    let line = |line: &str| {
        let (at, key) = line.split_once(' ')?;
        Some((Duration::from_millis(at.parse().ok()?), key.to_owned()))
    };
    std::str::from_utf8(text).map(|text| text.lines().filter_map(line).collect()).unwrap_or_default()
}
