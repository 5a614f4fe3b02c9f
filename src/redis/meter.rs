//! What is counted of the commands.

use crate::{
    tasks::Worker,
    telemetry::metrics::{Histogram, Metrics, Tally, families},
};
use fred::error::{Error, ErrorKind};
use std::time::Duration;

/// The cells of the store.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    duration: Histogram,
    errors: Tally,
}

impl Meter {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            duration: metrics.histogram(&families::STORE_DURATION, &[]),
            errors: metrics.tally(&families::STORE_ERRORS, &[]),
        }
    }

    /// A command was answered, whatever the answer was.
    pub(super) fn answered(&self, worker: Worker, duration: Duration) {
        self.duration.add(worker, duration);
    }

    /// A command failed.
    pub(super) fn failed(&self, worker: Worker, error: &Error) {
        let reason = match error.kind() {
            ErrorKind::Timeout => "timeout",
            ErrorKind::IO | ErrorKind::Tls | ErrorKind::Canceled | ErrorKind::Backpressure => "connection",
            _ => "reply",
        };
        self.errors.add(worker, 0, reason);
    }

    /// The time was over before a command could be answered by the right server.
    pub(super) fn given_up(&self, worker: Worker) {
        self.errors.add(worker, 0, "connection");
    }
}
