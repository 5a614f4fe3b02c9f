//! How quickly an endpoint answers, and how often with an error: whether it should get the next request.
//!
//! The time is a running mean of logarithms in which no single answer counts for much: some requests take seconds
//! wherever they go, and their share is the same everywhere. It is a guess, and treated as one: what is nearly as quick
//! is as good, nobody is held for more than sixteen times as slow, and who has not been asked for a while is asked.

use crate::clock;
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The unit of logarithms: a time twice as long.
const OCTAVE: i64 = 1 << 16;

/// Below this, differences are chance, or the machine's.
const TIME_MIN: Duration = Duration::from_millis(5);

/// An endpoint that takes twice as long is as good as another; beyond that each octave counts, up to so many.
const TOLERANCE: i64 = OCTAVE;
const HANDICAP_MAX: i64 = 4 * OCTAVE;

/// So many answers must be known of both before they are compared.
const ANSWERS_MIN: u64 = 8;

/// An answer counts for one part in so many.
const MEMORY: i64 = 32;

/// After this long without an answer, the next one counts half.
const OLD: Duration = Duration::from_secs(2);

/// An endpoint that was not asked for so long is asked as though it were quick.
const UNASKED_MAX: Duration = Duration::from_secs(5);

/// A process that ends loses request after request until the last of its sockets is closed. For this long after a loss
/// others are preferred.
const AFTERMATH: Duration = Duration::from_millis(500);

/// How errors are counted: this is all, and each answer counts for one part in so many.
const ALL: u32 = 1 << 16;
const ERRORS_MEMORY: u32 = 16;

/// One endpoint's speed. What is lost when two workers note something at once does not matter.
#[derive(Debug)]
pub(super) struct Speed {
    /// The times below are milliseconds since then.
    epoch: Instant,
    /// The typical time until an answer, in octaves above a microsecond.
    octaves: AtomicU64,
    answers: AtomicU64,
    heard: AtomicU64,
    asked: AtomicU64,
    /// When it last lost a request; 0 is never.
    lost: AtomicU64,
    /// The share of errors among the last answers.
    errors: AtomicU32,
}

impl Speed {
    pub(super) fn new() -> Self {
        Self {
            epoch: clock::now(),
            octaves: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errors: AtomicU32::new(0),
        }
    }

    /// A request goes to it.
    pub(super) fn ask(&self, now: Instant) {
        self.asked.store(self.millis(now), Relaxed);
    }

    /// A request was lost with its connection.
    pub(super) fn lost(&self, now: Instant) {
        self.lost.store(self.millis(now).max(1), Relaxed);
    }

    /// It has answered after this long, and not with an error.
    pub(super) fn answered(&self, took: Duration, now: Instant) {
        let (known, answers, now) = (self.typical(), self.answers.load(Relaxed), self.millis(now));
        let silence = now.saturating_sub(self.heard.load(Relaxed));
        let parts = match i64::try_from(answers).unwrap_or(MEMORY) {
            1.. if u128::from(silence) >= OLD.as_millis() => 2,
            answers => MEMORY.min(answers + 1),
        };
        let distance = octaves(took.max(TIME_MIN)) - known;
        let step = if answers == 0 { distance } else { damped(distance) / parts };
        self.octaves.store((known + step).unsigned_abs(), Relaxed);
        self.answers.store(answers + 1, Relaxed);
        self.heard.store(now, Relaxed);
    }

    /// It has answered, or failed to.
    pub(super) fn fared(&self, well: bool) {
        let before = self.errors.load(Relaxed);
        if !well {
            self.errors.store(before + (ALL - before) / ERRORS_MEMORY, Relaxed);
        } else if before > 0 {
            self.errors.store(before - before.div_ceil(ERRORS_MEMORY), Relaxed);
        }
    }

    /// How much fuller than it is it should look beside `other`, in 65536ths.
    pub(super) fn handicap(&self, other: &Self, now: Instant) -> u64 {
        if self.lost_last(other, now) {
            return factor(HANDICAP_MAX);
        }
        let known = |speed: &Self| speed.answers.load(Relaxed) >= ANSWERS_MIN;
        let slower = self.typical() - other.typical() - TOLERANCE;
        if slower <= 0 || !known(self) || !known(other) {
            return OCTAVE.unsigned_abs();
        }
        let unasked = self.millis(now).saturating_sub(self.asked.load(Relaxed));
        let whole = UNASKED_MAX.as_millis() as i64;
        let fresh = (whole - i64::try_from(unasked).unwrap_or(whole)).max(0);
        factor(slower.min(HANDICAP_MAX) * fresh / whole)
    }

    /// Whether its turn should be another's: an endpoint that fails is done at once and so always looks idle. At most
    /// every second turn is, so that it has no more than an equal share. `dice` is any number.
    pub(super) fn yields(&self, dice: u64) -> bool {
        let errors = u64::from(self.errors.load(Relaxed));
        errors > 0 && dice % (2 * u64::from(ALL)) < errors
    }

    /// Whether it has just lost a request, and `other` not, or before: where instances are replaced in turn, it is back.
    fn lost_last(&self, other: &Self, now: Instant) -> bool {
        let ago = |speed: &Self| match speed.lost.load(Relaxed) {
            0 => u64::MAX,
            lost => speed.millis(now).saturating_sub(lost),
        };
        ago(self) < ago(other).min(AFTERMATH.as_millis() as u64)
    }

    fn typical(&self) -> i64 {
        i64::try_from(self.octaves.load(Relaxed)).unwrap_or(i64::MAX)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The logarithm of a time; between powers of two a straight line is near enough.
fn octaves(time: Duration) -> i64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
    let whole = micros.ilog2();
    i64::from(whole) * OCTAVE + (((micros << 16) >> whole) as i64 - OCTAVE)
}

/// The same way back, in 65536ths.
fn factor(octaves: i64) -> u64 {
    ((OCTAVE + octaves % OCTAVE) << (octaves / OCTAVE)).unsigned_abs()
}

/// The square root of a distance: one that is far off counts for little more than one that is near.
fn damped(distance: i64) -> i64 {
    let root = (distance.unsigned_abs() * OCTAVE.unsigned_abs()).isqrt();
    distance.signum() * i64::try_from(root).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(took: impl Fn(usize) -> u64) -> Speed {
        let speed = Speed::new();
        let now = clock::now();
        for n in 0..400 {
            speed.answered(Duration::from_millis(took(n)), now);
        }
        speed.ask(now);
        speed
    }

    fn times(one: &Speed, other: &Speed) -> f64 {
        one.handicap(other, clock::now()) as f64 / OCTAVE as f64
    }

    #[test]
    fn who_takes_much_longer_looks_fuller_within_bounds() {
        let quick = known(|_| 10);
        for (millis, wanted) in [(1, 1.0), (10, 1.0), (19, 1.0), (40, 2.0), (80, 4.0), (1000, 16.0), (60_000, 16.0)] {
            let seen = times(&known(|_| millis), &quick);
            assert!((wanted * 0.85..=wanted * 1.15).contains(&seen), "{millis} ms: {seen}");
        }
        assert!((times(&Speed::new(), &quick) - 1.0).abs() < 0.01, "nothing is known of it");
    }

    #[test]
    fn answers_that_take_long_everywhere_make_nobody_slow() {
        let quick = known(|_| 2);
        for every in [2, 3, 10] {
            let mixed = known(|n| if n % every == 0 { 30_000 } else { 2 });
            assert!(times(&mixed, &known(|n| if n % every == 1 { 30_000 } else { 2 })) < 1.3, "one in {every}");
            assert!(every < 10 || times(&mixed, &quick) < 1.3, "one in {every}");
        }
    }

    #[test]
    fn who_was_not_asked_for_long_is_asked_again_and_soon_forgiven() {
        let (quick, slow, now) = (known(|_| 2), known(|_| 200), clock::now());
        let later = now + UNASKED_MAX + Duration::from_secs(1);
        assert_eq!(slow.handicap(&quick, later), OCTAVE.unsigned_abs());
        for turn in 1..=6 {
            slow.answered(Duration::from_millis(2), now + 6 * turn * Duration::from_secs(1));
        }
        assert!(times(&slow, &quick) < 1.3);
    }

    #[test]
    fn who_has_just_lost_a_request_looks_fuller_for_a_moment() {
        let (losing, other, now) = (Speed::new(), Speed::new(), clock::now());
        losing.lost(now);
        assert_eq!(losing.handicap(&other, now), factor(HANDICAP_MAX));
        assert_eq!(other.handicap(&losing, now), OCTAVE.unsigned_abs());
        assert_eq!(losing.handicap(&other, now + 2 * AFTERMATH), OCTAVE.unsigned_abs());
        other.lost(now);
        assert_eq!(losing.handicap(&other, now), OCTAVE.unsigned_abs(), "nobody is better off elsewhere");
        let later = now + AFTERMATH / 2;
        other.lost(later);
        assert_eq!(other.handicap(&losing, later), factor(HANDICAP_MAX), "the first is back");
        assert_eq!(losing.handicap(&other, later), OCTAVE.unsigned_abs());
    }

    #[test]
    fn who_fails_yields_every_second_turn_until_it_is_well() {
        let speed = Speed::new();
        let share = || (0..1000).filter(|n| speed.yields(n * u64::from(ALL) / 500)).count();
        assert_eq!(share(), 0);
        (0..200).for_each(|_| speed.fared(false));
        assert!((495..=500).contains(&share()), "{}", share());
        (0..400).for_each(|_| speed.fared(true));
        assert_eq!(share(), 0);
    }
}
