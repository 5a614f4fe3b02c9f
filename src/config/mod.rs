//! `gateway.toml`: read with the place of every value, checked, and turned into types without a default left to apply.

pub mod admin;
pub mod diagnostic;
pub mod environment;
pub mod identity;
pub mod keys;
pub mod limits;
pub mod log;
pub mod pages;
pub mod path;
pub mod rules;
pub mod security_headers;
pub mod server;
pub mod session;
pub mod store;
pub mod tls;
pub mod units;
pub mod upstreams;

mod hidden;
mod origin;
mod pem;
mod read;
mod reader;
mod section;
mod syntax;

#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use read::{Loaded, load, read};

/// A stretch of bytes in the configuration text, for diagnostics.
pub type Span = std::ops::Range<usize>;

/// The whole configuration: no key is left to default, no text where a type exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: server::Server,
    /// `[store]`
    pub store: store::Store,
    /// `[session]`, if there is one; several come with `[[session]]`.
    pub sessions: Vec<session::Session>,
    /// `[identity]`
    pub identity: identity::Identity,
    /// `[upstreams]`, and one more for every rule whose `dest` is a URL.
    pub upstreams: Vec<upstreams::Upstream>,
    /// `[[rules]]` in the order written.
    pub rules: Vec<rules::Rule>,
    /// `[limits]`, in the order written.
    pub limits: Vec<limits::Limit>,
    /// `[security_headers]`
    pub security_headers: security_headers::SecurityHeaders,
    /// `[pages]`
    pub pages: pages::Pages,
    /// `[admin]`
    pub admin: admin::Admin,
    /// `[log]`
    pub log: log::Log,
    /// Files other than the configuration itself whose change calls for a reload (`secrets_file`, pages).
    pub watched: Vec<std::path::PathBuf>,
}
