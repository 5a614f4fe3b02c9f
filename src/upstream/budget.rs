//! How many requests may be sent once more: a fifth of all, so that retries do not finish off a service in trouble.

use crate::{clock, tasks::Worker};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Of so many requests one may be sent once more.
const REQUESTS_PER_RETRY: u64 = 5;

/// So many may be in any second, however few requests there are.
const RETRIES_PER_SECOND: u64 = 10;

/// Requests and retries count for one to two of these.
const WINDOW: Duration = Duration::from_secs(5);

/// An upstream's budget for retries.
#[derive(Debug)]
pub(super) struct Budget {
    /// Each worker counts for itself.
    requests: Box<[Count]>,
    spent: Mutex<Spent>,
}

/// Alone in its piece of memory, so that processors do not fight for it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

#[derive(Debug)]
struct Spent {
    second: (Instant, u64),
    /// When the window began, how many requests there had been, and how many retries there were since.
    window: (Instant, u64, u64),
    /// How many requests and retries there were in the window before.
    before: (u64, u64),
}

impl Budget {
    pub(super) fn new(workers: usize) -> Self {
        let now = clock::now();
        Self {
            requests: (0..workers).map(|_| Count::default()).collect(),
            spent: Mutex::new(Spent { second: (now, 0), window: (now, 0, 0), before: (0, 0) }),
        }
    }

    /// One more request.
    pub(super) fn earn(&self, Worker(index): Worker) {
        self.requests[index % self.requests.len()].0.fetch_add(1, Relaxed);
    }

    /// Whether one more retry is in the budget; then it is spent.
    pub(super) fn spend(&self) -> bool {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).spend(self.requests(), clock::now())
    }

    /// Once a second: what is long past counts no more, and what is not does although nobody has spent anything.
    pub(super) fn settle(&self, now: Instant) {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).settle(self.requests(), now);
    }

    fn requests(&self) -> u64 {
        self.requests.iter().map(|count| count.0.load(Relaxed)).sum()
    }
}

impl Spent {
    fn settle(&mut self, requests: u64, now: Instant) {
        let (began, had, retries) = self.window;
        let age = now.saturating_duration_since(began);
        if age >= WINDOW {
            self.before = if age < 2 * WINDOW { (requests - had, retries) } else { (0, 0) };
            self.window = (now, requests, 0);
        }
    }

    fn spend(&mut self, requests: u64, now: Instant) -> bool {
        self.settle(requests, now);
        if now - self.second.0 >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        let earned = (requests - self.window.1 + self.before.0) / REQUESTS_PER_RETRY;
        let may = self.second.1 < RETRIES_PER_SECOND || self.window.2 + self.before.1 < earned;
        if may {
            self.second.1 += 1;
            self.window.2 += 1;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_again_and_ten_a_second_in_any_case() {
        let start = clock::now();
        let spend = |spent: &mut Spent, requests, at| {
            (0..1000).take_while(|_| spent.spend(requests, start + Duration::from_millis(at))).count()
        };
        let mut spent = Spent { second: (start, 0), window: (start, 0, 0), before: (0, 0) };
        assert_eq!(spend(&mut spent, 1, 0), 10);
        assert_eq!(spend(&mut spent, 1, 900), 0);
        assert_eq!(spend(&mut spent, 2, 1100), 10, "the next second");
        assert_eq!(spend(&mut spent, 1000, 1200), 180, "a fifth, less the twenty that were spent");
        assert_eq!(spend(&mut spent, 1000, 5100), 10, "requests and retries of the window before count");
        assert_eq!(spend(&mut spent, 1050, 5200), 0);
        assert_eq!(spend(&mut spent, 1050, 60_000), 10, "what is long past does not");
        for second in 61..80 {
            spent.settle(1050 + 1000 * (second - 60), start + Duration::from_secs(second));
        }
        assert!(spend(&mut spent, 20_050, 80_000) > 500, "requests count although nothing was sent again for long");
    }
}
