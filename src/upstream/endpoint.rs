//! One endpoint of an upstream: its connections, and how many requests it has.

use super::{
    affinity,
    connection::{Connection, Speaks},
    failure::Failure,
    health::Health,
    pool::Pool,
    speed::Speed,
    tls::Tls,
};
use crate::{
    clock, config,
    tasks::{Worker, Workers},
};
use http::HeaderValue;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    spec: config::upstreams::Endpoint,
    /// One of its host's, where that is a name that was resolved.
    address: Option<SocketAddr>,
    authority: HeaderValue,
    connect_timeout: std::time::Duration,
    requests: AtomicUsize,
    requests_max: usize,
    pools: Vec<Pool>,
    tls: Option<Tls>,
    health: Health,
    speed: Speed,
    seed: u64,
}

/// One request's place at an endpoint, given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Endpoint>);

impl Endpoint {
    pub(super) fn new(
        spec: &config::upstreams::Endpoint,
        address: Option<SocketAddr>,
        upstream: &config::upstreams::Upstream,
        workers: &Workers,
        tls: Option<&Tls>,
        health: Health,
    ) -> Self {
        Self {
            spec: spec.clone(),
            address,
            authority: HeaderValue::try_from(spec.authority()).unwrap_or_else(|_| HeaderValue::from_static("")),
            connect_timeout: upstream.connect_timeout,
            requests: AtomicUsize::new(0),
            requests_max: upstream.connections,
            pools: workers.each(|_| Pool::new(upstream.keepalive)),
            tls: tls.filter(|_| spec.https).cloned(),
            health,
            speed: Speed::new(),
            seed: affinity::hash([name_of(spec, address).as_bytes()]),
        }
    }

    /// What its own Host field would carry.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// What people call it: its URL, and which address of it.
    pub(super) fn name(&self) -> String {
        name_of(&self.spec, self.address)
    }

    /// Whether it is this address of this endpoint of the configuration.
    pub(super) fn is(&self, spec: &config::upstreams::Endpoint, address: Option<SocketAddr>) -> bool {
        self.spec == *spec && self.address == address
    }

    pub(super) fn spec(&self) -> &config::upstreams::Endpoint {
        &self.spec
    }

    /// The worker's unused connections.
    pub(super) fn pool(&self, worker: Worker) -> &Pool {
        &self.pools[worker.0]
    }

    /// A request was lost with its connection, or nobody listens any more: no worker uses one again that was open then.
    pub(super) fn distrust(&self) {
        let now = clock::now();
        self.speed.lost(now);
        self.pools.iter().for_each(|pool| pool.distrust(now));
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// What makes it another endpoint than the others, for requests that belong together.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn speed(&self) -> &Speed {
        &self.speed
    }

    /// How many requests it would have with one more.
    pub(super) fn load(&self) -> u64 {
        self.requests.load(Ordering::Relaxed) as u64 + 1
    }

    /// Whether it may have one more request. Those with a body never take the last quarter: clients that send slowly
    /// hold up nobody who only reads.
    pub(super) fn has_room(&self, with_body: bool) -> bool {
        let reserved = if with_body { self.requests_max / 16 * 4 } else { 0 };
        self.requests.load(Ordering::Relaxed) < self.requests_max - reserved
    }

    /// A place for one more request, unless it has as many as it may have.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Place> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.clone());
        (before < self.requests_max).then_some(place)
    }

    /// A connection of its own, which nobody else will use.
    pub(super) async fn connect(&self, speaks: Speaks) -> Result<Connection, Failure> {
        let opened = Connection::open(&self.spec, self.address, self.tls.as_ref(), speaks, self.connect_timeout).await;
        if let Err(Failure::Refused(_)) = opened {
            self.distrust();
        }
        opened
    }

    /// A new connection, or a place on one that has just become free or was opened meanwhile.
    pub(super) async fn open(&self, worker: Worker, speaks: Speaks) -> Result<Connection, Failure> {
        if speaks == Speaks::Http1 || self.tls.is_none() && !self.spec.h2c {
            return self.connect(Speaks::Http1).await;
        }
        self.pool(worker).open(self.connect_timeout, Box::pin(self.connect(Speaks::Any))).await
    }
}

/// What people call an address of an endpoint.
pub(super) fn name_of(spec: &config::upstreams::Endpoint, address: Option<SocketAddr>) -> String {
    match address {
        Some(address) => format!("{spec} at {}", address.ip()),
        None => spec.to_string(),
    }
}

impl Place {
    /// The endpoint that it is a place at.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
