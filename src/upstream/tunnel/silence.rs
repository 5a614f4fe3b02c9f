//! How long a tunnel has been silent, told without looking at the clock for every piece that passes.

use crate::clock;
use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Sleep;

/// A silence is measured in so many parts: it may last one longer than the limit.
const PARTS: u32 = 8;

/// Watches over a tunnel's silence.
pub(super) struct Silence {
    limit: Duration,
    alarm: Pin<Box<Sleep>>,
    /// The alarm wakes the tunnel.
    is_set: bool,
    /// Parts in a row in which nothing has passed.
    silent: u32,
    broken: bool,
}

impl Silence {
    /// A silence that begins now.
    pub(super) fn new(limit: Duration) -> Self {
        let alarm = Box::pin(tokio::time::sleep(limit / PARTS));
        Self { limit, alarm, is_set: false, silent: 0, broken: false }
    }

    /// Something has passed.
    pub(super) fn end(&mut self) {
        self.broken = true;
    }

    /// From now on it may last so long.
    pub(super) fn begin(&mut self, limit: Duration) {
        (self.limit, self.silent, self.broken) = (limit, 0, false);
        self.set();
    }

    /// The same, if it might have lasted longer.
    pub(super) fn shorten(&mut self, limit: Duration) {
        if limit < self.limit {
            self.begin(limit);
        }
    }

    /// The next poll is by another task.
    pub(super) fn forget_waker(&mut self) {
        self.is_set = false;
    }

    /// Ready once it has lasted too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_set && !self.alarm.is_elapsed() {
                return Poll::Pending;
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                self.is_set = true;
                return Poll::Pending;
            }
            self.silent = if mem::take(&mut self.broken) { 0 } else { self.silent + 1 };
            if self.silent >= PARTS {
                return Poll::Ready(());
            }
            self.set();
        }
    }

    fn set(&mut self) {
        self.alarm.as_mut().reset((clock::now() + self.limit / PARTS).into());
        self.is_set = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Instant};

    const LIMIT: Duration = Duration::from_millis(160);

    async fn lasts(silence: &mut Silence, since: Instant) -> Duration {
        poll_fn(|cx| silence.poll(cx)).await;
        clock::now() - since
    }

    #[tokio::test]
    async fn it_lasts_as_long_as_it_may_from_whatever_has_passed_last() {
        let begun = clock::now();
        let mut silence = Silence::new(LIMIT);
        for _ in 0..12 {
            let waiting = tokio::time::timeout(LIMIT / 4, poll_fn(|cx| silence.poll(cx))).await;
            assert!(waiting.is_err() || clock::now() - begun > LIMIT, "something passes all the time");
            silence.end();
        }
        let last = clock::now();
        assert!(lasts(&mut silence, last).await >= LIMIT);
        let last = clock::now();
        silence.begin(LIMIT / 2);
        assert!(lasts(&mut silence, last).await >= LIMIT / 2);
    }

    #[tokio::test]
    async fn it_only_becomes_shorter() {
        let mut silence = Silence::new(Duration::from_secs(3600));
        silence.shorten(Duration::from_secs(7200));
        assert_eq!(silence.limit, Duration::from_secs(3600));
        silence.shorten(LIMIT);
        let begun = clock::now();
        assert!(lasts(&mut silence, begun).await < Duration::from_secs(3600));
    }
}
