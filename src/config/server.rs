//! `[server]` and `[server.limits]`.

use super::{
    diagnostic::Fault,
    origin::{Origin, parse_host, split_port},
    section::Section,
};
use crate::http::site::PublicUrl;
use ipnet::IpNet;
use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    num::NonZero,
    path::PathBuf,
    time::Duration,
};

mod keys;
mod tls;

pub(super) use keys::TABLE;
pub use tls::{Certificate, Tls, is_for};

/// `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// `listen`: at least one.
    pub listen: Vec<Listen>,
    /// `public_url`, without a path.
    pub public_url: Option<PublicUrl>,
    /// `hosts`, lower case, without ports; empty = any. `public_url`'s host is in it when `hosts` is absent.
    pub hosts: Vec<String>,
    /// `redirect_hosts`, as `hosts`.
    pub redirect_hosts: Vec<String>,
    /// `trusted_proxies`: the networks.
    pub trusted_networks: Vec<ipnet::IpNet>,
    /// `trusted_proxies` names `unix`.
    pub trusts_unix: bool,
    /// `workers`: at least 1.
    pub workers: usize,
    /// `drain`
    pub drain: Duration,
    /// `drain_delay`
    pub drain_delay: Duration,
    /// `handover`
    pub handover: bool,
    /// `method_override`
    pub method_override: bool,
    /// `proxy_protocol`
    pub proxy_protocol: ProxyProtocol,
    /// `h2c`
    pub h2c: bool,
    /// `[server.tls]`
    pub tls: Option<Tls>,
    /// `[server.limits]`
    pub limits: Limits,
}

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `host:port` or `[v6]:port`; a host name was resolved when the file was read.
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
    /// `systemd:NAME`: what the process was started with.
    Passed(String),
}

/// `proxy_protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A PROXY header is no HTTP.
    Off,
    /// Every connection begins with one.
    Required,
    /// Connections from trusted proxies may begin with one.
    Optional,
}

/// `[server.limits]`; sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `header_bytes`: all header lines together.
    pub header_bytes: usize,
    /// `headers`: number of header lines.
    pub headers: usize,
    /// `uri_bytes`: the request target.
    pub uri_bytes: usize,
    /// `body`: a request's body; `None` = unlimited.
    pub body_bytes: Option<u64>,
    /// `header_timeout`
    pub header_timeout: Duration,
    /// `keepalive`
    pub keepalive: Duration,
    /// `body_timeout`
    pub body_timeout: Duration,
    /// `connections`: over all workers.
    pub connections: usize,
    /// `http2_streams`
    pub http2_streams: u32,
}

/// What the system takes (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Reads `[server]`.
pub(super) fn read(mut section: Section<'_>, watched: &mut Vec<PathBuf>) -> Server {
    let listen = section.parsed_list("listen", parse_listen);
    let handover = section.flag("handover");
    section.refuse_repeated("listen", "address", &listen);
    if !handover {
        refuse_colliding(&section, &listen);
    }
    let public_url = section.parsed("public_url", parse_public_url);
    let hosts = read_hosts(&mut section, public_url.as_ref());
    let redirect_hosts = read_redirect_hosts(&mut section, &hosts);
    let (trusted_networks, trusts_unix) = read_trusted(&mut section);
    let trusts_nobody = trusted_networks.is_empty() && !trusts_unix;
    let server = Server {
        tls: tls::read(section.table("tls"), &listen, watched),
        listen,
        hosts,
        redirect_hosts,
        trusted_networks,
        trusts_unix,
        workers: section.count("workers").unwrap_or_else(cores),
        drain: section.duration("drain"),
        drain_delay: section.duration("drain_delay"),
        handover,
        method_override: section.flag("method_override"),
        proxy_protocol: read_proxy_protocol(&mut section, trusts_nobody),
        h2c: section.flag("h2c"),
        limits: read_limits(section.table("limits")),
        public_url,
    };
    let https = server.public_url.as_ref().is_some_and(|url| url.https);
    if https && !section.has("trusted_proxies") && server.tls.is_none() {
        section.reader.warning(
            section.span_of("public_url"),
            "`public_url` is https, but nothing here ends TLS and no proxy in front is trusted to say so",
            "name the proxy that ends TLS, such as `trusted_proxies = [\"10.0.0.0/8\"]`",
        );
    }
    tls::check(&section, &server);
    section.finish();
    server
}

fn read_limits(mut section: Section<'_>) -> Limits {
    let narrow = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let limits = Limits {
        header_bytes: narrow(section.size("header_bytes")),
        headers: section.count("headers").unwrap_or_default(),
        uri_bytes: narrow(section.size("uri_bytes")),
        body_bytes: Some(section.size("body")).filter(|size| *size != 0),
        header_timeout: section.duration("header_timeout"),
        keepalive: section.duration("keepalive"),
        body_timeout: section.duration("body_timeout"),
        connections: section.count("connections").unwrap_or_default(),
        http2_streams: section.count("http2_streams").and_then(|count| count.try_into().ok()).unwrap_or_default(),
    };
    section.finish();
    limits
}

fn read_hosts(section: &mut Section<'_>, public_url: Option<&PublicUrl>) -> Vec<String> {
    if section.is_empty_list("hosts") {
        section.take("hosts");
        return Vec::new();
    }
    let hosts = section.parsed_list("hosts", parse_host_name);
    let Some(url) = public_url else { return hosts };
    if !section.has("hosts") {
        return vec![url.host.clone()];
    }
    if !hosts.is_empty() && !hosts.contains(&url.host) {
        section.reader.warning(
            section.span_of("hosts"),
            format!("`hosts` lacks the host of `public_url`, `{}`: requests for it are answered 421", url.host),
            format!("add \"{}\"", url.host),
        );
    }
    hosts
}

fn parse_host_name(text: &str) -> Result<String, Fault> {
    if let Some((_, host)) = text.split_once("://") {
        let remedy = format!("leave the scheme out: \"{}\"", host.trim_end_matches('/'));
        return Err(Fault::new(format!("`{text}` is not a host name"), remedy));
    }
    let (host, port) = if text.parse::<IpAddr>().is_ok() { (text, None) } else { split_port(text)? };
    match port {
        Some(_) => {
            Err(Fault::new("a name of a host has no port here", format!("ports are not compared: write \"{host}\"")))
        }
        None => parse_host(host),
    }
}

fn read_redirect_hosts(section: &mut Section<'_>, hosts: &[String]) -> Vec<String> {
    let names = section.parsed_list("redirect_hosts", parse_host_name);
    let span = section.span_of("redirect_hosts");
    if !section.has("public_url") && section.has("redirect_hosts") {
        section.reader.error(span, "`redirect_hosts` needs a `public_url` to send visitors to", "add `public_url`");
    } else if let Some(name) = names.iter().find(|name| hosts.contains(name)) {
        let message = format!("`{name}` is one of ours and cannot send its visitors away");
        section.reader.error(span, message, "leave it out here, or in `hosts`");
    }
    names
}

fn read_proxy_protocol(section: &mut Section<'_>, trusts_nobody: bool) -> ProxyProtocol {
    let chosen = match section.choice("proxy_protocol") {
        Some("required") => ProxyProtocol::Required,
        Some("optional") => ProxyProtocol::Optional,
        _ => ProxyProtocol::Off,
    };
    if chosen != ProxyProtocol::Off && trusts_nobody {
        let remedy = "name your load balancers: `trusted_proxies = [\"10.0.0.0/8\"]`";
        let message = "nobody's PROXY header is believed: there are no `trusted_proxies`";
        section.reader.error(section.span_of("proxy_protocol"), message, remedy);
    }
    chosen
}

fn read_trusted(section: &mut Section<'_>) -> (Vec<IpNet>, bool) {
    let mut trusts_unix = false;
    let mut networks = Vec::new();
    if section.is_empty_list("trusted_proxies") {
        section.take("trusted_proxies");
        return (networks, trusts_unix);
    }
    for text in section.texts("trusted_proxies") {
        if text.text == "unix" {
            trusts_unix = true;
            continue;
        }
        let Some(network) = section.reader.parse(&text, parse_network) else { continue };
        if network.prefix_len() == 0 {
            let remedy = "name the networks that your load balancers are in";
            section.reader.warning(text.span, "everybody is trusted to say who they are", remedy);
        }
        networks.push(network);
    }
    (networks, trusts_unix)
}

fn refuse_colliding(section: &Section<'_>, listen: &[Listen]) {
    let addresses = listen.iter().filter_map(|listen| match listen {
        Listen::Tcp(address) => Some(address),
        Listen::Unix(_) | Listen::Passed(_) => None,
    });
    for (index, one) in addresses.clone().enumerate() {
        for other in addresses.clone().skip(index + 1).filter(|other| one != *other && collide(*one, **other)) {
            let (wide, narrow) = if includes(*one, *other) { (one, other) } else { (other, one) };
            let message = format!("`{narrow}` is part of `{wide}`, which is every network");
            section.reader.error(section.span_of("listen"), message, format!("leave `{narrow}` out"));
        }
    }
}

impl Listen {
    /// Whether this address cannot be listened on beside it.
    pub(super) fn collides(&self, address: SocketAddr) -> bool {
        matches!(self, Self::Tcp(own) if collide(*own, address))
    }
}

/// Whether two addresses cannot both be listened on.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let is_shared = one.port() == other.port() && one.port() != 0;
    is_shared && (one.ip() == other.ip() || includes(one, other) || includes(other, one))
}

/// Whether one is every network that the other may be: that of IPv6 takes IPv4, too.
fn includes(wide: SocketAddr, narrow: SocketAddr) -> bool {
    wide.ip().is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Reads an address to listen on. A host name is looked up now; of its addresses the first counts, IPv4 before IPv6.
pub(super) fn parse_listen(text: &str) -> Result<Listen, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.len() > SOCKET_PATH_BYTES_MAX {
            let message = format!("the path of a unix socket has {SOCKET_PATH_BYTES_MAX} bytes at most");
            return Err(Fault::new(message, "such as `unix:/run/onedoor.sock`"));
        }
        let absolute = path.starts_with('/') && path.len() > 1;
        return if absolute {
            Ok(Listen::Unix(path.into()))
        } else {
            Err(Fault::new("a unix socket needs an absolute path", "such as `unix:/run/onedoor.sock`"))
        };
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        return if name.is_empty() || name.contains(':') {
            Err(Fault::new(
                "a socket that systemd passes has a name",
                "as its `FileDescriptorName=`: `systemd:onedoor`",
            ))
        } else {
            Ok(Listen::Passed(name.to_owned()))
        };
    }
    parse_address(text).map(Listen::Tcp)
}

/// Reads `host:port` or `[v6]:port`; port 0 takes any that is free.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let fault = |remedy: String| Fault::new(format!("`{text}` is not an address to listen on"), remedy);
    let either = |port: &str| fault(format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for every network"));
    let bare = text.strip_prefix("*:").or(text.strip_prefix(':')).unwrap_or(text);
    if bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(either(if bare.is_empty() { "3000" } else { bare }));
    }
    if let Some((_, address)) = text.split_once("://") {
        return Err(fault(format!("leave the scheme out: \"{}\"", address.trim_end_matches('/'))));
    }
    if text.starts_with("unix:") || text.starts_with("systemd:") {
        return Err(fault("a host and a port, such as \"127.0.0.1:3000\"".to_owned()));
    }
    let (host, port) = split_port(text)?;
    let port = port.ok_or_else(|| fault(format!("it needs a port: \"{host}:3000\"")))?;
    let host = parse_host(host)?;
    let lookup = (host.as_str(), port).to_socket_addrs();
    let mut addresses: Vec<_> = lookup.map_err(|_| unknown_host(&host))?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| unknown_host(&host))
}

fn unknown_host(host: &str) -> Fault {
    Fault::new(format!("the host name `{host}` cannot be looked up"), "name an address of this machine")
}

fn parse_public_url(text: &str) -> Result<PublicUrl, Fault> {
    Origin::parse(text).map(|Origin { https, host, port }| PublicUrl { https, host, port })
}

pub(super) fn parse_network(text: &str) -> Result<IpNet, Fault> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc()).ok_or_else(|| {
        Fault::new(format!("`{text}` is not a network"), "write a network such as \"10.0.0.0/8\", or an address")
    })
}
