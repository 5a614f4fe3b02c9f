//! Until when memory may be believed: what the listener has proven of each primary, read by everyone who answers from
//! memory.

use super::Redis;
use crate::clock;
use arc_swap::ArcSwap;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A point in time, in nanoseconds since the proofs were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The proofs of all primaries. What one of them has told is worth something as long as its own proof holds.
#[derive(Debug)]
pub struct Proofs {
    begun: Instant,
    max_staleness: Duration,
    all: ArcSwap<Vec<(Weak<Redis>, Arc<Proof>)>>,
}

/// Until when something may be believed: it comes nearer and never moves away.
#[derive(Debug)]
pub struct Limit(AtomicU64);

/// Whether every change that one primary makes reaches this process, and since when that is known.
#[derive(Debug)]
pub struct Proof {
    begun: Instant,
    max_staleness: u64,
    /// What was read before this moment is worth nothing.
    since: AtomicU64,
    /// Memory may be believed until then; 0 while it may not.
    until: AtomicU64,
    /// Every change before this moment has been heard; stays when the listener is lost.
    heard: AtomicU64,
    /// Whether keyspace events are what tells.
    by_events: AtomicBool,
}

impl Limit {
    /// It may be believed until the first of these.
    pub fn new(moments: impl IntoIterator<Item = Moment>) -> Self {
        Self(AtomicU64::new(moments.into_iter().min().unwrap_or(Moment::NEVER).0))
    }

    /// Whether it may be believed now.
    pub fn is_ahead_of(&self, now: Moment) -> bool {
        now.0 < self.0.load(Ordering::SeqCst)
    }

    /// It may be believed no longer than until then.
    pub fn draw_near(&self, moment: Moment) {
        self.0.fetch_min(moment.0, Ordering::SeqCst);
    }

    /// It may never be believed again.
    pub fn end(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Whether it was ended.
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Moment {
    /// Later than any other.
    pub const NEVER: Self = Self(u64::MAX);

    /// Later by `duration`.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }

    /// What has passed since `earlier`.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Proofs {
    /// Nothing is proven yet, and of nobody. A proof counts for `max_staleness`.
    pub fn new(max_staleness: Duration) -> Self {
        Self { begun: clock::now(), max_staleness, all: ArcSwap::default() }
    }

    /// This point in time; what was before the proofs were made counts as their beginning.
    pub fn moment(&self, instant: Instant) -> Moment {
        moment(self.begun, instant)
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.moment(clock::now())
    }

    /// What is proven of a primary, if it is one that is listened to.
    pub fn of(&self, redis: &Arc<Redis>) -> Option<Arc<Proof>> {
        let all = self.all.load();
        let own = all.iter().find(|(known, _)| known.as_ptr() == Arc::as_ptr(redis));
        own.map(|(_, proof)| proof.clone())
    }

    /// Whether a proof is still that of a primary.
    pub fn knows(&self, proof: &Arc<Proof>) -> bool {
        self.all.load().iter().any(|(_, known)| Arc::ptr_eq(known, proof))
    }

    /// Whether every change of every primary is heard now.
    pub fn hold(&self) -> bool {
        let (all, now) = (self.all.load(), self.now());
        !all.is_empty() && all.iter().all(|(_, proof)| proof.holds(now))
    }

    /// A proof of somebody new, which holds once it is proven.
    pub fn make(&self) -> Arc<Proof> {
        Arc::new(Proof {
            begun: self.begun,
            max_staleness: nanoseconds(self.max_staleness),
            since: AtomicU64::new(0),
            until: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            by_events: AtomicBool::new(false),
        })
    }

    /// From now on these are all; whoever is not among them is not believed any more.
    pub fn replace(&self, all: Vec<(Weak<Redis>, Arc<Proof>)>) {
        for (_, gone) in self.all.swap(Arc::new(all)).iter().filter(|(_, proof)| !self.knows(proof)) {
            gone.end();
        }
    }
}

impl Proof {
    /// How long a proof counts.
    pub fn max_staleness(&self) -> Duration {
        Duration::from_nanos(self.max_staleness)
    }

    /// Now.
    pub fn now(&self) -> Moment {
        moment(self.begun, clock::now())
    }

    /// Whether keyspace events are what tells, or will be when it holds again: asked when something was read, it is true
    /// for as long as that is covered.
    pub fn is_by_events(&self) -> bool {
        self.by_events.load(Ordering::SeqCst)
    }

    /// How it will be told, before anything is proven that way.
    pub fn listens(&self, by_events: bool) {
        self.by_events.store(by_events, Ordering::SeqCst);
    }

    /// Whether every change is heard.
    pub fn holds(&self, now: Moment) -> bool {
        now.0 < self.until.load(Ordering::SeqCst)
    }

    /// Whether every change since a read was sent has been heard, or is about to be.
    pub fn covers(&self, sent: Moment, now: Moment) -> bool {
        // The end is read first: a watch that began after it was read refuses more, never less.
        self.holds(now) && sent.0 >= self.since.load(Ordering::SeqCst)
    }

    /// Until when what was read is known to have stayed true, as far as nothing was heard of it.
    pub fn proven(&self, sent: Moment) -> Moment {
        let is_watched = sent.0 >= self.since.load(Ordering::SeqCst);
        if is_watched { sent.max(Moment(self.heard.load(Ordering::SeqCst))) } else { sent }
    }

    /// Nothing that was read until now is worth anything. Reads from now on are, while changes are heard.
    pub fn begin(&self) {
        self.since.store(self.now().0, Ordering::SeqCst);
    }

    /// Every change before `moment` has been heard. Before the first time, and after an end, [`Proof::begin`].
    pub fn prove(&self, moment: Moment) {
        self.heard.store(moment.0, Ordering::SeqCst);
        self.until.store(moment.0.saturating_add(self.max_staleness), Ordering::SeqCst);
    }

    /// Changes may have been missed; `true` = until now it was known that none was.
    pub fn end(&self) -> bool {
        self.until.swap(0, Ordering::SeqCst) > 0
    }

    /// Whether it was proven since it last ended, however long ago.
    pub(super) fn is_open(&self) -> bool {
        self.until.load(Ordering::SeqCst) > 0
    }
}

fn moment(begun: Instant, instant: Instant) -> Moment {
    Moment(nanoseconds(instant.saturating_duration_since(begun)))
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
        let proof = Proofs::new(SECOND * 2).make();
        assert!(!proof.holds(proof.now()));
        proof.begin();
        let now = proof.now();
        proof.prove(now);
        assert!(proof.covers(now, now));
        assert!(proof.covers(now, now.after(SECOND * 2 - Duration::from_nanos(1))));
        assert!(!proof.covers(now, now.after(SECOND * 2)));
        proof.prove(now.after(SECOND));
        assert!(proof.covers(now, now.after(SECOND * 2)));
    }

    #[test]
    fn what_was_read_before_a_doubt_is_worth_nothing_after_it() {
        let proof = Proofs::new(SECOND).make();
        proof.begin();
        let first = proof.now();
        proof.prove(first.after(SECOND / 2));
        assert!(proof.end() && !proof.end() && !proof.is_open());
        assert!(!proof.covers(first, first));
        assert_eq!(proof.proven(first), first.after(SECOND / 2), "until then it is known to have been true");
        proof.begin();
        let second = proof.now();
        proof.prove(second);
        assert!(proof.covers(second, second) && !proof.covers(first, second));
        assert_eq!(proof.proven(first), first);
    }

    #[test]
    fn who_is_not_listened_to_any_more_is_not_believed() {
        let proofs = Proofs::new(SECOND);
        assert!(!proofs.hold(), "nobody is listened to");
        let all = [proofs.make(), proofs.make()];
        let entry = |proof: &Arc<Proof>| (Weak::new(), proof.clone());
        proofs.replace(all.iter().map(entry).collect());
        for proof in &all {
            assert!(!proofs.hold(), "one is missing");
            proof.prove(proof.now());
        }
        assert!(proofs.hold());
        proofs.replace(vec![entry(&all[1])]);
        assert!(!all[0].is_open() && !proofs.knows(&all[0]));
        assert!(all[1].is_open() && proofs.knows(&all[1]) && proofs.hold());
    }

    #[test]
    fn a_limit_comes_nearer_and_never_moves_away() {
        let now = Proofs::new(SECOND).now();
        let limit = Limit::new([now.after(SECOND * 3), Moment::NEVER, now.after(SECOND * 4)]);
        assert!(limit.is_ahead_of(now.after(SECOND * 2)) && !limit.is_ahead_of(now.after(SECOND * 3)));
        limit.draw_near(now.after(SECOND));
        limit.draw_near(now.after(SECOND * 2));
        assert!(limit.is_ahead_of(now) && !limit.is_ahead_of(now.after(SECOND)) && !limit.has_ended());
        limit.end();
        limit.draw_near(now.after(SECOND));
        assert!(!limit.is_ahead_of(now) && limit.has_ended());
    }
}
