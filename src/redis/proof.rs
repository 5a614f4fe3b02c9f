//! Until when memory may be believed: what the listener has proven, read by everyone who answers from memory.

use crate::clock;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A point in time, in nanoseconds since the proof was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// A stretch of time during which every change reached us. What was read in one is worth nothing in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch(u64);

/// Whether every change of a session reaches this process, and since when that is known.
#[derive(Debug)]
pub struct Proof {
    begun: Instant,
    max_staleness: u64,
    /// The current [`Watch`].
    watch: AtomicU64,
    /// Memory may be believed until then; 0 while it may not.
    until: AtomicU64,
    /// Every change before this moment has been heard; stays when the listener is lost.
    heard: AtomicU64,
}

impl Moment {
    /// Later by `duration`.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }

    /// What has passed since `earlier`.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Proof {
    /// Nothing is proven yet. A proof counts for `max_staleness`.
    pub fn new(max_staleness: Duration) -> Self {
        Self {
            begun: clock::now(),
            max_staleness: nanoseconds(max_staleness),
            watch: AtomicU64::new(1),
            until: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        }
    }

    /// How long a proof counts.
    pub fn max_staleness(&self) -> Duration {
        Duration::from_nanos(self.max_staleness)
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.moment(clock::now())
    }

    /// This point in time; what was before the proof was made counts as its beginning.
    pub fn moment(&self, instant: Instant) -> Moment {
        Moment(nanoseconds(instant.saturating_duration_since(self.begun)))
    }

    /// The watch that holds now, if one does.
    pub fn watch(&self, now: Moment) -> Option<Watch> {
        // The end is read first: a watch that began after it was read is newer, never older.
        let holds = now.0 < self.until.load(Ordering::SeqCst);
        holds.then(|| Watch(self.watch.load(Ordering::SeqCst)))
    }

    /// Every change before this moment has been heard.
    pub fn heard(&self) -> Moment {
        Moment(self.heard.load(Ordering::SeqCst))
    }

    /// A new watch begins, in which nothing has been read yet. It holds once it is proven.
    pub fn begin(&self) {
        self.watch.fetch_add(1, Ordering::SeqCst);
    }

    /// Every change before `moment` has been heard.
    pub fn prove(&self, moment: Moment) {
        self.heard.store(moment.0, Ordering::SeqCst);
        self.until.store(moment.0.saturating_add(self.max_staleness), Ordering::SeqCst);
    }

    /// Changes may have been missed; `true` = until now it was known that none was.
    pub fn end(&self) -> bool {
        let held = self.until.swap(0, Ordering::SeqCst) > 0;
        self.begin();
        held
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_proof_counts_from_its_moment_and_no_longer_than_it_may() {
        let proof = Proof::new(SECOND * 2);
        let now = proof.now();
        assert_eq!(proof.watch(now), None);
        proof.begin();
        proof.prove(now);
        let watch = proof.watch(now);
        assert!(watch.is_some());
        assert_eq!(proof.watch(now.after(SECOND * 2 - Duration::from_nanos(1))), watch);
        assert_eq!(proof.watch(now.after(SECOND * 2)), None);
        proof.prove(now.after(SECOND));
        assert_eq!(proof.watch(now.after(SECOND * 2)), watch);
    }

    #[test]
    fn what_one_watch_has_read_is_unknown_to_the_next() {
        let proof = Proof::new(SECOND);
        let now = proof.now();
        proof.prove(now);
        let first = proof.watch(now);
        assert!(proof.end());
        assert!(!proof.end());
        assert_eq!(proof.watch(now), None);
        assert_eq!(proof.heard(), now);
        proof.prove(now);
        assert!(proof.watch(now).is_some_and(|second| Some(second) != first));
    }
}
