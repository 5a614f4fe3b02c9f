//! The keys of `[upstreams.NAME]`.

use crate::config::keys::{Key, Shape, Table};

/// The keys of an upstream that is a table.
pub(in crate::config) static TABLE: Table = Table {
    name: "[upstreams.NAME]",
    keys: &[
        Key {
            name: "endpoints",
            shape: Shape::Texts(&[]),
            meaning: "URLs: `http://host:port`, `https://host:port`, `h2c://host:port` or `unix:/path`. Required.",
        },
        Key {
            name: "host",
            shape: Shape::Text(Some("auto")),
            meaning: "The Host sent: `client` (as received), `upstream` (the endpoint's), a literal, or `auto`: `client` over \
                      http, `upstream` over https.",
        },
        Key {
            name: "connect_timeout",
            shape: Shape::Duration { default: Some("2s"), zero: false },
            meaning: "To connect.",
        },
        Key {
            name: "response_timeout",
            shape: Shape::Duration { default: Some("60s"), zero: false },
            meaning: "Until the head of the response.",
        },
        Key {
            name: "idle_timeout",
            shape: Shape::Duration { default: Some("60s"), zero: false },
            meaning: "Of a silent body.",
        },
        Key {
            name: "tunnel_idle",
            shape: Shape::Duration { default: Some("1h"), zero: false },
            meaning: "Of a silent WebSocket, event stream or gRPC stream.",
        },
        Key {
            name: "keepalive",
            shape: Shape::Duration { default: Some("4s"), zero: true },
            meaning: "How long an unused connection is kept.",
        },
        Key {
            name: "connections",
            shape: Shape::Count { default: Some(1024), from: 1, to: 10_000_000 },
            meaning: "Per endpoint, over all workers; beyond it 503 at once.",
        },
        Key {
            name: "resolve",
            shape: Shape::Duration { default: Some("30s"), zero: false },
            meaning: "How often host names are resolved again; each of their addresses is an endpoint.",
        },
        Key { name: "tls", shape: Shape::Table(&TLS), meaning: "How https endpoints are spoken to." },
        Key {
            name: "balance",
            shape: Shape::Text(Some("least_requests")),
            meaning: "`least_requests`, `round_robin`, or so that what belongs together stays on one endpoint: `hash:user`, \
                      `hash:ip`, `hash:header:NAME`.",
        },
        Key {
            name: "retries",
            shape: Shape::Count { default: Some(1), from: 0, to: 10 },
            meaning: "How often a request that cannot have run twice is sent once more; a fifth of all requests at most.",
        },
        Key {
            name: "retry_on",
            shape: Shape::Statuses,
            meaning: "Statuses for which GET and HEAD are also tried elsewhere. By default none.",
        },
        Key { name: "health", shape: Shape::Table(&HEALTH), meaning: "Endpoints are asked whether they are well." },
        Key {
            name: "eject",
            shape: Shape::Table(&EJECT),
            meaning: "Endpoints that fail are left out for a while; statuses are no failures.",
        },
        Key {
            name: "trailers",
            shape: Shape::Texts(&[]),
            meaning: "Fields behind a body that pass, both ways, such as `Server-Timing`. Those of gRPC answers always do.",
        },
        Key {
            name: "session_authority",
            shape: Shape::Flag(false),
            meaning: "May log users in and out, and change their sessions.",
        },
    ],
};

/// The keys of `health`.
static HEALTH: Table = Table {
    name: "health = { path = ... }",
    keys: &[
        Key { name: "path", shape: Shape::Text(None), meaning: "What is asked for, with GET. Required." },
        Key {
            name: "interval",
            shape: Shape::Duration { default: Some("5s"), zero: false },
            meaning: "Between two checks.",
        },
        Key {
            name: "timeout",
            shape: Shape::Duration { default: Some("1s"), zero: false },
            meaning: "Of one check, the connection included.",
        },
        Key {
            name: "unhealthy_after",
            shape: Shape::Count { default: Some(3), from: 1, to: 1000 },
            meaning: "So many checks in a row must fail.",
        },
        Key {
            name: "healthy_after",
            shape: Shape::Count { default: Some(2), from: 1, to: 1000 },
            meaning: "So many checks in a row must pass.",
        },
    ],
};

/// The keys of `tls`.
static TLS: Table = Table {
    name: "tls = { ca = ... }",
    keys: &[
        Key {
            name: "ca",
            shape: Shape::Text(None),
            meaning: "A PEM file: who is trusted. By default the system's roots.",
        },
        Key {
            name: "cert",
            shape: Shape::Text(None),
            meaning: "A PEM file: the gateway's certificate for the service.",
        },
        Key { name: "key", shape: Shape::Text(None), meaning: "A PEM file: the private key of `cert`." },
        Key {
            name: "server_name",
            shape: Shape::Text(None),
            meaning: "The name that is asked for and verified. By default the endpoint's.",
        },
    ],
};

/// The keys of `eject`.
static EJECT: Table = Table {
    name: "eject = { errors = ... }",
    keys: &[
        Key {
            name: "errors",
            shape: Shape::Count { default: Some(5), from: 0, to: 1_000_000 },
            meaning: "So many requests in a row got no answer; 0 is never.",
        },
        Key {
            name: "for",
            shape: Shape::Duration { default: Some("10s"), zero: false },
            meaning: "How long it is left out, the first time.",
        },
    ],
};
