//! Sessions that an upstream has just begun: their browser may be back before their record can be read.

use super::{Absence, Activity, Found, Look, Sessions, id::SessionId, near_cache::Named, store::Outage};
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

    /// What became of a session that has no record: if it is expected, its record is waited for, no longer than for any
    /// answer of the store.
    pub(super) async fn await_record(
        self: &Arc<Self>,
        named: &Arc<Named>,
        activity: Activity,
        worker: Worker,
    ) -> Result<Found, Outage> {
        let key = &*named.key;
        let (begun, mut pause) = (clock::now(), PAUSE.0);
        while self.newcomers.get(key).is_some() {
            if begun.elapsed() + pause > self.store.patience() {
                // Nobody waits in vain for it again.
                self.newcomers.take(key);
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            let found = self.look_up(named, activity, Look::from(worker)).await?;
            if !found.is_missing() {
                return Ok(found);
            }
        }
        Ok(Found::absent(Absence::NotFound))
    }
}
