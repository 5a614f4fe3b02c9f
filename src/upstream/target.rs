//! An upstream that rules send to: which of its endpoints is asked, and which next if the first gives no answer.

use super::{
    affinity::Origin,
    balance::Balance,
    budget::Budget,
    endpoint::{self, Endpoint, Place},
    failure::Failure,
    health::Health,
    meter::Meter,
    outage::Outage,
    replay::Replay,
    send::{self, Again, Asked, Errand, Miss, Missed},
    streaming::Streaming,
    tls::Tls,
};
use crate::{
    clock,
    config::{
        self,
        upstreams::{Host, Upstream},
    },
    http::body::{Progress, RequestBody},
    identity::Forward,
    tasks::{Worker, Workers},
    telemetry::metrics::{Metrics, families},
};
use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, header::HOST};
use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// An upstream that a rule sends to; cheap to clone.
#[derive(Debug, Clone)]
pub struct Target(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) section: Upstream,
    pub(super) meter: Meter,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    balance: Balance,
    budget: Budget,
    pub(super) outage: Outage,
    maker: Maker,
}

/// What endpoints are made with.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) workers: Workers,
    pub(super) metrics: Metrics,
    pub(super) tls: Option<Tls>,
}

impl Maker {
    fn endpoint(
        &self,
        section: &Upstream,
        spec: &config::upstreams::Endpoint,
        address: Option<SocketAddr>,
    ) -> Arc<Endpoint> {
        let up = self.metrics.gauge(&families::ENDPOINT_UP, &[&section.name, &endpoint::name_of(spec, address)]);
        Arc::new(Endpoint::new(spec, address, section, &self.workers, self.tls.as_ref(), Health::new(up)))
    }
}

/// What a rule and a request ask of an exchange beyond the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Whose connections.
    pub worker: Worker,
    /// When the exchange begins.
    pub begun: Instant,
    /// What requests that belong together share.
    pub key: Option<u64>,
    /// The rule's `timeout`, instead of the upstream's `response_timeout`.
    pub response_timeout: Option<Duration>,
    /// When everything must be over.
    pub deadline: Option<Instant>,
}

impl Target {
    pub(super) fn new(section: Upstream, maker: Maker) -> Self {
        let meter = Meter::compile(&section.name, &maker.metrics);
        let (balance, budget) = (Balance::new(&section.balance), Budget::new(maker.workers.count()));
        let endpoints = section.endpoints.iter().map(|spec| maker.endpoint(&section, spec, None)).collect();
        let endpoints = ArcSwap::from_pointee(endpoints);
        Self(Arc::new(Inner { section, meter, endpoints, balance, budget, outage: Outage::new(), maker }))
    }

    /// Whether it was made from an equal section, wherever in the file that stood.
    pub(super) fn is_as(&self, section: &Upstream) -> bool {
        Upstream { span: section.span.clone(), ..self.0.section.clone() } == *section
    }

    /// It, as long as somebody else holds it.
    pub(super) fn weak(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.section.name
    }

    /// What is counted of it.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Whether its `Session-*` response headers are obeyed.
    pub fn has_session_authority(&self) -> bool {
        self.0.section.session_authority
    }

    /// What this request shares with those that must go to the same endpoint, if that matters here.
    pub fn key(&self, origin: Origin<'_>) -> Option<u64> {
        origin.key(&self.0.section.balance)
    }

    /// The endpoint that a request with this key would go to now, as a URL.
    pub fn next_endpoint(&self, key: Option<u64>) -> String {
        self.0.place(key, &[], false).map_or_else(|| "none".to_owned(), |place| place.endpoint().name())
    }

    /// The endpoints that get no requests now, as URLs.
    pub fn sick_endpoints(&self) -> Vec<String> {
        let endpoints = self.0.endpoints();
        let sick = endpoints.iter().filter(|endpoint| !endpoint.health().is_in());
        sick.map(|endpoint| endpoint.name()).collect()
    }

    /// Whether it goes by this authority, so that a URL with it leads here.
    pub fn is_called(&self, authority: &str) -> bool {
        let is_it = |name: &HeaderValue| name.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
        matches!(&self.0.section.host, Host::Literal(host) if is_it(host))
            || self.0.endpoints.load().iter().any(|endpoint| is_it(endpoint.authority()))
    }

    /// Sends a granted request and waits for the answer's head.
    ///
    /// Requests of which nothing was sent go on to another endpoint. So do idempotent requests without a body whose
    /// connection closes before any answer (RFC 9110 section 9.2.2); the only endpoint is asked again if that
    /// connection had been in use before. All this at most `retries` times, and within the budget.
    ///
    /// A request that came to no endpoint at all goes to `spare`, if there is one; whoever answers is named.
    ///
    /// # Errors
    /// See [`Failure`]. Dropping the future closes the connection to the upstream.
    pub fn send<'t>(
        &'t self,
        spare: Option<&'t Self>,
        forward: Forward,
        body: RequestBody,
        terms: Terms,
    ) -> impl Future<Output = (&'t Self, Result<Response<Streaming>, Failure>)> + Send + use<'t> {
        // Before anything is waited for, so that the future does not carry the parts, too.
        let errand = Errand::new(forward, body, &self.0.section.trailers);
        async move {
            let Some(deadline) = terms.deadline else { return self.ask(spare, errand, terms).await };
            // Boxed: seldom needed, and every request would carry its size.
            let asking = Box::pin(tokio::time::timeout_at(deadline.into(), self.ask(spare, errand, terms)));
            asking.await.unwrap_or((self, Err(Failure::Overdue)))
        }
    }

    async fn ask<'t>(
        &'t self,
        spare: Option<&'t Self>,
        errand: Errand,
        terms: Terms,
    ) -> (&'t Self, Result<Response<Streaming>, Failure>) {
        match spare {
            Some(spare) => Box::pin(self.try_both(spare, errand, terms)).await,
            None => (self, self.try_each(errand, terms).await.map_err(|missed| missed.failure)),
        }
    }

    pub(super) async fn try_each(&self, errand: Errand, terms: Terms) -> Result<Response<Streaming>, Missed> {
        let inner = &*self.0;
        let section = &inner.section;
        let Errand { mut request, client_host, progress, websocket } = errand;
        let with_body = progress.is_some();
        let asked = Asked {
            section,
            worker: terms.worker,
            begun: terms.begun,
            progress,
            websocket,
            response_timeout: terms.response_timeout.unwrap_or(section.response_timeout),
            deadline: terms.deadline,
            elsewhere: inner.has_several(),
        };
        inner.budget.earn(terms.worker);
        let mut place = inner.place(terms.key, &[], with_body).ok_or(Failure::Overloaded)?;
        let (mut tried, mut retries, mut unwanted, mut unsent) = (Vec::new(), 0, None, false);
        loop {
            let host = inner.host(place.endpoint(), &client_host);
            if request.headers().get(HOST) != Some(host) {
                request.headers_mut().insert(HOST, host.clone());
            }
            let spare = inner.spare(&request);
            let (failure, again, same) = match send::exchange(place, request, &asked, retries > 0).await {
                Ok(response) if section.retry_on.contains(&response.status()) && spare.is_some() => {
                    tried.extend(response.body().endpoint().cloned());
                    unwanted = Some(Box::new(response));
                    (Failure::Overloaded, spare.and_then(Replay::twice), None)
                }
                Ok(response) => return Ok(response),
                Err(Miss { failure, place, again, counts }) => {
                    if let Some(fault) = asked.progress.as_ref().and_then(Progress::fault) {
                        return Err(Failure::Body(fault).into());
                    }
                    unsent = matches!(again, Again::Unsent(_));
                    if !unsent && matches!(failure, Failure::Unreachable(_)) {
                        place.endpoint().distrust();
                    }
                    if counts && asked.elsewhere {
                        place.endpoint().speed().fared(false);
                        inner.note_failure(place.endpoint(), &failure, terms.worker);
                    }
                    tried.push(place.endpoint().clone());
                    let failure = failure.at(&place.endpoint().name());
                    match again {
                        Again::Unsent(request) | Again::Dropped(request) => (failure, Some(request), None),
                        Again::Stale(request) => (failure, Some(request), Some(place)),
                        Again::No => (failure, None, None),
                    }
                }
            };
            let next = if again.is_some() && retries < section.retries {
                let elsewhere = inner.place(terms.key, &tried, with_body).or(same);
                elsewhere.filter(|_| inner.may_retry(terms.worker))
            } else {
                None
            };
            (place, request) = match (next, again, unwanted) {
                (Some(next), Some(again), kept) => {
                    unwanted = kept;
                    (next, again)
                }
                (.., Some(response)) => return Ok(*response),
                (_, Some(request), None) if unsent => {
                    let Asked { progress, .. } = asked;
                    let errand = Errand { request, client_host, progress, websocket };
                    return Err(Missed { failure, unsent: Some(Box::new(errand)) });
                }
                _ => return Err(failure.into()),
            };
            retries += 1;
        }
    }
}

impl Inner {
    /// All endpoints, sick ones included.
    pub(super) fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.endpoints.load_full()
    }

    /// From now on these are the addresses of the endpoints with names; answers whether anything changed. Those that
    /// are left live on, with their health and connections; one that has vanished ends with its last request.
    pub(super) fn follow(&self, addresses: &[(&config::upstreams::Endpoint, Vec<SocketAddr>)]) -> bool {
        let before = self.endpoints.load_full();
        let mut now: Vec<Arc<Endpoint>> = Vec::new();
        for spec in &self.section.endpoints {
            let found = addresses.iter().find(|(resolved, _)| *resolved == spec);
            let Some((_, found)) = found else {
                now.extend(before.iter().filter(|endpoint| endpoint.spec() == spec).cloned());
                continue;
            };
            for address in found {
                let known = before.iter().find(|endpoint| endpoint.is(spec, Some(*address))).cloned();
                now.push(known.unwrap_or_else(|| self.maker.endpoint(&self.section, spec, Some(*address))));
            }
        }
        let changed =
            now.len() != before.len() || now.iter().zip(&*before).any(|(now, before)| !Arc::ptr_eq(now, before));
        if changed {
            self.endpoints.store(Arc::new(now));
        }
        changed
    }

    fn has_several(&self) -> bool {
        self.endpoints.load().len() > 1
    }

    /// A place at an endpoint that was not tried; `None` if none is left that has room.
    ///
    /// Where less than half of the endpoints are healthy, the health of all is doubted rather than the healthy ones
    /// overrun.
    fn place(&self, key: Option<u64>, tried: &[Arc<Endpoint>], with_body: bool) -> Option<Place> {
        let endpoints = self.endpoints.load();
        if let [only] = endpoints.as_slice() {
            return if tried.is_empty() && only.has_room(with_body) { only.admit() } else { None };
        }
        let now = clock::now();
        let able = |endpoint: &Arc<Endpoint>| {
            endpoint.has_room(with_body) && !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
        };
        let is_in = |endpoint: &Arc<Endpoint>| endpoint.health().is_in();
        let panics = 2 * endpoints.iter().filter(|endpoint| is_in(endpoint)).count() < endpoints.len();
        let choose = |may: &dyn Fn(&Arc<Endpoint>) -> bool| self.balance.choose(&endpoints, key, now, may);
        let healthy = || choose(&|endpoint| able(endpoint) && is_in(endpoint));
        let chosen = if panics && tried.is_empty() { choose(&able) } else { healthy().or_else(|| choose(&able)) };
        let chosen = chosen?;
        chosen.speed().ask(now);
        chosen.admit()
    }

    /// One more retry, if the budget has it.
    pub(super) fn may_retry(&self, worker: Worker) -> bool {
        let may = self.budget.spend();
        if may {
            self.meter.retried(worker);
        }
        may
    }

    /// A copy of a request that may be sent elsewhere because of its answer's status.
    fn spare(&self, request: &Request<RequestBody>) -> Option<Replay> {
        let may = !self.section.retry_on.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD);
        may.then(|| Replay::of(request)).flatten()
    }

    fn note_failure(&self, endpoint: &Arc<Endpoint>, failure: &Failure, worker: Worker) {
        let may_be_ejected = || {
            let endpoints = self.endpoints.load();
            2 * (endpoints.iter().filter(|endpoint| endpoint.health().is_in()).count() - 1) >= endpoints.len()
        };
        if let Some(duration) = endpoint.health().failed(self.section.eject, may_be_ejected) {
            self.meter.ejected(worker);
            let (upstream, cause) = (&self.section.name, failure.to_string());
            let endpoint = endpoint.name();
            tracing::warn!(upstream, endpoint, ?duration, cause, "an endpoint failed too often and gets no requests");
        }
    }

    /// Once a second: endpoints whose ejection is over return, and connections that nobody uses are closed.
    pub(super) fn settle(&self, worker: Worker) {
        let now = clock::now();
        self.budget.settle(now);
        for endpoint in self.endpoints.load().iter() {
            endpoint.pool(worker).close_unused();
            if endpoint.health().settle(now, self.section.eject) {
                let (upstream, endpoint) = (&self.section.name, endpoint.name());
                tracing::info!(upstream, endpoint, "an endpoint is tried again");
            }
        }
    }

    fn host<'a>(&'a self, endpoint: &'a Endpoint, client: &'a HeaderValue) -> &'a HeaderValue {
        match &self.section.host {
            Host::Literal(host) => host,
            Host::Upstream => endpoint.authority(),
            Host::Auto if endpoint.spec().https => endpoint.authority(),
            Host::Auto | Host::Client => client,
        }
    }
}
