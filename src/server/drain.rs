//! The way out: fail the health pages, wait, stop accepting, finish what was accepted.

use super::worker::Shared;
use crate::config::server::Server;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

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
    pub fn begins(&self) -> WaitForCancellationFutureOwned {
        self.0.token.clone().cancelled_owned()
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

/// Drains: returns when every accepted request has its whole answer, or when `drain` has run out.
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
    if tokio::time::timeout(server.drain, shared.connections.wait()).await.is_err() {
        let connections = shared.meter.open.value();
        tracing::warn!(connections, "drain has run out: connections are cut");
    }
    shared.stop.cancel();
}
