//! Host names of endpoints, resolved again and again: services move, and each of their addresses is an endpoint.

use super::target::Inner;
use crate::config::upstreams::Endpoint;
use std::{net::SocketAddr, sync::Weak, time::Duration};

/// A name server that takes longer has nothing to say.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many addresses of a name are used; a balancer with more has one address of its own.
const ADDRESSES_MAX: usize = 256;

/// Follows the names of an upstream for as long as there is one. Until a name is resolved for the first time, its
/// endpoint is connected to by name; one that cannot be resolved any more keeps its last addresses.
pub(super) async fn watch(upstream: Weak<Inner>, interval: Duration) {
    let mut unknown = false;
    loop {
        {
            let Some(upstream) = upstream.upgrade() else { return };
            let mut addresses = Vec::new();
            let mut fault = None;
            for spec in upstream.section.endpoints.iter().filter(|spec| spec.is_resolved()) {
                match resolve(spec).await {
                    Ok(found) => addresses.push((spec, found)),
                    Err(cause) => fault = Some((spec, cause)),
                }
            }
            let name = &upstream.section.name;
            if upstream.follow(&addresses) {
                let endpoints: Vec<_> = upstream.endpoints().iter().map(|endpoint| endpoint.name()).collect();
                tracing::info!(
                    upstream = name,
                    endpoints = endpoints.join(", "),
                    "an upstream's addresses are these now"
                );
            }
            if let Some((spec, cause)) = fault.as_ref().filter(|_| !unknown) {
                let endpoint = spec.to_string();
                tracing::warn!(
                    upstream = name,
                    endpoint,
                    cause,
                    "a name cannot be resolved: its last addresses are kept"
                );
            }
            unknown = fault.is_some();
        }
        tokio::time::sleep(interval).await;
    }
}

/// The addresses of a name, in an order that does not depend on the name server's mood.
async fn resolve(spec: &Endpoint) -> Result<Vec<SocketAddr>, String> {
    let looking = tokio::net::lookup_host((spec.host.as_str(), spec.port));
    let found = tokio::time::timeout(PATIENCE, looking).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let mut found: Vec<_> = found.map_err(|error| error.to_string())?.collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Environment},
        tasks::Workers,
        telemetry::metrics::Metrics,
        upstream::target::{Maker, Target},
    };
    use std::sync::Arc;

    fn target() -> Target {
        let text =
            "[upstreams]\na = ['http://app.test:81', 'http://10.0.0.9']\n[[rules]]\ndest = 'a'\nsession = 'off'\n";
        let config = config::read("gateway.toml", text, &Environment::from_iter::<[(&str, &str); 0]>([]));
        let section = config.config.expect("a configuration").upstreams.remove(0);
        Target::new(section, Maker { workers: Workers::current(), metrics: Metrics::new(1), tls: None })
    }

    fn names(target: &Target) -> Vec<String> {
        target.0.endpoints().iter().map(|endpoint| endpoint.name()).collect()
    }

    #[tokio::test]
    async fn every_address_is_an_endpoint_and_what_stays_lives_on() {
        let target = target();
        assert_eq!(names(&target), ["http://app.test:81", "http://10.0.0.9"]);
        let spec = target.0.section.endpoints[0].clone();
        let at = |last: u8| SocketAddr::from(([10, 0, 0, last], 81));
        assert!(target.0.follow(&[(&spec, vec![at(1), at(2)])]));
        let named = ["http://app.test:81 at 10.0.0.1", "http://app.test:81 at 10.0.0.2", "http://10.0.0.9"];
        assert_eq!(names(&target), named);
        assert!(!target.0.follow(&[(&spec, vec![at(1), at(2)])]), "nothing has changed");
        assert!(!target.0.follow(&[]), "what cannot be resolved keeps its addresses");
        let before = target.0.endpoints();
        let place = before[0].admit().expect("there is room");
        assert!(target.0.follow(&[(&spec, vec![at(2), at(3)])]));
        let now = target.0.endpoints();
        assert!(Arc::ptr_eq(&now[0], &before[1]) && Arc::ptr_eq(&now[2], &before[2]));
        assert_eq!(place.endpoint().name(), named[0], "a request that is under way goes on");
        let gone = Arc::downgrade(&before[0]);
        drop((place, before));
        assert!(gone.upgrade().is_none(), "and then nothing is left of its endpoint");
    }

    #[tokio::test]
    async fn names_are_resolved_and_unknown_ones_say_so() {
        let mut spec = target().0.section.endpoints[0].clone();
        spec.host = "127.0.0.1".to_owned();
        assert_eq!(resolve(&spec).await, Ok(vec![SocketAddr::from(([127, 0, 0, 1], 81))]));
        spec.host = "nowhere.invalid".to_owned();
        assert!(resolve(&spec).await.is_err());
    }
}
