//! Whether an endpoint gets requests: what checks and the requests themselves say of it, shared by all workers.

use crate::{clock, config::upstreams::Eject, telemetry::metrics::Gauge};
use std::{
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// An endpoint that comes back gets fewer requests at first, and its share after this long.
const SLOW_START: Duration = Duration::from_secs(10);

/// The part of its share that a returned endpoint gets at first is one in so many.
const FIRST_PART: u64 = 10;

/// Each ejection in a row lasts twice as long as the one before, and at most this long.
const EJECTION_MAX: Duration = Duration::from_secs(300);

/// One endpoint's health.
#[derive(Debug)]
pub(super) struct Health {
    /// The times below are milliseconds since then; 0 is never.
    epoch: Instant,
    errors: AtomicU32,
    ejections: AtomicU32,
    out_until: AtomicU64,
    back_since: AtomicU64,
    fails_checks: AtomicBool,
    /// Checks in a row that passed, or as a negative number, that failed.
    streak: AtomicI32,
    up: Gauge,
}

impl Health {
    pub(super) fn new(up: Gauge) -> Self {
        up.set(1);
        Self {
            epoch: clock::now(),
            errors: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
            back_since: AtomicU64::new(0),
            fails_checks: AtomicBool::new(false),
            streak: AtomicI32::new(0),
            up,
        }
    }

    /// Whether it gets requests.
    pub(super) fn is_in(&self) -> bool {
        !self.fails_checks.load(Relaxed) && self.out_until.load(Relaxed) == 0
    }

    /// Whether it takes its turn: while it starts slowly, a growing part of its turns. `dice` is any number.
    pub(super) fn takes(&self, now: Instant, dice: u64) -> bool {
        let since = self.back_since.load(Relaxed);
        if since == 0 {
            return true;
        }
        let (back, whole) = (self.millis(now).saturating_sub(since), SLOW_START.as_millis() as u64);
        dice % whole < back.max(whole / FIRST_PART)
    }

    /// It gets no requests until it passes its checks, if there are any.
    pub(super) fn leave_out(&self) {
        self.fails_checks.store(true, Relaxed);
        self.up.set(0);
    }

    /// A request was answered.
    pub(super) fn succeeded(&self) {
        if self.errors.load(Relaxed) != 0 || self.out_until.load(Relaxed) != 0 {
            self.errors.store(0, Relaxed);
            if self.out_until.swap(0, Relaxed) != 0 {
                // It answers, although it was out: nobody better was left to ask.
                self.return_at(clock::now());
            }
        }
    }

    /// A request came to nothing. Ejects the endpoint and answers for how long, if this was one error too many and
    /// `may_be_ejected`.
    pub(super) fn failed(&self, eject: Eject, may_be_ejected: impl FnOnce() -> bool) -> Option<Duration> {
        let errors = self.errors.fetch_add(1, Relaxed) + 1;
        let now = clock::now();
        if eject.errors == 0 || errors < eject.errors || !self.is_in() || !may_be_ejected() {
            return None;
        }
        let before = self.ejections.fetch_add(1, Relaxed).min(16);
        let duration = eject.duration.saturating_mul(1 << before).min(EJECTION_MAX.max(eject.duration));
        self.out_until.store(self.millis(now + duration), Relaxed);
        self.up.set(0);
        Some(duration)
    }

    /// Lets it return if its time is over; answers whether it has. One more error ejects it again.
    pub(super) fn settle(&self, now: Instant, eject: Eject) -> bool {
        let until = self.out_until.load(Relaxed);
        let is_over = until != 0 && until <= self.millis(now);
        if is_over {
            self.out_until.store(0, Relaxed);
            self.return_at(now);
            self.errors.store(eject.errors.saturating_sub(1), Relaxed);
        }
        let since = self.back_since.load(Relaxed);
        if since != 0 && self.millis(now) > since + 2 * SLOW_START.as_millis() as u64 {
            self.back_since.store(0, Relaxed);
            self.ejections.store(0, Relaxed);
        }
        is_over
    }

    /// A check passed or failed. Answers whether it is in or out now, if that has changed.
    pub(super) fn checked(&self, passed: bool, unhealthy_after: i32, healthy_after: i32) -> Option<bool> {
        let streak = self.streak.load(Relaxed);
        let streak = if passed { streak.max(0).saturating_add(1) } else { streak.min(0).saturating_sub(1) };
        self.streak.store(streak, Relaxed);
        let out = self.fails_checks.load(Relaxed);
        if out && streak >= healthy_after {
            self.fails_checks.store(false, Relaxed);
            self.return_at(clock::now());
            Some(true)
        } else if !out && streak <= -unhealthy_after {
            self.leave_out();
            Some(false)
        } else {
            None
        }
    }

    fn return_at(&self, now: Instant) {
        self.back_since.store(self.millis(now).max(1), Relaxed);
        if !self.fails_checks.load(Relaxed) {
            self.up.set(1);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Metrics, families};

    const EJECT: Eject = Eject { errors: 3, duration: Duration::from_secs(10) };

    fn health() -> (Metrics, Health) {
        let metrics = Metrics::new(1);
        let health = Health::new(metrics.gauge(&families::ENDPOINT_UP, &["app", "http://a"]));
        (metrics, health)
    }

    fn fail(health: &Health, times: usize) -> Option<Duration> {
        (0..times).fold(None, |_, _| health.failed(EJECT, || true))
    }

    #[test]
    fn consecutive_errors_eject_and_each_ejection_in_a_row_lasts_longer() {
        let (_metrics, health) = health();
        assert_eq!(fail(&health, 2), None);
        health.succeeded();
        assert_eq!(fail(&health, 2), None, "an answer in between starts the count again");
        assert_eq!(fail(&health, 1), Some(Duration::from_secs(10)));
        let now = clock::now();
        assert!(!health.is_in() && !health.settle(now, EJECT));
        let later = now + Duration::from_secs(11);
        assert!(health.settle(later, EJECT) && health.is_in());
        assert_eq!(fail(&health, 1), Some(Duration::from_secs(20)), "after its return one error is enough");
        assert!(!health.is_in());
    }

    #[test]
    fn an_endpoint_that_must_stay_is_not_ejected() {
        let (_metrics, health) = health();
        for _ in 0..10 {
            assert_eq!(health.failed(EJECT, || false), None);
        }
        assert!(health.is_in());
    }

    #[test]
    fn a_returned_endpoint_starts_slowly() {
        let (_metrics, health) = health();
        let now = clock::now() + Duration::from_secs(1);
        let taken = |at| (0..100_000).filter(|dice| health.takes(at, *dice)).count();
        assert_eq!(taken(now), 100_000);
        health.return_at(now);
        assert_eq!([now, now + SLOW_START / 2, now + SLOW_START].map(taken), [10_000, 50_000, 100_000]);
    }

    #[test]
    fn checks_take_out_and_bring_back_after_so_many_in_a_row() {
        let (metrics, health) = health();
        let outcomes = [false, true, false, false, true, false, true, true];
        let changes: Vec<_> = outcomes.into_iter().map(|passed| health.checked(passed, 2, 2)).collect();
        assert_eq!(changes, [None, None, None, Some(false), None, None, None, Some(true)]);
        assert!(health.is_in());
        assert!(metrics.page().contains("onedoor_endpoint_up{upstream=\"app\",endpoint=\"http://a\"} 1"));
    }
}
