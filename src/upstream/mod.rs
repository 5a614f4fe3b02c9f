//! Upstreams: where granted requests go, over connections that each worker keeps for itself.

mod affinity;
mod answer;
mod balance;
mod budget;
mod certificate;
mod check;
mod connection;
mod endpoint;
mod failure;
mod form;
mod health;
pub mod http1;
mod meter;
mod outage;
mod pool;
mod replay;
mod resolve;
mod send;
mod shared;
mod speed;
mod streaming;
mod target;
mod tls;
mod tunnel;

use crate::{
    config::{self, diagnostic::Diagnostics},
    tasks::{Worker, Workers},
    telemetry::metrics::Metrics,
};
pub use affinity::{Origin, hash, rendezvous};
pub use failure::Failure;
pub use meter::Meter;
pub use streaming::{Lasts, StreamFault, Streaming};
use target::Maker;
pub use target::{Target, Terms};
use tls::{NoRoots, Tls};
pub use tunnel::{Passed, Tunnel, TunnelEnd};

/// All upstreams, in the configuration's order.
#[derive(Debug)]
pub struct Upstreams(Vec<Target>);

impl Upstreams {
    /// Prepares the upstreams. Those of `previous` whose section is equal live on, with their connections.
    ///
    /// # Errors
    /// Notes in `diagnostics` what cannot be had, such as the system's root certificates.
    pub fn compile(
        sections: &[config::upstreams::Upstream],
        workers: &Workers,
        metrics: &Metrics,
        previous: Option<&Self>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut roots = tls::Roots::default();
        let compile = |section: &config::upstreams::Upstream| {
            let kept = previous.and_then(|previous| previous.0.iter().find(|target| target.is_as(section)));
            if let Some(target) = kept {
                return target.clone();
            }
            let tls = tls_of(section, &mut roots, diagnostics);
            let maker = Maker { workers: workers.clone(), metrics: metrics.clone(), tls };
            let target = Target::new(section.clone(), maker);
            if section.endpoints.iter().any(config::upstreams::Endpoint::is_resolved) {
                workers.background(resolve::watch(target.weak(), section.resolve));
            }
            if let Some(health) = &section.health {
                workers.background(check::watch(target.weak(), health.clone()));
            }
            target
        };
        Self(sections.iter().map(compile).collect())
    }

    /// Notes what [`Self::compile`] would.
    pub fn check(sections: &[config::upstreams::Upstream], diagnostics: &mut Diagnostics) {
        let mut roots = tls::Roots::default();
        for section in sections {
            tls_of(section, &mut roots, diagnostics);
        }
    }

    /// The upstream at this place of the configuration.
    pub fn target(&self, index: usize) -> Target {
        self.0[index].clone()
    }

    /// An endpoint gets no requests, because a gateway that runs with this configuration has found it sick.
    pub fn leave_out(&self, upstream: &str, endpoint: &str) {
        for target in self.0.iter().filter(|target| target.name() == upstream) {
            let endpoints = target.0.endpoints();
            endpoints.iter().filter(|it| it.name() == endpoint).for_each(|endpoint| endpoint.health().leave_out());
        }
    }

    /// Once a second: closes the worker's connections that have been unused for longer than their upstream's
    /// `keepalive`, and lets endpoints return whose ejection is over.
    pub fn settle(&self, worker: Worker) {
        for target in &self.0 {
            target.0.settle(worker);
        }
    }
}

fn tls_of(section: &config::upstreams::Upstream, roots: &mut tls::Roots, diagnostics: &mut Diagnostics) -> Option<Tls> {
    Tls::compile(section, roots).unwrap_or_else(|NoRoots| {
        let message = "https endpoints need the system's root certificates, and there are none";
        let remedy = "install the package that holds the system's certificates (ca-certificates)";
        diagnostics.error(section.span.clone(), message, remedy);
        None
    })
}
