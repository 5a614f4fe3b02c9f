//! The vocabulary of HTTP that the steps share: nothing here knows a rule, a session or an upstream.

pub mod arrival;
pub mod body;
pub mod cookie_header;
pub mod folded;
pub mod forwarded;
pub mod hop_by_hop;
pub mod host;
pub mod http2;
pub mod message;
pub mod navigation;
pub mod origin;
pub mod path;
pub mod peer;
pub mod site;
pub mod trace;
pub mod trailers;
pub mod websocket;

/// A request without its body: no step before the upstream can touch the body.
pub type Head = ::http::request::Parts;
