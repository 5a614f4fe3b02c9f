//! How a client takes a response of HTTP/2: one that opens its window too slowly, or never, holds no memory for ever.

use crate::clock;
use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::Sleep;

/// For so many bytes the client is given its patience once more.
const STEP_BYTES: usize = 16 * 1024;

/// What of a response waits for the client; shared by its body and its task.
#[derive(Debug, Clone, Default)]
pub struct Pace(Arc<Mutex<Option<Offer>>>);

/// A chunk that the client has not taken whole.
#[derive(Debug, Clone, Copy)]
struct Offer {
    since: Instant,
    steps: u32,
}

impl Pace {
    /// A chunk of so many bytes waits for the client from now on.
    pub fn offers(&self, bytes: usize) {
        let steps = 1 + u32::try_from(bytes / STEP_BYTES).unwrap_or(u32::MAX - 1);
        self.set(Some(Offer { since: clock::now(), steps }));
    }

    /// Nothing waits for the client.
    pub fn rests(&self) {
        self.set(None);
    }

    fn set(&self, offer: Option<Offer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = offer;
    }

    fn over_at(&self, patience: Duration) -> Option<Instant> {
        let offer = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offer.map(|offer| offer.since + patience.saturating_mul(offer.steps))
    }
}

pin_project! {
    /// A response's task, which ends when its client takes nothing for too long.
    pub struct Paced<F> {
        #[pin]
        stream: F,
        pace: Pace,
        patience: Duration,
        // Set only while the client is waited for.
        alarm: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> Paced<F> {
    /// Ends `stream` when what waits for the client waits longer than `patience` for each 16 KiB of it.
    pub fn new(stream: F, pace: Pace, patience: Duration) -> Self {
        Self { stream, pace, patience, alarm: None }
    }
}

impl<F: Future<Output = ()>> Future for Paced<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(over) = this.pace.over_at(*this.patience) else {
                *this.alarm = None;
                return Poll::Pending;
            };
            if clock::now() >= over {
                return Poll::Ready(());
            }
            let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(over.into())));
            if alarm.deadline().into_std() < over {
                alarm.as_mut().reset(over.into());
            }
            ready!(alarm.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_ends_when_what_it_offers_is_not_taken() {
        let patience = Duration::from_millis(30);
        let pace = Pace::default();
        let mut resting = std::pin::pin!(Paced::new(std::future::pending(), pace.clone(), patience));
        assert!(tokio::time::timeout(patience * 3, &mut resting).await.is_err(), "nothing is offered");
        pace.offers(STEP_BYTES);
        let begun = clock::now();
        resting.await;
        assert!(begun.elapsed() >= patience * 2);
    }
}
