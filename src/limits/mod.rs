//! How often somebody may: GCRA, counted in Redis for all gateways together, or in this process.

mod charges;
mod key;
mod local;

use crate::{
    config::limits::{By, Limit as Spec},
    redis::{Primaries, Step},
    session::store::Store,
    tasks::Worker,
};
pub use charges::Charges;
use http::{HeaderMap, HeaderName, HeaderValue};
use key::Key;
use local::Local;
use std::{sync::Arc, time::Duration};

/// How long a store is waited for that is known to be away.
const PATIENCE: Duration = Duration::from_millis(50);

/// The limits of one configuration.
#[derive(Debug, Default)]
pub struct Limits {
    all: Vec<Arc<Limit>>,
    /// Headers of responses that are for limits alone.
    disclosed: Vec<HeaderName>,
}

/// One limit.
#[derive(Debug)]
struct Limit {
    spec: Spec,
    /// What comes back one request after the other.
    interval: Duration,
    /// What `burst` requests at once amount to.
    tolerance: Duration,
    /// Begins its keys in the store.
    prefix: String,
    shared: Option<Arc<Primaries>>,
    local: Arc<Local>,
}

/// A limit was reached.
#[derive(Debug)]
pub struct Exceeded {
    /// Its name, for the log.
    pub limit: Arc<str>,
    /// When it makes sense to try again.
    pub retry_after: Duration,
    policy: String,
}

impl Limits {
    /// Takes `[limits]`. What `previous` has counted in this process counts on, where a limit is the same.
    pub fn compile(specs: &[Spec], namespace: &str, store: &Store, previous: Option<&Self>) -> Self {
        let all = specs.iter().map(|spec| {
            let kept = previous.and_then(|previous| previous.all.iter().find(|limit| limit.spec == *spec));
            let interval = (spec.per / spec.requests).max(Duration::from_micros(1));
            Arc::new(Limit {
                interval,
                tolerance: interval.saturating_mul(spec.burst),
                prefix: format!("{namespace}limit:{}:", spec.name),
                shared: store.redis().filter(|_| spec.shared).cloned(),
                local: kept.map(|limit| limit.local.clone()).unwrap_or_default(),
                spec: spec.clone(),
            })
        });
        let disclosed = specs.iter().flat_map(|spec| &spec.by).filter_map(|by| match by {
            By::Response(name) => Some(name.clone()),
            _ => None,
        });
        Self { all: all.collect(), disclosed: disclosed.collect() }
    }

    /// What a request under these limits, by their places, is charged; `None` where there is none.
    pub fn open(&self, places: impl Iterator<Item = usize>, enforce: bool) -> Option<Box<Charges>> {
        if self.all.is_empty() {
            return None;
        }
        let mut limits: Vec<Arc<Limit>> = Vec::new();
        for limit in places.map(|place| &self.all[place]) {
            if !limits.iter().any(|known| Arc::ptr_eq(known, limit)) {
                limits.push(limit.clone());
            }
        }
        (!limits.is_empty()).then(|| Box::new(Charges::new(limits, enforce)))
    }

    /// Takes out of a response what is for limits alone.
    pub fn take_disclosed(&self, headers: &mut HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        if self.disclosed.is_empty() {
            return Vec::new();
        }
        let taken = |name: &HeaderName| Some((name.clone(), headers.remove(name)?));
        self.disclosed.iter().filter_map(taken).collect()
    }
}

impl Limit {
    /// One step under a key, in the store, or here while the store is away.
    async fn step(&self, key: &Key, step: Step, worker: Worker) -> Result<(), Exceeded> {
        let here = || self.local.step(key, step, self.interval, self.tolerance);
        let wait = match &self.shared {
            Some(redis) => {
                let name = format!("{}{key}", self.prefix);
                let asked = redis.throttle(worker, &name, self.interval, self.tolerance, step);
                // A store that is known to be away is given a moment: it may be back, or just about to be there.
                let patience = if redis.degraded() { PATIENCE } else { Duration::MAX };
                let answer = tokio::time::timeout(patience, asked).await;
                answer.ok().and_then(Result::ok).unwrap_or_else(here)
            }
            None => here(),
        };
        wait.map_or(Ok(()), |retry_after| Err(self.exceeded(retry_after)))
    }

    fn exceeded(&self, retry_after: Duration) -> Exceeded {
        let Spec { name, requests, per, .. } = &self.spec;
        let policy = format!("\"{name}\";q={requests};w={}", seconds(*per));
        Exceeded { limit: name.as_str().into(), retry_after, policy }
    }
}

impl Exceeded {
    /// `Retry-After`, and what draft-ietf-httpapi-ratelimit-headers defines.
    pub fn write(&self, headers: &mut HeaderMap) {
        let seconds = seconds(self.retry_after);
        headers.insert(http::header::RETRY_AFTER, seconds.into());
        for (name, text) in
            [("ratelimit", format!("\"{}\";r=0;t={seconds}", self.limit)), ("ratelimit-policy", self.policy.clone())]
        {
            // Names of limits are letters and digits.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// Whole seconds, and at least one.
fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}
