//! The keys of `[server]` and what is below it.

use super::tls;
use crate::config::keys::{Key, Shape, Table};

/// The keys of `[server]`.
pub(in crate::config) static TABLE: Table = Table {
    name: "[server]",
    keys: &[
        Key {
            name: "listen",
            shape: Shape::Texts(&["127.0.0.1:3000"]),
            meaning: "Where requests come in: `host:port`, `[v6]:port`, `unix:/path` or `systemd:NAME`; one or many.",
        },
        Key {
            name: "public_url",
            shape: Shape::Text(None),
            meaning: "The one domain, such as `https://example.com`. Without it the request's own Host and scheme count.",
        },
        Key {
            name: "hosts",
            shape: Shape::Texts(&[]),
            meaning: "The Host names that are ours, without ports; others get 421. By default public_url's, else any.",
        },
        Key {
            name: "redirect_hosts",
            shape: Shape::Texts(&[]),
            meaning: "Host names whose visitors are sent to public_url with 308.",
        },
        Key {
            name: "trusted_proxies",
            shape: Shape::Texts(&[]),
            meaning: "Networks, addresses and `unix` whose X-Forwarded-* and Forwarded headers are believed.",
        },
        Key {
            name: "workers",
            shape: Shape::Count { default: None, from: 1, to: 1024 },
            meaning: "Threads that serve requests. By default one per core.",
        },
        Key {
            name: "drain",
            shape: Shape::Duration { default: Some("30s"), zero: true },
            meaning: "How long accepted requests may take to finish after SIGTERM.",
        },
        Key {
            name: "drain_delay",
            shape: Shape::Duration { default: Some("0s"), zero: true },
            meaning: "How long everything is still served after SIGTERM while the probes already fail.",
        },
        Key {
            name: "handover",
            shape: Shape::Flag(false),
            meaning: "Listen beside another process on the same address, for a restart side by side.",
        },
        Key {
            name: "method_override",
            shape: Shape::Flag(false),
            meaning: "Let X-HTTP-Method-Override and its kin through. Rules must not name methods then.",
        },
        Key {
            name: "proxy_protocol",
            shape: Shape::Choice { default: Some("off"), of: &["off", "required", "optional"] },
            meaning: "Whether connections begin with a PROXY header (v1 or v2), believed from trusted_proxies alone.",
        },
        Key {
            name: "h2c",
            shape: Shape::Flag(false),
            meaning: "Speak HTTP/2 on listeners without TLS, too, with clients that begin with it.",
        },
        Key { name: "tls", shape: Shape::Table(&tls::TABLE), meaning: "TLS on every TCP listener." },
        Key { name: "limits", shape: Shape::Table(&LIMITS), meaning: "Limits on requests and connections." },
    ],
};

/// The keys of `[server.limits]`.
static LIMITS: Table = Table {
    name: "[server.limits]",
    keys: &[
        Key {
            name: "header_bytes",
            shape: Shape::Size { default: "32KiB", from: 1 << 10, to: 1 << 20 },
            meaning: "All header lines of a request together.",
        },
        Key {
            name: "headers",
            shape: Shape::Count { default: Some(100), from: 1, to: 10_000 },
            meaning: "The number of header lines of a request.",
        },
        Key {
            name: "uri_bytes",
            shape: Shape::Size { default: "8KiB", from: 64, to: 65_534 },
            meaning: "The request target.",
        },
        Key {
            name: "body",
            shape: Shape::Size { default: "0", from: 0, to: u64::MAX },
            meaning: "The body of a request; \"0\" is unlimited.",
        },
        Key {
            name: "header_timeout",
            shape: Shape::Duration { default: Some("10s"), zero: false },
            meaning: "From a request's first byte to the end of its head.",
        },
        Key {
            name: "keepalive",
            shape: Shape::Duration { default: Some("75s"), zero: false },
            meaning: "How long a connection may wait for its next request.",
        },
        Key {
            name: "body_timeout",
            shape: Shape::Duration { default: Some("30s"), zero: false },
            meaning: "Between two reads of a request's body.",
        },
        Key {
            name: "connections",
            shape: Shape::Count { default: Some(20_000), from: 1, to: 10_000_000 },
            meaning: "Connections over all workers.",
        },
        Key {
            name: "http2_streams",
            shape: Shape::Count { default: Some(128), from: 1, to: 10_000 },
            meaning: "Requests at a time on one HTTP/2 connection.",
        },
    ],
};
