//! `[store]`.

use super::{
    diagnostic::Fault,
    keys::{Key, Shape, Table},
    origin::{parse_host, split_port},
    section::Section,
};
use crate::secret::Secret;
use percent_encoding::percent_decode_str;
use std::{path::PathBuf, time::Duration};

/// The keys of `[store]`.
pub(super) static TABLE: Table = Table {
    name: "[store]",
    keys: &[
        Key {
            name: "url",
            shape: Shape::Text(Some("memory:")),
            meaning: "Where sessions live: `memory:`, `redis://[user:password@]host[:port][/db]`, \
                      `redis+unix:///path[?db=n]`; `valkey` alike.",
        },
        Key {
            name: "namespace",
            shape: Shape::Text(Some("onedoor:")),
            meaning: "Begins every key of the gateway's own.",
        },
        Key {
            name: "connections",
            shape: Shape::Count { default: None, from: 1, to: 1024 },
            meaning: "Redis connections in all. By default one per worker.",
        },
        Key {
            name: "timeout",
            shape: Shape::Duration { default: Some("500ms"), zero: false },
            meaning: "Of one command, the wait for a reconnect included; then it is an outage.",
        },
        Key { name: "cache", shape: Shape::Table(&CACHE), meaning: "Sessions kept in memory." },
    ],
};

/// The keys of `[store.cache]`.
static CACHE: Table = Table {
    name: "[store.cache]",
    keys: &[Key {
        name: "entries",
        shape: Shape::Count { default: Some(0), from: 0, to: u64::MAX },
        meaning: "How many sessions; 0 asks the store every time, and is all that is supported yet.",
    }],
};

/// `[store]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// `url`
    pub url: Url,
    /// `namespace`: begins every key of the gateway's own.
    pub namespace: String,
    /// `connections`: Redis connections in all; `None` = one per worker.
    pub connections: Option<usize>,
    /// `timeout`: of one command, the wait for a reconnect included.
    pub timeout: Duration,
}

/// Where sessions live.
#[derive(Debug, Clone, PartialEq)]
pub enum Url {
    /// `memory:`
    Memory,
    /// `redis://` or `redis+unix://`
    Redis(Redis),
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
}

/// Where a Redis server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Reads `[store]`.
pub(super) fn read(mut section: Section<'_>) -> Store {
    hide_query(&mut section);
    // One that cannot be read was reported, and is not `memory:` for those who ask.
    let unread =
        || Url::Redis(Redis { address: Address::Unix(PathBuf::new()), user: None, password: None, database: 0 });
    let url = section.parsed("url", parse_url).unwrap_or_else(unread);
    let namespace = section.parsed("namespace", parse_namespace).unwrap_or_default();
    let connections = section.count("connections");
    let timeout = section.duration("timeout");
    read_cache(section.table("cache"));
    section.finish();
    Store { url, namespace, connections, timeout }
}

fn read_cache(mut section: Section<'_>) {
    if section.count("entries").is_some_and(|entries| entries != 0) {
        let remedy = "write `entries = 0`, or leave the key out: every check asks the store";
        section.reader.error(section.span_of("entries"), "the session cache is not supported yet", remedy);
    }
    section.finish();
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

/// Reads a store's URL. The faults never repeat it: it may hold a password.
fn parse_url(text: &str) -> Result<Url, Fault> {
    if text == "memory:" {
        return Ok(Url::Memory);
    }
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    match scheme {
        "redis" | "valkey" => parse_tcp(rest).map(Url::Redis),
        "redis+unix" | "valkey+unix" => parse_unix(rest).map(Url::Redis),
        "" => Err(Fault::new("the store's URL is empty", "such as \"redis://127.0.0.1:6379\", or \"memory:\"")),
        "memory" => Err(Fault::new("this is not a store URL", "did you mean \"memory:\"?")),
        "rediss" | "valkeys" => Err(Fault::new("TLS to the store is not supported yet", "use `redis://`")),
        _ if scheme.contains("-cluster") || scheme.contains("+cluster") => {
            Err(Fault::new("clusters are not supported yet", "use `redis://` with one server"))
        }
        _ if scheme.contains("-sentinel") || scheme.contains("+sentinel") => {
            Err(Fault::new("sentinels are not supported yet", "use `redis://` with one server"))
        }
        "unix" | "redis-socket" => Err(Fault::new("this is not a store URL", "did you mean `redis+unix:///path`?")),
        _ => {
            let remedy = "such as \"redis://127.0.0.1:6379\", \"redis+unix:///run/redis.sock\" or \"memory:\"";
            Err(Fault::new("this is not a store URL", remedy))
        }
    }
}

fn parse_tcp(rest: &str) -> Result<Redis, Fault> {
    if rest.contains(['?', '#']) {
        let remedy = "the form is `redis://[user:password@]host[:port][/db]`; percent-encode `?` and `#` in a password";
        return Err(Fault::new("the store's URL must not have a query or fragment", remedy));
    }
    let (credentials, address) = rest.rsplit_once('@').map_or((None, rest), |(before, after)| (Some(before), after));
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let (user, password) = credentials.map_or(Ok((None, None)), parse_credentials)?;
    let (host, port) = split_port(authority)?;
    // A bare IPv6 address is how it is dialled.
    let host = parse_host(host)?.trim_matches(['[', ']']).to_owned();
    let address = Address::Tcp(host, port.unwrap_or(6379));
    Ok(Redis { address, user, password, database: parse_database(database)? })
}

fn parse_unix(rest: &str) -> Result<Redis, Fault> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (credentials, path) = rest.rsplit_once('@').map_or((None, rest), |(before, after)| (Some(before), after));
    let (user, password) = credentials.map_or(Ok((None, None)), parse_credentials)?;
    if !path.starts_with('/') || path.len() < 2 {
        return Err(Fault::new(
            "the store's URL names no socket",
            "such as `redis+unix:///run/redis.sock`, three slashes",
        ));
    }
    let database = match query {
        "" => 0,
        query => {
            let number = query.strip_prefix("db=");
            parse_database(number.ok_or_else(|| Fault::new("only `?db=` is known here", "such as `?db=1`"))?)?
        }
    };
    Ok(Redis { address: Address::Unix(decoded(path)?.into()), user, password, database })
}

fn parse_database(text: &str) -> Result<u8, Fault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "" => Ok(0),
        number => number.parse().ok().filter(|_| digits).ok_or_else(|| {
            Fault::new("the store's URL does not end in a database number", "a number between 0 and 255, such as `/1`")
        }),
    }
}

fn parse_credentials(text: &str) -> Result<(Option<String>, Option<Secret>), Fault> {
    let Some((user, password)) = text.split_once(':') else {
        let remedy = "write `redis://:password@host`, or `redis://user:password@host`";
        return Err(Fault::new("the store's URL has a user or a password, but not which", remedy));
    };
    let (user, password) = (decoded(user)?, decoded(password)?);
    if password.is_empty() && !user.is_empty() {
        return Err(Fault::new("the store's URL has a user with an empty password", "write both, or neither"));
    }
    Ok((Some(user).filter(|user| !user.is_empty()), Some(password).filter(|text| !text.is_empty()).map(Secret::new)))
}

fn decoded(text: &str) -> Result<String, Fault> {
    let decoded = percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    decoded.map_err(|_| Fault::new("a percent-encoded part of the store's URL is not UTF-8", "encode it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(text: &str) -> Redis {
        match parse_url(text) {
            Ok(Url::Redis(redis)) => redis,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn store_urls_are_taken_apart() {
        let plain = redis("redis://127.0.0.1");
        assert_eq!(plain.address, Address::Tcp("127.0.0.1".into(), 6379));
        assert_eq!((plain.user, plain.password, plain.database), (None, None, 0));
        let full = redis("valkey://alice:p%40ss:w@rd@cache.internal:6380/2");
        assert_eq!(full.address, Address::Tcp("cache.internal".into(), 6380));
        assert_eq!(full.user.as_deref(), Some("alice"));
        assert_eq!(full.password.map(|secret| secret.expose().to_owned()).as_deref(), Some("p@ss:w@rd"));
        assert_eq!(full.database, 2);
        assert_eq!(redis("redis://[::1]:7").address, Address::Tcp("::1".into(), 7));
        assert_eq!(redis("redis://:@h").password, None, "an empty variable is no password");
        let socket = redis("redis+unix://:pw@/run/redis%20x.sock?db=3");
        assert_eq!((socket.address, socket.database), (Address::Unix("/run/redis x.sock".into()), 3));
        assert!(socket.password.is_some());
        assert_eq!(redis("redis://h/").database, 0);
        assert_eq!(parse_url("memory:"), Ok(Url::Memory));
    }

    #[test]
    fn what_is_no_store_url_is_refused_without_repeating_it() {
        for text in [
            "",
            "memory",
            "memory://",
            "redis:hunter2",
            "redis://",
            "redis://hunter2@h",
            "redis://u:@h",
            "redis://h:0",
            "redis://h/x",
            "redis://h/256",
            "redis://h/+1",
            "redis://h?db=hunter2",
            "rediss://:hunter2@h",
            "redis-cluster://h",
            "redis+sentinel://h",
            "redis+unix://run/x",
            "redis+unix:///",
            "redis+unix:///x?y=1",
            "redis+unix:///x?db=-1",
            "redis://:%ff@h",
            "http://h",
            "127.0.0.1:6379",
        ] {
            let fault = parse_url(text).expect_err(text);
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
        }
    }
}
