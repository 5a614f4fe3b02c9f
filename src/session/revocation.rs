//! Sessions that were ended for good: refused for the rest of their records' lives, whoever writes those again.

use super::{
    Absence,
    beside::{self, LONGEST},
    recent::Recent,
    store::{Outage, Store},
};
use crate::{config::session, tasks::Worker};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The kind of key that tells of a revocation.
const TOMBSTONE: &str = "revoked";
/// A record that was written again lives at least about so long; it is what most apps give a session.
const LIFE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// The most ends that are written to the store at once.
const WRITES_MAX: usize = 512;
/// How long a session is known here to be past its limits, without asking again.
const OVER: Duration = Duration::from_secs(10 * 60);

/// The ends of one `[session]`'s records.
#[derive(Debug)]
pub(super) struct Revocations {
    namespace: String,
    in_store: bool,
    known: Recent<End>,
    /// Of ends that are being written to the store; beyond them an app's deletion is known here alone.
    pub(super) writes: Arc<Semaphore>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Someone wanted it.
    Revoked,
    /// Someone did, and an app wrote its record again.
    Resurrected,
    /// It is past its limits. Whether it still is, its record tells.
    Over,
}

/// What every tombstone's key begins with.
pub(super) fn tombstones(namespace: &str) -> String {
    [namespace, TOMBSTONE, ":"].concat()
}

impl Revocations {
    pub(super) fn compile(config: &session::Session, deletion_is_final: bool) -> Self {
        Self {
            namespace: config.namespace.clone(),
            in_store: config.revocable || deletion_is_final,
            known: Recent::default(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
        }
    }

    /// Whether they are written down in the store, for all gateways.
    pub(super) fn are_in_store(&self) -> bool {
        self.in_store
    }

    /// Whether the session is known here to be revoked.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.absence(key).is_some()
    }

    /// Why there is no session, if it is known here to be revoked.
    pub(super) fn absence(&self, key: &str) -> Option<Absence> {
        match self.known.get(key)? {
            End::Revoked => Some(Absence::Revoked),
            End::Resurrected => Some(Absence::Resurrected),
            End::Over => None,
        }
    }

    /// Whether the session is known here to have been ended by the gateway.
    pub(super) fn knows_any(&self, key: &str) -> bool {
        self.known.get(key).is_some()
    }

    /// Whether no session has been ended here yet.
    pub(super) fn is_unused(&self) -> bool {
        self.known.is_unused()
    }

    /// The key that tells of a revocation by any gateway, to be read together with the record. `None` = nobody writes
    /// such keys.
    pub(super) fn tombstone_key(&self, key: &str) -> Option<String> {
        self.in_store.then(|| beside::key(&self.namespace, TOMBSTONE, key))
    }

    /// The record that a key's tombstone revokes, if the key is one's.
    pub(super) fn revoked(&self, key: &[u8]) -> Option<Vec<u8>> {
        let record = key.strip_prefix(tombstones(&self.namespace).as_bytes())?;
        let bare = record.strip_prefix(b"{").and_then(|record| record.strip_suffix(b"}"));
        Some(bare.unwrap_or(record).to_vec())
    }

    /// Revokes the session whose record has so long to live; `None` = for ever. The record itself stays.
    pub(super) async fn revoke(
        &self,
        key: &str,
        remaining: Option<Duration>,
        store: &Store,
        worker: Worker,
    ) -> Result<(), Outage> {
        let life = life(remaining);
        if let Some(tombstone) = self.tombstone_key(key) {
            Box::pin(store.write(worker, &tombstone, Bytes::from_static(b"1"), life)).await?;
        }
        self.known.put(key, End::Revoked, life);
        Ok(())
    }

    /// Revokes a session as far as this process goes.
    pub(super) fn revoke_here(&self, key: &str, remaining: Option<Duration>) {
        self.known.put(key, End::Revoked, life(remaining));
    }

    /// Notes what the store or a limit told of a session; `None` = it is good. A revocation stays: what was read may be
    /// older.
    pub(super) fn note(&self, key: &str, end: Option<End>) {
        match end {
            Some(end @ (End::Revoked | End::Resurrected)) => self.known.put(key, end, LIFE_MIN),
            _ if self.knows(key) => {}
            Some(End::Over) => self.known.put(key, End::Over, OVER),
            None => _ = self.known.take(key),
        }
    }
}

fn life(remaining: Option<Duration>) -> Duration {
    remaining.unwrap_or(LONGEST).max(LIFE_MIN)
}
