//! `[store] url`: which servers, and how they belong together.

use super::{Address, Redis, Sentinel, Url};
use crate::{
    config::{
        diagnostic::Fault,
        origin::{parse_host, split_port},
    },
    secret::Secret,
};
use percent_encoding::percent_decode_str;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A store's URL, taken apart.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) url: Url,
    /// Whether the scheme asks for TLS.
    pub(super) tls: bool,
}

/// Reads a store's URL. The faults never repeat it: it may hold a password.
pub(super) fn parse(text: &str) -> Result<Parsed, Fault> {
    if text == "memory:" {
        return Ok(Parsed { url: Url::Memory, tls: false });
    }
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    let kind = scheme.strip_prefix("redis").or_else(|| scheme.strip_prefix("valkey")).unwrap_or("none");
    let (tls, kind) = kind.strip_prefix('s').map_or((false, kind), |kind| (true, kind));
    let url = match kind {
        "" => parse_one(rest).map(Url::Redis),
        "-cluster" => parse_cluster(rest).map(Url::Cluster),
        "-sentinel" => parse_sentinel(rest).map(Url::Sentinel),
        "+unix" if !tls => parse_unix(rest).map(Url::Redis),
        "+cluster" | "+sentinel" => Err(Fault::new(
            "this is not a store URL",
            format!("write it with a hyphen: `{}://`", scheme.replace('+', "-")),
        )),
        _ => Err(match scheme {
            "" => Fault::new("the store's URL is empty", "such as \"redis://127.0.0.1:6379\", or \"memory:\""),
            "memory" => Fault::new("this is not a store URL", "did you mean \"memory:\"?"),
            "unix" | "redis-socket" => Fault::new("this is not a store URL", "did you mean `redis+unix:///path`?"),
            _ => Fault::new(
                "this is not a store URL",
                "such as \"redis://127.0.0.1:6379\", \"redis+unix:///run/redis.sock\" or \"memory:\"",
            ),
        }),
    };
    Ok(Parsed { url: url?, tls })
}

/// What stands behind `://`, taken apart.
struct Parts<'a> {
    user: Option<String>,
    password: Option<Secret>,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: Vec<(&'a str, &'a str)>,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, Fault> {
        if rest.contains('#') {
            return Err(Fault::new("the store's URL must not have a fragment", "percent-encode `#` in a password"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (credentials, place) = rest.rsplit_once('@').map_or((None, rest), |(before, after)| (Some(before), after));
        let (user, password) = credentials.map_or(Ok((None, None)), parse_credentials)?;
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        Ok(Self { user, password, hosts: hosts.split(',').collect(), path, query })
    }

    /// Takes the parameters of this name.
    fn take(&mut self, name: &str) -> Vec<&'a str> {
        let taken = self.query.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect();
        self.query.retain(|(other, _)| *other != name);
        taken
    }

    fn take_text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        self.take(name).last().map(|text| decoded(text)).transpose()
    }

    /// All hosts: those before the path and those of `node=` parameters.
    fn addresses(&mut self, port: u16) -> Result<Vec<Address>, Fault> {
        let hosts = self.hosts.clone().into_iter().chain(self.take("node"));
        hosts.map(|host| address(host, port)).collect()
    }

    fn server(&self, address: Address) -> Result<Redis, Fault> {
        let database = parse_database(self.path)?;
        Ok(Redis { address, user: self.user.clone(), password: self.password.clone(), database, tls: None })
    }

    /// Nothing else may be left in the query; `known` says what might have been.
    fn finish(&self, known: &'static str) -> Result<(), Fault> {
        if self.query.is_empty() { Ok(()) } else { Err(Fault::new("the store's URL has an unknown parameter", known)) }
    }
}

fn parse_one(rest: &str) -> Result<Redis, Fault> {
    let parts = Parts::of(rest)?;
    if rest.contains('?') {
        let remedy = "the form is `redis://[user:password@]host[:port][/db]`; percent-encode `?` and `#` in a password";
        return Err(Fault::new("the store's URL must not have a query", remedy));
    }
    match parts.hosts.as_slice() {
        [host] => parts.server(address(host, REDIS_PORT)?),
        _ => Err(Fault::new("this URL names several servers", "such a URL begins with `redis-cluster://`")),
    }
}

fn parse_cluster(rest: &str) -> Result<Vec<Redis>, Fault> {
    let mut parts = Parts::of(rest)?;
    let addresses = parts.addresses(REDIS_PORT)?;
    parts.finish("the form is `redis-cluster://[user:password@]host[:port][?node=host:port&node=…]`")?;
    if parse_database(parts.path)? != 0 {
        return Err(Fault::new("a cluster has one database, 0", "leave the number out"));
    }
    addresses.into_iter().map(|address| parts.server(address)).collect()
}

fn parse_sentinel(rest: &str) -> Result<Sentinel, Fault> {
    let mut parts = Parts::of(rest)?;
    let addresses = parts.addresses(SENTINEL_PORT)?;
    let service = parts.take_text("sentinelServiceName")?.filter(|name| !name.is_empty()).ok_or_else(|| {
        let remedy = "add `?sentinelServiceName=mymaster`, the name that `sentinel monitor` was given";
        Fault::new("the store's URL does not name the sentinels' service", remedy)
    })?;
    let user = parts.take_text("sentinelUsername")?;
    let password = parts.take_text("sentinelPassword")?.map(Secret::new);
    parts.finish("known are `node`, `sentinelServiceName`, `sentinelUsername` and `sentinelPassword`")?;
    let sentinel = |address| Redis { address, user: user.clone(), password: password.clone(), database: 0, tls: None };
    let sentinels: Vec<_> = addresses.into_iter().map(sentinel).collect();
    // Where it is, the sentinels will say.
    let primary = parts.server(sentinels[0].address.clone())?;
    Ok(Sentinel { sentinels, service, primary })
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
    Ok(Redis { address: Address::Unix(decoded(path)?.into()), user, password, database, tls: None })
}

fn address(authority: &str, port: u16) -> Result<Address, Fault> {
    let (host, written) = split_port(authority)?;
    // A bare IPv6 address is how it is dialled.
    Ok(Address::Tcp(parse_host(host)?.trim_matches(['[', ']']).to_owned(), written.unwrap_or(port)))
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
        match parse(text).map(|parsed| parsed.url) {
            Ok(Url::Redis(redis)) => redis,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    #[test]
    fn store_urls_are_taken_apart() {
        let plain = redis("redis://127.0.0.1");
        assert_eq!(plain.address, tcp("127.0.0.1", 6379));
        assert_eq!((plain.user, plain.password, plain.database), (None, None, 0));
        let full = redis("valkey://alice:p%40ss:w@rd@cache.internal:6380/2");
        assert_eq!(full.address, tcp("cache.internal", 6380));
        assert_eq!(full.user.as_deref(), Some("alice"));
        assert_eq!(full.password.map(|secret| secret.expose().to_owned()).as_deref(), Some("p@ss:w@rd"));
        assert_eq!(full.database, 2);
        assert_eq!(redis("redis://[::1]:7").address, tcp("::1", 7));
        assert_eq!(redis("redis://:@h").password, None, "an empty variable is no password");
        let socket = redis("redis+unix://:pw@/run/redis%20x.sock?db=3");
        assert_eq!((socket.address, socket.database), (Address::Unix("/run/redis x.sock".into()), 3));
        assert!(socket.password.is_some());
        assert_eq!(redis("redis://h/").database, 0);
        assert_eq!(parse("memory:").unwrap().url, Url::Memory);
    }

    #[test]
    fn tls_is_a_matter_of_the_scheme() {
        for (text, tls) in [
            ("redis://h", false),
            ("rediss://h", true),
            ("valkeys://h", true),
            ("valkey-cluster://h", false),
            ("rediss-cluster://h", true),
            ("valkeys-sentinel://h?sentinelServiceName=m", true),
        ] {
            assert_eq!(parse(text).unwrap().tls, tls, "{text}");
        }
    }

    #[test]
    fn clusters_and_sentinels_may_name_several_servers() {
        let addresses = |servers: &[Redis]| servers.iter().map(|server| server.address.clone()).collect::<Vec<_>>();
        for text in ["redis-cluster://u:pw@a:1,b?node=c:3", "valkey-cluster://u:pw@a:1?node=b&node=c:3"] {
            let Url::Cluster(seeds) = parse(text).unwrap().url else { panic!("{text}") };
            assert_eq!(addresses(&seeds), [tcp("a", 1), tcp("b", 6379), tcp("c", 3)]);
            assert!(seeds.iter().all(|seed| seed.user.as_deref() == Some("u") && seed.password.is_some()));
        }
        let text = "redis-sentinel://u:pw@a,b:2/3?sentinelServiceName=my%20main&node=c&sentinelPassword=s%26cret";
        let Url::Sentinel(sentinel) = parse(text).unwrap().url else { panic!() };
        assert_eq!(addresses(&sentinel.sentinels), [tcp("a", 26379), tcp("b", 2), tcp("c", 26379)]);
        assert_eq!((sentinel.service.as_str(), sentinel.primary.database), ("my main", 3));
        assert_eq!(sentinel.primary.user.as_deref(), Some("u"));
        assert_eq!(sentinel.sentinels[0].user, None, "the servers' user is not the sentinels'");
        assert_eq!(sentinel.sentinels[0].password.as_ref().map(Secret::expose), Some("s&cret"));
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
            "redis://h,hunter2",
            "rediss+unix:///x",
            "rediss://",
            "redis-cluster://h/1",
            "redis-cluster://h?x=hunter2",
            "redis-cluster://h,",
            "redis+sentinel://h",
            "redis-sentinel://h",
            "redis-sentinel://h?sentinelServiceName=",
            "redis-sentinel://h?sentinelServiceName=m&password=hunter2",
            "redis+unix://run/x",
            "redis+unix:///",
            "redis+unix:///x?y=1",
            "redis+unix:///x?db=-1",
            "redis://:%ff@h",
            "http://h",
            "127.0.0.1:6379",
        ] {
            let fault = parse(text).expect_err(text);
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
        }
    }
}
