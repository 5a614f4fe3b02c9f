//! Whether an upstream can be reached at all: a rule with several gives up one that cannot, for a while.

use super::{
    failure::Failure,
    send::{Errand, Missed},
    streaming::Streaming,
    target::{Target, Terms},
};
use crate::{clock, config::upstreams::Eject};
use http::Response;
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// One upstream's outage, if there is one.
#[derive(Debug)]
pub(super) struct Outage {
    /// The time below is milliseconds since then; 0 is never.
    epoch: Instant,
    /// Requests in a row that came to no endpoint.
    misses: AtomicU32,
    until: AtomicU64,
}

impl Outage {
    pub(super) fn new() -> Self {
        Self { epoch: clock::now(), misses: AtomicU32::new(0), until: AtomicU64::new(0) }
    }

    /// Whether it is given up now.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.millis(now) < self.until.load(Relaxed)
    }

    /// Whether a request may try it: while it is given up none may, and then one that tells for all.
    pub(super) fn may_try(&self, now: Instant, eject: Eject) -> bool {
        let until = self.until.load(Relaxed);
        let next = self.millis(now + eject.duration);
        until == 0 || until <= self.millis(now) && self.until.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }

    /// A request came to no endpoint. Answers whether the upstream is given up from now on.
    pub(super) fn missed(&self, now: Instant, eject: Eject) -> bool {
        let misses = self.misses.fetch_add(1, Relaxed).saturating_add(1);
        let gives_up = eject.errors > 0 && misses >= eject.errors;
        gives_up && self.until.swap(self.millis(now + eject.duration), Relaxed) == 0
    }

    /// A request was answered. Answers whether it had been given up.
    pub(super) fn ended(&self) -> bool {
        if self.misses.load(Relaxed) == 0 {
            return false;
        }
        self.misses.store(0, Relaxed);
        self.until.swap(0, Relaxed) != 0
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Target {
    /// Whether it is worth asking while there is another: it is not given up, and one of its endpoints is well.
    pub fn is_reachable(&self) -> bool {
        let is_well = || self.0.endpoints().iter().any(|endpoint| endpoint.health().is_in());
        !self.0.outage.is_on(clock::now()) && is_well()
    }

    /// The answer to a request, and whose it is: `spare`'s if nothing of it could be sent here.
    pub(super) async fn try_both<'t>(
        &'t self,
        spare: &'t Self,
        errand: Errand,
        terms: Terms,
    ) -> (&'t Self, Result<Response<Streaming>, Failure>) {
        let (section, outage) = (&self.0.section, &self.0.outage);
        let key = terms.key.filter(|_| spare.0.section.balance == section.balance);
        let elsewhere = async |errand| {
            let answer = spare.try_each(errand, Terms { key, begun: clock::now(), ..terms }).await;
            (spare, answer.map_err(|Missed { failure, .. }| failure))
        };
        if !outage.may_try(clock::now(), section.eject) {
            return elsewhere(errand).await;
        }
        let Missed { failure, unsent } = match self.try_each(errand, terms).await {
            Ok(response) => {
                if outage.ended() {
                    tracing::info!(upstream = self.name(), "an upstream can be reached again");
                }
                return (self, Ok(response));
            }
            Err(missed) => missed,
        };
        let Some(errand) = unsent else { return (self, Err(failure)) };
        if outage.missed(clock::now(), section.eject) {
            let (upstream, instead, cause) = (self.name(), spare.name(), failure.to_string());
            tracing::warn!(upstream, instead, cause, "an upstream cannot be reached and gets no requests");
        }
        if section.retries == 0 || !self.0.may_retry(terms.worker) {
            return (self, Err(failure));
        }
        self.meter().failed(terms.worker, &failure);
        elsewhere(*errand).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_given_up_after_so_many_misses_and_tried_by_one() {
        let (outage, now) = (Outage::new(), clock::now());
        let eject = Eject { errors: 3, duration: Duration::from_secs(10) };
        let miss = |at| outage.missed(at, eject);
        assert_eq!([miss(now), miss(now)], [false; 2]);
        assert!(!outage.is_on(now) && outage.may_try(now, eject) && !outage.ended());
        assert_eq!([miss(now), miss(now), miss(now), miss(now)], [false, false, true, false]);
        assert!(outage.is_on(now) && !outage.may_try(now, eject));
        let later = now + Duration::from_secs(11);
        assert_eq!([0; 3].map(|_| outage.may_try(later, eject)), [true, false, false]);
        assert!(!miss(later) && outage.is_on(later));
        assert!(outage.ended() && outage.may_try(later, eject) && !outage.ended());
    }
}
