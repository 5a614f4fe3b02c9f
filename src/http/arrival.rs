//! How a request reached us: client address, scheme, host, request id; believed from trusted peers alone.

use super::{
    Head,
    folded::Names,
    forwarded::{self, Way},
    peer::Peer,
    trace,
};
pub use super::{
    host::{Host, HostFault},
    site::{PublicUrl, Site},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{fmt::Write, net::IpAddr, sync::LazyLock};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The facts of one request's arrival.
#[derive(Debug)]
pub struct Arrival {
    /// The client: the rightmost hop that is not trusted; `None` when only unix sockets were on the way.
    pub client: Option<IpAddr>,
    /// TLS on this listener, else what a trusted peer says, else `public_url`'s scheme, else http.
    pub https: bool,
    /// The one host that the client asked for, or why there is none.
    pub host: Result<Host, HostFault>,
    /// Kept from a trusted peer if sane, else new.
    pub request_id: HeaderValue,
    /// Whether the direct peer's word counts.
    pub trusted: bool,
    /// Whether a peer that is not trusted sent `X-Forwarded-*`: a proxy that should be listed, or a liar.
    pub spoofed: bool,
    behind: Vec<IpAddr>,
    /// The client's address as text, where it is the direct peer.
    direct: Option<HeaderValue>,
    port: Option<u16>,
    /// `None` = the trusted peer's is continued.
    traceparent: Option<HeaderValue>,
}

/// Removed whoever sends them: what the gateway writes itself, and names by which upstreams let a header replace the
/// path or the proxy.
static ALWAYS: LazyLock<Names> = LazyLock::new(|| Names::new(ALWAYS_REMOVED, []));
/// Removed when the peer is not trusted.
static FROM_STRANGERS: LazyLock<Names> =
    LazyLock::new(|| Names::new(ALWAYS_REMOVED.into_iter().chain(STRANGERS_REMOVED), [X_FORWARDED]));

const ALWAYS_REMOVED: [&str; 9] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-request-id",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "proxy",
];
const STRANGERS_REMOVED: [&str; 5] = ["forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"];
const X_FORWARDED: &str = "x-forwarded-";

impl Arrival {
    /// Establishes the facts; never fails, a bad Host is one of the facts.
    pub fn of(head: &Head, peer: &Peer, site: &Site) -> Self {
        let trusted = site.trusts(peer);
        let way = if trusted { Way::told(&head.headers, peer.address, site) } else { Way::direct(peer.address) };
        let public_https = site.public_url().is_some_and(|url| url.https);
        // The Host itself must be sound even where a trusted peer names the one that its client sent.
        let host = Host::of(head).map(|host| way.host.unwrap_or(host));

        let believed = |name: &'static HeaderName| if trusted { forwarded::only(&head.headers, name) } else { None };
        let kept_id = believed(&REQUEST_ID).filter(|id| trace::is_sane_id(id.as_bytes()));
        let continued = believed(&TRACEPARENT).is_some_and(|parent| trace::is_traceparent(parent.as_bytes()));
        let (request_id, traceparent) = match (kept_id, continued) {
            (Some(id), true) => (id.clone(), None),
            (Some(id), false) => (id.clone(), Some(site.ids.fresh(peer.worker).traceparent)),
            (None, continued) => {
                let fresh = site.ids.fresh(peer.worker);
                (fresh.request_id, (!continued).then_some(fresh.traceparent))
            }
        };
        Self {
            client: way.client,
            https: peer.https || way.https.unwrap_or(public_https),
            host: host.and_then(|host| site.own(host)),
            request_id,
            trusted,
            spoofed: !trusted && head.headers.keys().any(|name| name.as_str().starts_with(X_FORWARDED)),
            direct: peer.text.clone().filter(|_| way.behind.is_empty() && way.client == peer.address),
            behind: way.behind,
            port: way.port,
            traceparent,
        }
    }

    /// Whether a field must be removed before anything is written: what strangers say about arrival, and what is
    /// written anew.
    pub fn replaces(&self, name: &HeaderName) -> bool {
        let removed = if self.trusted { &ALWAYS } else { &FROM_STRANGERS };
        removed.contains(name) || self.traceparent.is_some() && *name == TRACESTATE
    }

    /// Writes `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, `X-Request-Id` and `traceparent`.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Some(client) = self.client {
            headers.insert(forwarded::FOR, self.direct.clone().unwrap_or_else(|| self.hops(client)));
        }
        headers.insert(forwarded::PROTO, HeaderValue::from_static(if self.https { "https" } else { "http" }));
        if let Ok(host) = &self.host {
            headers.insert(forwarded::HOST, host.authority.clone());
            headers.insert(forwarded::PORT, self.port_value(host));
        }
        headers.insert(REQUEST_ID.clone(), self.request_id.clone());
        if let Some(traceparent) = &self.traceparent {
            headers.insert(TRACEPARENT.clone(), traceparent.clone());
        }
    }

    /// The client's address, then the trusted hops behind it.
    fn hops(&self, client: IpAddr) -> HeaderValue {
        let mut text = String::with_capacity(16 * (1 + self.behind.len()));
        write!(text, "{client}").expect("a String takes whatever is written");
        for hop in &self.behind {
            write!(text, ", {hop}").expect("a String takes whatever is written");
        }
        HeaderValue::try_from(text).expect("addresses are a valid value")
    }

    /// The port that the client connected to: a client leaves out its scheme's own.
    fn port_value(&self, host: &Host) -> HeaderValue {
        match self.port.or(host.port()) {
            Some(port) => HeaderValue::from(port),
            None if self.https => HeaderValue::from_static("443"),
            None => HeaderValue::from_static("80"),
        }
    }
}

#[cfg(test)]
mod tests;
