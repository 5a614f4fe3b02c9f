//! Sessions that an upstream has just begun: their browser may be back before their record can be read.

use super::{Activity, Found, Look, Sessions, id::SessionId, near_cache::Named, store::Outage};
use crate::{clock, tasks::Worker};
use std::{sync::Arc, time::Duration};

/// How long after its cookie a record is waited for.
const EXPECTED: Duration = Duration::from_secs(10);
/// Between two looks, doubling.
const PAUSE: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(64));

impl Sessions {
    /// An upstream has given a browser this id, which the request did not bring.
    pub fn expect(&self, id: &SessionId) {
        self.newcomers.put(&self.format.key(id), (), EXPECTED);
    }

    /// Whether anybody is expected.
    pub(super) fn expects_somebody(&self) -> bool {
        !self.newcomers.is_unused()
    }

    /// What became of a session: if it has no record and is expected, that is waited for, no longer than for any answer
    /// of the store. One that has come is expected no more: when its record is gone, it is gone.
    pub(super) async fn meet(
        self: &Arc<Self>,
        named: &Arc<Named>,
        mut found: Result<Found, Outage>,
        activity: Activity,
        worker: Worker,
    ) -> Result<Found, Outage> {
        let key = &*named.key;
        let (begun, mut pause) = (clock::now(), PAUSE.0);
        while found.as_ref().is_ok_and(Found::is_missing)
            && self.newcomers.get(key).is_some()
            && begun.elapsed() + pause <= self.store.patience()
        {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            found = self.look_up(named, activity, Look::from(worker)).await;
        }
        // Whoever did not come in time is not waited for in vain again.
        if found.is_ok() {
            self.newcomers.take(key);
        }
        found
    }
}
