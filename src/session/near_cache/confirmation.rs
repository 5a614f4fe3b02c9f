//! Sessions whose records' time to live was changed, as apps do with every request: before long it is asked whether they
//! still live, of many in one go.

use super::{Entry, NearCache};
use crate::{
    clock,
    redis::Moment,
    session::{Finding, store::Outage},
};
use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

/// How long after a change it is asked for: well before the record is believed no more.
const DUE: Duration = Duration::from_secs(25);
/// What is due within that time is asked for together.
const GATHERED: Duration = Duration::from_secs(5);
/// The most records that are asked for in one go.
pub(super) const TOGETHER: usize = 256;

/// Records whose time to live was changed, in the order in which that happened first.
#[derive(Debug, Default)]
pub(super) struct Renewed(pub(super) VecDeque<(Moment, Box<str>, Weak<Entry>)>);

/// What is to be asked for.
pub(in crate::session) enum Due {
    Nothing,
    /// Nothing yet.
    In(Duration),
    Now(Vec<Confirmation>),
}

/// A question whether a record still lives.
pub(in crate::session) struct Confirmation {
    pub(in crate::session) key: Box<str>,
    entry: Arc<Entry>,
    renewals: u32,
    sent: Moment,
}

/// What is known of a record's life.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) enum Life {
    /// It goes on; for how long, nobody has said.
    GoesOn,
    /// It lasts so long; none = for ever.
    Lasts(Option<Duration>),
    /// It is over.
    Over,
}

impl NearCache {
    /// The time to live of a record was changed.
    pub(super) fn renewed(&self, key: &[u8], entry: &Arc<Entry>, at: Moment) {
        let is_first = entry.renew(at) && matches!(entry.finding, Finding::Valid(_));
        let mut renewed = self.all_renewed();
        // One that finds no place is read again when it is believed no more.
        if is_first
            && (renewed.0.len() as u64) < self.entries.capacity()
            && let Ok(key) = str::from_utf8(key)
        {
            renewed.0.push_back((at, key.into(), Arc::downgrade(entry)));
        }
    }

    /// Whether anything will have to be asked for.
    pub(in crate::session) fn has_renewed(&self) -> bool {
        !self.all_renewed().0.is_empty()
    }

    /// What the caller must ask for.
    pub(in crate::session) fn due(&self, now: Moment) -> Due {
        let (mut renewed, mut due, mut batch) = (self.all_renewed(), DUE, Vec::new());
        while batch.len() < TOGETHER
            && let Some((at, ..)) = renewed.0.front()
        {
            let age = now.since(*at);
            if age < due {
                return if batch.is_empty() { Due::In(due - age) } else { Due::Now(batch) };
            }
            if let Some((_, key, entry)) = renewed.0.pop_front()
                && let Some(entry) = entry.upgrade().filter(|entry| !entry.fresh.has_ended() && now < entry.dies)
            {
                let renewals = entry.renewals.load(Ordering::SeqCst);
                batch.push(Confirmation { key, entry, renewals, sent: now });
                due = DUE - GATHERED;
            }
        }
        if batch.is_empty() { Due::Nothing } else { Due::Now(batch) }
    }

    /// What became of a record.
    pub(in crate::session) fn confirmed(&self, asked: Confirmation, life: Result<Life, Outage>) {
        let Confirmation { key, entry, renewals, sent } = asked;
        let key = key.as_bytes();
        let shard = self.shard(key);
        let is_known = self.entries.peek(key).is_some_and(|known| Arc::ptr_eq(&known, &entry));
        match life {
            Ok(Life::Over) => self.doubt(key),
            Ok(life) if is_known && !entry.fresh.has_ended() => {
                let dies = match life {
                    Life::Lasts(remaining) => {
                        let left = entry.ends.map(|ends| ends.saturating_sub(clock::since_epoch()));
                        remaining.into_iter().chain(left).min().map_or(Moment::NEVER, |left| sent.after(left))
                    }
                    Life::GoesOn | Life::Over => entry.dies,
                };
                let confirmed = self.put(key, entry.living_on(dies));
                let is_settled = matches!(life, Life::Lasts(_)) && entry.renewals.load(Ordering::SeqCst) == renewals;
                if !is_settled {
                    self.renewed(key, &confirmed, sent);
                }
            }
            // It is read again when it is believed no more.
            Ok(_) | Err(_) => {}
        }
        drop(shard);
    }

    pub(super) fn all_renewed(&self) -> MutexGuard<'_, Renewed> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
