//! Onedoor puts all services of a site behind one domain and enforces the session there. This is the map of the house.
//!
//! # The life of a request
//!
//! A worker accepts a connection ([`server::worker`]). Where the listener asks for it, a PROXY header, TLS and the choice
//! of the protocol come first (`server::door`); then it serves HTTP/1.1 ([`server::connection`]) or HTTP/2
//! ([`server::http2`]) within its time limits ([`server::timed`]). Each request goes to [`gateway::Gateway::handle`],
//! which takes the configuration of this moment, a [`gateway::snapshot::Snapshot`], and walks its one straight path,
//! `proxy`:
//!
//! 1. [`http::message`] refuses what cannot be trusted as a message, [`http::path::NormalPath`] what cannot be trusted
//!    as a path; [`http::arrival`] knows who the client is and which host was called.
//! 2. [`rules`] finds the first rule that matches; its guards ([`access`]) and limits ([`limits`]) may refuse here already.
//! 3. [`caller`] asks [`session`] who is calling; records come from a [`session::store`], or from memory
//!    ([`session::near_cache`]) while [`redis`] hears of every change.
//! 4. [`access`] decides: a [`access::Grant`], or a denial.
//! 5. [`identity`] strips what the client says about itself, injects what the gateway knows, and so makes a
//!    [`identity::Forward`].
//! 6. [`upstream`] sends it over one of the worker's own connections and streams the answer back. Behind a 101 the
//!    connection is a [`gateway::tunnel::Tunnel`]. What goes on for long is tied to its session ([`session::Tether`]).
//! 7. [`hardening`] guards the session's cookie; [`session::managed`] obeys upstreams that may steer the session.
//!
//! What goes wrong on the way becomes a [`gateway::refusal::Refusal`], and that a response in [`gateway::answers`]. The
//! [`gateway::exchange`] gathers the facts, counts them ([`telemetry::metrics`]) and leaves one line in the log, also
//! when the client leaves first.
//!
//! # How it is configured
//!
//! `gateway.toml` is read by [`config`] into types that leave nothing open, with all errors found at once; a step
//! compiles itself from its own section; [`reload`] swaps the whole snapshot or nothing.
//!
//! # Layers
//!
//! A row may use only rows after it; `tests/tidy.rs` enforces it.
//!
//! [`cli`] → [`server`] → [`admin`] → [`reload`] → [`gateway`] → [`rules`] → [`upstream`] → [`identity`] →
//! [`limits`] → [`access`], [`hardening`] → [`caller`] → [`session`] → [`redis`] → [`config`] → [`http`], [`telemetry`],
//! [`clock`], [`secret`], [`tasks`]
//!
//! # Invariants: what is absent on purpose
//!
//! - No request is forwarded without a [`access::Grant`]: [`identity::Forward`] has one maker and it takes a grant.
//! - No path is compared that is not a [`http::path::NormalPath`]; what is matched is what is forwarded.
//! - No client header reaches an upstream as identity, on no rule.
//! - A store that is down refuses, except on rules that ask for nobody or say otherwise (`on_outage`).
//! - No refusal is given from memory, and nothing from a memory that is not proven to be current.
//! - The configuration is not read after `compile`.
//! - No I/O in [`rules`], [`access`], [`identity`], [`hardening`]; no panic on network input; no global state.
//! - No queue, retry, body or wait without a limit.
//! - `fred` is named in [`redis`] alone.
//!
//! # Nothing is forwarded without a grant
//!
//! A forward is made from a grant:
//!
//! ```
//! use http::uri::PathAndQuery;
//! use onedoor::{access::Grant, http::{Head, arrival::Arrival}, identity::{Forward, Identity}};
//!
//! fn forward(identity: &Identity, head: Head, to: PathAndQuery, arrival: &Arrival, grant: &Grant) -> Forward {
//!     identity.attach(head, to, None, arrival, grant)
//! }
//! ```
//!
//! There is no other way to one. A grant cannot be made by hand:
//!
//! ```compile_fail,E0451
//! use onedoor::access::Grant;
//!
//! fn forge() -> Grant {
//!     Grant { session: None, presented: Vec::new(), edits: Vec::new(), withholds_cookies: false, waived: false, unsure: false, would_refuse: None }
//! }
//! ```
//!
//! nor can a forward:
//!
//! ```compile_fail,E0451
//! use onedoor::identity::Forward;
//!
//! fn forge(method: http::Method, target: http::uri::PathAndQuery, host: http::HeaderValue) -> Forward {
//!     Forward { method, target, headers: http::HeaderMap::new(), host, websocket: false, record_left_out: false }
//! }
//! ```
//!
//! and an upstream takes nothing else:
//!
//! ```compile_fail,E0308
//! use onedoor::{http::body::RequestBody, upstream::{Target, Terms}};
//!
//! async fn bypass(target: Target, request: http::Request<()>, terms: Terms) {
//!     let _ = target.send(None, request, RequestBody::none(), terms).await;
//! }
//! ```

pub mod cli;
pub mod server;

pub mod admin;
pub mod reload;

pub mod gateway;

pub mod rules;

pub mod upstream;

pub mod identity;

pub mod limits;

pub mod access;
pub mod hardening;

pub mod caller;

pub mod session;

pub mod redis;

pub mod config;

pub mod http;
pub mod telemetry;

pub mod clock;
pub mod secret;
pub mod tasks;
