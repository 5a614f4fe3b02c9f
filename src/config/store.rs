//! `[store]`.

use super::{
    diagnostic::Fault,
    keys::{Key, Shape, Table},
    section::Section,
    tls::{self, ClientTls},
};
use std::{fmt, path::PathBuf, time::Duration};

mod cache;
mod url;

pub use cache::{Cache, Invalidation, OnOutage, Outage};

/// The keys of `[store]`.
pub(super) static TABLE: Table = Table {
    name: "[store]",
    keys: &[
        Key {
            name: "url",
            shape: Shape::Text(Some("memory:")),
            meaning: "Where sessions live: `memory:`, `redis://[user:password@]host[:port][/db]`, `rediss://` (TLS), \
                      `redis+unix:///path[?db=n]`, `redis-cluster://host:port,host:port`, \
                      `redis-sentinel://host:port,host:port/db?sentinelServiceName=…`; `valkey` alike.",
        },
        Key {
            name: "namespace",
            shape: Shape::Text(Some("onedoor:")),
            meaning: "Begins every key of the gateway's own.",
        },
        Key {
            name: "connections",
            shape: Shape::Count { default: None, from: 1, to: 1024 },
            meaning: "Connections to each Redis server that records are read over, and as many for the rest. By default one per \
                      worker.",
        },
        Key {
            name: "timeout",
            shape: Shape::Duration { default: Some("500ms"), zero: false },
            meaning: "Of one command, the wait for a reconnect included; then it is an outage.",
        },
        Key {
            name: "ca",
            shape: Shape::Text(None),
            meaning: "A PEM file with the certificates that the store's are verified by, instead of the system's.",
        },
        Key { name: "cert", shape: Shape::Text(None), meaning: "A PEM file: the gateway's certificate for the store." },
        Key { name: "key", shape: Shape::Text(None), meaning: "A PEM file: the private key of `cert`." },
        Key { name: "cache", shape: Shape::Table(&cache::TABLE), meaning: "Sessions kept in memory." },
        Key { name: "outage", shape: Shape::Table(&cache::OUTAGE), meaning: "What happens while the store is away." },
    ],
};

/// `[store]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// `url`
    pub url: Url,
    /// `namespace`: begins every key of the gateway's own.
    pub namespace: String,
    /// `connections` to each Redis server; `None` = one per worker.
    pub connections: Option<usize>,
    /// `timeout`: of one command, the wait for a reconnect included.
    pub timeout: Duration,
    /// `[store.cache]`
    pub cache: Cache,
    /// `[store.outage]`
    pub outage: Outage,
}

impl Store {
    /// Whether it may tell that a record was deleted, and not just that something happened to it.
    pub(super) fn may_tell_deletions(&self) -> bool {
        self.url != Url::Memory && self.cache.entries > 0 && self.cache.invalidation != Invalidation::Tracking
    }
}

/// Where sessions live.
#[derive(Debug, Clone, PartialEq)]
pub enum Url {
    /// `memory:`
    Memory,
    /// `redis://` or `redis+unix://`: one server.
    Redis(Redis),
    /// `redis-sentinel://`: a server that the sentinels name, and its replicas.
    Sentinel(Sentinel),
    /// `redis-cluster://`: servers that share the keys, found by asking one of these.
    Cluster(Vec<Redis>),
}

/// Sentinels, and what they look after.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentinel {
    /// The sentinels, at least one.
    pub sentinels: Vec<Redis>,
    /// The name that they know the server by.
    pub service: String,
    /// How to speak to the server; its address is what the sentinels say.
    pub primary: Redis,
}

/// A Redis server.
#[derive(Debug, Clone, PartialEq)]
pub struct Redis {
    /// Where it listens.
    pub address: Address,
    /// The ACL user, if the URL names one.
    pub user: Option<String>,
    /// The password, if the URL has one.
    pub password: Option<crate::secret::Secret>,
    /// The database number.
    pub database: u8,
    /// TLS, if the URL asks for it.
    pub tls: Option<ClientTls>,
}

/// Where a Redis server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads `[store]`. The files it was read from, too, are added to `watched`.
pub(super) fn read(mut section: Section<'_>, watched: &mut Vec<PathBuf>) -> Store {
    hide_query(&mut section);
    // One that cannot be read was reported, and is not `memory:` for those who ask.
    let unread = || {
        let address = Address::Unix(PathBuf::new());
        Url::Redis(Redis { address, user: None, password: None, database: 0, tls: None })
    };
    let parsed = section.parsed("url", url::parse);
    let asks_for_tls = parsed.as_ref().map(|parsed| parsed.tls);
    let mut url = parsed.map_or_else(unread, |parsed| parsed.url);
    match asks_for_tls {
        Some(true) => url.speak_tls(tls::read(&mut section, watched)),
        Some(false) => {
            for name in ["ca", "cert", "key"] {
                section.refuse(name, "TLS to the store is off", "begin the URL with `rediss://`, or leave the key out");
            }
        }
        None => _ = ["ca", "cert", "key"].map(|name| section.take(name)),
    }
    let namespace = section.parsed("namespace", parse_namespace).unwrap_or_default();
    let connections = section.count("connections");
    let timeout = section.duration("timeout");
    let cache = cache::read(section.table("cache"));
    let outage = cache::read_outage(section.table("outage"), &cache);
    section.finish();
    Store { url, namespace, connections, timeout, cache, outage }
}

#[cfg(test)]
impl Store {
    /// A store with nothing in memory.
    pub(crate) fn uncached(url: Url, timeout: Duration) -> Self {
        let cache = Cache {
            entries: 0,
            max_staleness: Duration::from_secs(2),
            invalidation: Invalidation::Auto,
            configure: false,
        };
        let outage = Outage { policy: OnOutage::Refuse, stale_for: Duration::from_secs(300) };
        Self { url, namespace: "onedoor:".to_owned(), connections: None, timeout, cache, outage }
    }
}

impl Url {
    /// All servers of this URL are spoken to over TLS.
    fn speak_tls(&mut self, tls: Option<ClientTls>) {
        let servers: Vec<&mut Redis> = match self {
            Self::Memory => Vec::new(),
            Self::Redis(server) => vec![server],
            Self::Sentinel(Sentinel { sentinels, primary, .. }) => sentinels.iter_mut().chain([primary]).collect(),
            Self::Cluster(seeds) => seeds.iter_mut().collect(),
        };
        for server in servers {
            server.tls.clone_from(&tls);
        }
    }
}

/// A literal URL may hold a password behind a `?` that does not belong there.
fn hide_query(section: &mut Section<'_>) {
    let Some(value) = section.take("url") else { return };
    if value.get_ref().as_str().is_some_and(|literal| literal.contains('?')) {
        section.reader.hide(value.span());
    }
}

fn parse_namespace(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        let remedy = "it begins every key in the store, such as \"onedoor:\"";
        return Err(Fault::new("`namespace` must be text without spaces", remedy));
    }
    Ok(text.to_owned())
}
