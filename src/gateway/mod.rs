//! The data plane: one request in, one response out.

pub mod answers;
pub mod body;
mod certificates;
pub mod check;
pub mod exchange;
pub mod explain;
mod extended;
mod grpc;
mod login_loop;
mod meter;
mod open_stream;
mod rate_limits;
pub mod refusal;
pub mod snapshot;
mod strangers;
pub mod tunnel;

use crate::{
    clock,
    http::{Head, message, path::NormalPath, peer::Peer},
    session::Watcher,
    telemetry::metrics::{Gauge, Metrics, families},
};
use answers::Answers;
use arc_swap::ArcSwap;
use body::Body;
use exchange::Exchange;
use http::Response;
use hyper::body::Incoming;
use refusal::Refusal;
use snapshot::Snapshot;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use strangers::Strangers;

/// The one path that answers under any Host.
const HEALTH: &str = "/_onedoor/healthz";

/// The gateway: today's configuration, and whether it is leaving.
#[derive(Debug)]
pub struct Gateway {
    current: Box<[ArcSwap<Hold>]>,
    draining: AtomicBool,
    over: AtomicBool,
    strangers: Strangers,
    metrics: Metrics,
    store_up: Gauge,
    memory_armed: Gauge,
    /// Held so that they stay on the page.
    _constants: [Gauge; 2],
}

/// One worker's hold on today's configuration, alone in its piece of memory: its requests are counted there, and
/// processors do not fight for the count.
#[derive(Debug)]
#[repr(align(128))]
struct Hold(Arc<Snapshot>);

impl Gateway {
    /// A gateway with its first configuration.
    pub fn new(snapshot: Snapshot, metrics: Metrics) -> Self {
        let constant = |family, label: &[&str], value| {
            let gauge = metrics.gauge(family, label);
            gauge.set(value);
            gauge
        };
        let (workers, snapshot) = (snapshot.meters.len(), Arc::new(snapshot));
        let hold = |_| ArcSwap::from_pointee(Hold(snapshot.clone()));
        Self {
            current: (0..workers).map(hold).collect(),
            draining: AtomicBool::new(false),
            over: AtomicBool::new(false),
            strangers: Strangers::default(),
            store_up: metrics.gauge(&families::STORE_UP, &[]),
            memory_armed: metrics.gauge(&families::MEMORY_ARMED, &[]),
            _constants: [
                constant(&families::BUILD, &[env!("CARGO_PKG_VERSION")], 1),
                constant(&families::STARTED, &[], clock::since_epoch().as_secs()),
            ],
            metrics,
        }
    }

    /// Answers one request. Never fails: whatever goes wrong becomes a response. The head is apart, so that no step
    /// before `send` can touch the body, and boxed, because it goes through many hands.
    pub async fn handle(&self, head: Box<Head>, body: Incoming, peer: &Peer) -> Response<Body> {
        let hold = self.current[peer.worker.0 % self.current.len()].load_full();
        let snapshot = &*hold.0; // one configuration for the whole request
        let mut exchange = Exchange::begin(&head, peer, snapshot); // dropped unfinished: the client left
        if exchange.arrival().spoofed {
            self.strangers.note(peer);
        }

        let is_sound = || message::vet(&head, &snapshot.limits).is_ok() && NormalPath::of(&head.uri).is_ok();
        let mut response = if head.uri.path() == HEALTH && is_sound() {
            Answers::health(self.is_draining())
        } else {
            let answer = if self.over.load(Ordering::Relaxed) {
                Err(Refusal::too_late()) // 503
            } else {
                snapshot.proxy(head, body, peer, &mut exchange).await
            };
            answer.unwrap_or_else(|refusal| snapshot.answers().refuse(refusal, &mut exchange))
        };
        exchange.settle(response.status()).await;
        snapshot.harden(&mut response, &exchange);
        exchange.finish(response)
    }

    /// Today's configuration.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current[0].load().0.clone()
    }

    /// Replaces the configuration in one step; requests in flight finish on the old one.
    pub fn swap(&self, snapshot: Snapshot) {
        let (previous, snapshot) = (self.current(), Arc::new(snapshot));
        for hold in &self.current {
            hold.store(Arc::new(Hold(snapshot.clone())));
        }
        snapshot.succeed(&previous);
    }

    /// The cells of everything that is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// `/metrics`.
    pub fn metrics_page(&self) -> String {
        let current = self.current();
        self.store_up.set((!current.store().degraded()).into());
        self.memory_armed.set(current.watcher().is_some_and(Watcher::is_armed).into());
        self.metrics.page()
    }

    /// From now on the health pages fail, so that load balancers send new requests elsewhere.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// From now on requests that begin are refused: there is no time left for them.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the process has been asked to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
