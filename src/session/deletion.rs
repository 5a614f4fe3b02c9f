//! Records that apps delete: where a framework uses no id twice, their sessions are over for good, and a request that
//! was still under way in an app cannot bring them back.

use super::{Sessions, near_cache::NearCache, revocation::End, store::Record};
use crate::{
    redis::Change,
    tasks::{self, Worker},
};
use std::sync::Arc;

/// What is written aside is not any worker's own.
const WORKER: Worker = Worker(0);

impl Sessions {
    /// Something happened to a record. Memory is not yet told.
    pub(super) fn record_changed(self: &Arc<Self>, near: &NearCache, key: &[u8], change: Change) {
        let Ok(key) = str::from_utf8(key) else { return };
        match change {
            Change::Deleted if self.deletion_is_final => self.record_deleted(near, key),
            Change::Written if !self.revocations.is_unused() && self.revocations.knows(key) => {
                self.revocations.note(key, Some(End::Resurrected));
                self.verdicts.resurrected(WORKER);
            }
            _ => {}
        }
    }

    /// Something happened to what tells that a record's session is over for good.
    pub(super) fn tombstone_changed(&self, record: &[u8], change: Change) {
        let Ok(key) = str::from_utf8(record) else { return };
        if change == Change::Written && !self.revocations.knows(key) {
            self.revocations.note(key, Some(End::Revoked));
        }
    }

    /// Who has no user may log in under the same id, and what the gateway itself ended needs no second end.
    fn record_deleted(self: &Arc<Self>, near: &NearCache, key: &str) {
        let Some(life) = near.life(key).filter(|_| !self.revocations.knows(key)) else { return };
        let moves = self.store.redis().is_some_and(|redis| redis.is_cluster());
        if !moves {
            self.revocations.revoke_here(key, life);
        }
        let Ok(turn) = self.revocations.writes.clone().try_acquire_owned() else { return };
        let (sessions, key) = (self.clone(), key.to_owned());
        tasks::background(async move {
            let _turn = turn;
            // A server of a cluster that hands a key over to another one tells of it as of a deletion.
            if moves && sessions.store.read(WORKER, &key).await != Ok(Record::Absent) {
                return;
            }
            // What the store does not take is known here.
            let _ = sessions.revocations.revoke(&key, life, &sessions.store, WORKER).await;
        });
    }
}
