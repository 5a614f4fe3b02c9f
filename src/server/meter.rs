//! What is counted of client connections.

use crate::{
    clock,
    telemetry::metrics::{Counter, Gauge, Metrics, families},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The cells of all client connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Meter {
    /// Those that are open.
    pub open: Gauge,
    /// Those that were accepted.
    pub accepted: Counter,
    /// Those that were closed at once, because too many were open.
    pub turned_away: Counter,
    /// Those that were closed at once, because too many of one client were open.
    pub crowded: Counter,
    /// Those that ended before they could ask for anything: no TLS, or no PROXY header that is believed.
    pub unwelcome: Counter,
    /// Requests whose head could not be parsed.
    pub heads_refused: Counter,
    /// When the log was last told that connections find no place.
    pub crowd_told: Told,
    /// When it was last told of such a head.
    pub head_told: Told,
}

/// When the log was last told of something; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<AtomicU64>);

impl Meter {
    /// Takes the cells.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            open: metrics.gauge(&families::CONNECTIONS, &[]),
            accepted: metrics.counter(&families::ACCEPTED, &[]),
            turned_away: metrics.counter(&families::TURNED_AWAY, &[]),
            crowded: metrics.counter(&families::CROWDED, &[]),
            unwelcome: metrics.counter(&families::UNWELCOME, &[]),
            heads_refused: metrics.counter(&families::HEADS_REFUSED, &[]),
            crowd_told: Told::default(),
            head_told: Told::default(),
        }
    }
}

impl Told {
    /// Whether it is to be told again: once a second is enough in a flood.
    pub fn is_due(&self) -> bool {
        let now = clock::since_epoch().as_secs();
        self.0.swap(now, Ordering::Relaxed) != now
    }
}
