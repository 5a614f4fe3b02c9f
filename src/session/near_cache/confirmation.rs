//! Sessions whose records' time to live was changed, as apps do with every request: nothing else about them is asked again.

use super::{Entry, NearCache};
use crate::{
    clock,
    redis::Moment,
    session::{Finding, store::Outage},
    tasks::Worker,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// A question how long a record still lives.
pub(in crate::session) struct Confirmation {
    entry: Arc<Entry>,
    renewals: u32,
    sent: Moment,
}

impl NearCache {
    /// A session that is known and still true but for how long its record lives, which was changed a while ago; and what
    /// the caller must ask, unless somebody does.
    pub(in crate::session) fn unconfirmed(
        &self,
        key: &str,
        now: Moment,
        worker: Worker,
    ) -> Option<(Finding, Option<Confirmation>)> {
        let entry = self.entries.get(key.as_bytes())?;
        let is_alive = matches!(entry.finding, Finding::Valid(_)) && entry.is_proven(now);
        (is_alive && entry.wants_confirmation(now)).then(|| {
            self.meter.hits.add(worker);
            let finding = entry.finding.clone();
            let first = !entry.unconfirmed.swap(true, Ordering::SeqCst);
            let renewals = entry.renewals.load(Ordering::SeqCst);
            (finding, first.then(|| Confirmation { entry, renewals, sent: self.proofs.now() }))
        })
    }

    /// How long a record was found to live, as [`Store::remaining`](crate::session::store::Store::remaining) tells.
    pub(in crate::session) fn confirmed(
        &self,
        key: &str,
        asked: Confirmation,
        remaining: Result<Option<Option<Duration>>, Outage>,
    ) {
        let Confirmation { entry, renewals, sent } = asked;
        let shard = self.shard(key.as_bytes());
        let is_known = self.entries.peek(key.as_bytes()).is_some_and(|known| Arc::ptr_eq(&known, &entry));
        match remaining {
            Ok(Some(remaining)) if is_known && !entry.fresh.has_ended() => {
                let left = entry.ends.map(|ends| ends.saturating_sub(clock::since_epoch()));
                let left = remaining.into_iter().chain(left).min();
                let confirmed = entry.living_on(left.map_or(Moment::NEVER, |left| sent.after(left)));
                if entry.renewals.load(Ordering::SeqCst) != renewals {
                    confirmed.renew(sent);
                }
                self.put(key.as_bytes(), confirmed);
            }
            Ok(Some(_)) => {}
            // How it went is still to be told.
            Ok(None) => self.doubt(key.as_bytes()),
            // The next one asks again, as long as memory is proven at all.
            Err(_) => entry.unconfirmed.store(false, Ordering::SeqCst),
        }
        drop(shard);
    }
}
