//! What is counted of client connections.

use crate::telemetry::metrics::{Counter, Gauge, Metrics, families};

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
}

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
        }
    }
}
