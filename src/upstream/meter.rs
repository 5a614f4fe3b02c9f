//! What is counted of an upstream's answers.

use super::Failure;
use crate::{
    tasks::Worker,
    telemetry::metrics::{Counter, Histogram, Metrics, Tally, families},
};
use std::time::Duration;

/// The cells of one upstream.
#[derive(Debug)]
pub struct Meter {
    duration: Histogram,
    errors: Tally,
    cookies_removed: Counter,
    retries: Counter,
    ejections: Counter,
}

impl Meter {
    pub(super) fn compile(upstream: &str, metrics: &Metrics) -> Self {
        Self {
            duration: metrics.histogram(&families::UPSTREAM_DURATION, &[upstream]),
            errors: metrics.tally(&families::UPSTREAM_ERRORS, &[upstream]),
            cookies_removed: metrics.counter(&families::COOKIES_REMOVED, &[upstream]),
            retries: metrics.counter(&families::RETRIES, &[upstream]),
            ejections: metrics.counter(&families::EJECTIONS, &[upstream]),
        }
    }

    /// The head of its answer took this long.
    pub fn answered(&self, worker: Worker, duration: Duration) {
        self.duration.add(worker, duration);
    }

    /// There is no answer to forward.
    pub fn failed(&self, worker: Worker, failure: &Failure) {
        let reason = match failure {
            Failure::NoEndpoint(_) => "no_endpoint",
            Failure::Refused(_) | Failure::Unreachable(_) | Failure::Untrusted(_) => "unreachable",
            Failure::Invalid(_) => "invalid",
            Failure::TimedOut(_) | Failure::Overdue => "timeout",
            Failure::Overloaded => "overloaded",
            // The client's fault.
            Failure::Body(_) => return,
        };
        self.errors.add(worker, 0, reason);
    }

    /// A request was sent once more.
    pub(super) fn retried(&self, worker: Worker) {
        self.retries.add(worker);
    }

    /// An endpoint was ejected.
    pub(super) fn ejected(&self, worker: Worker) {
        self.ejections.add(worker);
    }

    /// It tried to set cookies that it may not set.
    pub fn removed_cookies(&self, worker: Worker, count: usize) {
        self.cookies_removed.add_many(worker, count as u64);
    }
}
