//! The way out: fail the health pages, wait, stop accepting, finish what was accepted.

use super::worker::Shared;
use crate::config::server::Server;
use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long those who ask too late may still be told so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The moment from which accepting ends and idle connections close; cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct Closing(Arc<Moment>);

#[derive(Debug, Default)]
struct Moment {
    begun: AtomicBool,
    token: CancellationToken,
}

impl Closing {
    /// It is now.
    pub fn begin(&self) {
        self.0.begun.store(true, Ordering::Relaxed);
        self.0.token.cancel();
    }

    /// Whether it has come.
    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Waits for it.
    pub fn begins(&self) -> Begins {
        Begins { moment: self.0.clone(), cancelled: self.0.token.clone().cancelled_owned(), waker: None }
    }
}

pin_project! {
    /// Waits for the moment. Whoever is woken for other things asks it each time, so that costs next to nothing.
    pub struct Begins {
        moment: Arc<Moment>,
        #[pin]
        cancelled: WaitForCancellationFutureOwned,
        // Whom it wakes.
        waker: Option<Waker>,
    }
}

impl Future for Begins {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let is_known = this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if is_known && !this.moment.begun.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        *this.waker = Some(cx.waker().clone());
        this.cancelled.poll(cx)
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the process may not listen for signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Drains: returns when every accepted request has its whole answer, or a moment after `drain` has run out. In that
/// moment requests that begin are refused, so that their clients know that nothing has come of them.
///
/// A second signal cuts `drain_delay` short.
pub async fn drain(server: &Server, shared: &Shared, signals: &mut Signals) {
    shared.gateway.begin_draining();
    tracing::info!(delay = ?server.drain_delay, "draining: the health pages fail from now on");
    tokio::select! {
        () = tokio::time::sleep(server.drain_delay) => {}
        () = signals.next() => {}
    }
    shared.closing.begin();
    shared.connections.close();
    if !finish(server.drain, shared).await {
        shared.gateway.end();
        if !finish(LAST_WORDS, shared).await {
            let connections = shared.meter.open.value();
            tracing::warn!(connections, "drain has run out: connections are cut");
        }
    }
    shared.stop.cancel();
}

/// Whether all connections end within this time.
async fn finish(time: Duration, shared: &Shared) -> bool {
    tokio::time::timeout(time, shared.connections.wait()).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_told_again_and_again_that_it_is_not_yet_is_woken_when_it_is() {
        let closing = Closing::default();
        let mut begins = std::pin::pin!(closing.begins());
        let asking = async {
            for _ in 0..3 {
                let asked = std::future::poll_fn(|cx| Poll::Ready(begins.as_mut().poll(cx))).await;
                assert!(asked.is_pending());
                tokio::task::yield_now().await;
            }
            tokio::join!(begins, async { closing.begin() });
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), asking).await.expect("it is woken");
        closing.begins().await;
    }
}
