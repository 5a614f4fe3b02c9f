//! `[upstreams]`.

use super::{
    Span,
    diagnostic::Fault,
    identity::Identity,
    keys::{quoted_list, similar},
    origin::{Origin, parse_host, split_port},
    reader::Reader,
    rules::header_name,
    section::Section,
    tls::{self, ClientTls},
};
use http::{HeaderName, HeaderValue, StatusCode, uri::PathAndQuery};
use rustls::pki_types::ServerName;
use std::{borrow::Cow, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use toml::de::DeValue;

mod keys;

pub(super) use keys::TABLE;

/// One upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name; for a rule's `dest` that is a URL, that URL.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// `host`
    pub host: Host,
    /// `connect_timeout`
    pub connect_timeout: Duration,
    /// `response_timeout`: until the response's head.
    pub response_timeout: Duration,
    /// `idle_timeout`: of a silent body.
    pub idle_timeout: Duration,
    /// `tunnel_idle`: of a silent WebSocket, event stream or gRPC stream.
    pub tunnel_idle: Duration,
    /// `keepalive`: how long an unused connection is kept.
    pub keepalive: Duration,
    /// `connections` per endpoint, over all workers.
    pub connections: usize,
    /// `resolve`: how often names are resolved again.
    pub resolve: Duration,
    /// `tls`
    pub tls: Option<Tls>,
    /// `balance`
    pub balance: Balance,
    /// `retries`
    pub retries: usize,
    /// `retry_on`
    pub retry_on: Vec<StatusCode>,
    /// `health`
    pub health: Option<Health>,
    /// `eject`
    pub eject: Eject,
    /// `trailers`: which pass, both ways.
    pub trailers: Arc<[HeaderName]>,
    /// `session_authority`
    pub session_authority: bool,
    /// Where it stands.
    pub span: Span,
}

/// One endpoint of an upstream. A URL with a path, query or user is refused when the file is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `https` rather than `http`.
    pub https: bool,
    /// `h2c`: HTTP/2 without TLS, known beforehand.
    pub h2c: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port, written or the scheme's own.
    pub port: u16,
    /// `unix:`: the socket's file; the host is `localhost` then.
    pub socket: Option<PathBuf>,
}

impl Endpoint {
    /// Whether its host is a name whose addresses may change. `localhost` is this machine whatever anybody says
    /// (RFC 6761 section 6.3), and often listens on one of its two addresses only.
    pub fn is_resolved(&self) -> bool {
        let is_local = self.host == "localhost" || self.host.ends_with(".localhost");
        self.socket.is_none() && !is_local && self.host.parse::<IpAddr>().is_err()
    }

    /// Host and port as a Host field carries them: without the scheme's own port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own_port = if self.https { 443 } else { 80 };
        if self.port == own_port { host } else { format!("{host}:{}", self.port) }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(socket) = &self.socket {
            return write!(f, "unix:{}", socket.display());
        }
        let scheme = match self {
            Self { https: true, .. } => "https",
            Self { h2c: true, .. } => "h2c",
            _ => "http",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// `host`: the Host that the upstream sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `"auto"`: the client's over http, the endpoint's over https.
    Auto,
    /// `"client"`
    Client,
    /// `"upstream"`
    Upstream,
    /// A literal.
    Literal(HeaderValue),
}

/// `tls`: how https endpoints are spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// `ca`, `cert` and `key`
    pub client: ClientTls,
    /// `server_name`
    pub server_name: Option<ServerName<'static>>,
}

/// `balance`: which endpoint is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Of two at random the one with fewer requests.
    LeastRequests,
    /// One after the other.
    RoundRobin,
    /// The same for what is the same.
    Hash(HashBy),
}

/// What stays on one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashBy {
    /// A user, without one a session, without one an address.
    User,
    /// A client's address.
    Ip,
    /// The value of this field.
    Header(HeaderName),
}

/// `health`: what is asked, how often, and what counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// `path`
    pub path: PathAndQuery,
    /// `interval`
    pub interval: Duration,
    /// `timeout`
    pub timeout: Duration,
    /// `unhealthy_after`
    pub unhealthy_after: i32,
    /// `healthy_after`
    pub healthy_after: i32,
}

/// `eject`: how many errors in a row take an endpoint out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eject {
    /// `errors`; 0 is never.
    pub errors: u32,
    /// `for`
    pub duration: Duration,
}

/// Reads `[upstreams]`, in the order written. One with faults is there too, so that rules may name it.
pub(super) fn read(section: &Section<'_>, identity: &Identity, watched: &mut Vec<PathBuf>) -> Vec<Upstream> {
    section
        .everything()
        .into_iter()
        .map(|(key, value)| {
            let name = key.get_ref().as_ref();
            section.reader.noted(&key.span(), check_name(name));
            let (entries, short) = match value.get_ref() {
                DeValue::Table(entries) => (Some(entries), None),
                _ => (None, Some(section.reader.texts(name, value))),
            };
            let table = Section::new(section.reader, &TABLE, entries, key.span());
            let mut upstream = read_table(table, name, short.is_none(), identity, watched);
            for text in short.into_iter().flatten() {
                upstream.endpoints.extend(section.reader.parse(&text, parse_endpoint));
            }
            warn_of_repeated(section.reader, &upstream);
            upstream
        })
        .collect()
}

/// The upstream of a rule whose `dest` is this URL: its only endpoint, everything else by default.
pub(super) fn anonymous(reader: &Reader<'_>, url: &str, identity: &Identity, span: Span) -> Upstream {
    let table = Section::new(reader, &TABLE, None, span.clone());
    let mut upstream = read_table(table, url, false, identity, &mut Vec::new());
    upstream.endpoints.extend(reader.noted(&span, parse_endpoint(url)));
    upstream
}

fn read_table(
    mut section: Section<'_>,
    name: &str,
    is_table: bool,
    identity: &Identity,
    watched: &mut Vec<PathBuf>,
) -> Upstream {
    if is_table {
        section.require("endpoints", "name the URLs of the service: `endpoints = [\"http://127.0.0.1:8080\"]`");
    }
    let upstream = Upstream {
        name: name.to_owned(),
        endpoints: section.parsed_list("endpoints", parse_endpoint),
        host: read_host(&mut section),
        connect_timeout: section.duration("connect_timeout"),
        response_timeout: section.duration("response_timeout"),
        idle_timeout: section.duration("idle_timeout"),
        tunnel_idle: section.duration("tunnel_idle"),
        keepalive: section.duration("keepalive"),
        connections: section.count("connections").unwrap_or_default(),
        resolve: section.duration("resolve"),
        tls: read_tls(section.table("tls"), watched),
        balance: section.parsed("balance", parse_balance).unwrap_or(Balance::LeastRequests),
        retries: section.count("retries").unwrap_or_default(),
        retry_on: section.statuses("retry_on"),
        health: read_health(section.table("health")),
        eject: read_eject(section.table("eject")),
        trailers: section.parsed_list("trailers", |text| header_name(text, identity)).into(),
        session_authority: section.flag("session_authority"),
        span: section.span.clone(),
    };
    if upstream.retries == 0 && !upstream.retry_on.is_empty() {
        let message = "`retry_on` means nothing with `retries = 0`";
        section.reader.error(section.span_of("retry_on"), message, "leave one of them out");
    }
    if upstream.tls.is_some() && !upstream.endpoints.iter().any(|endpoint| endpoint.https) {
        let message = "`tls` means nothing without an https endpoint";
        section.reader.error(section.span_of("tls"), message, "begin the URLs with `https://`, or leave it out");
    }
    section.finish();
    upstream
}

fn read_tls(mut section: Section<'_>, watched: &mut Vec<PathBuf>) -> Option<Tls> {
    if !section.exists() {
        return None;
    }
    let server_name = section.parsed("server_name", |text| {
        let fault = || Fault::new(format!("`{text}` is not a server's name"), "such as \"app.internal\"");
        ServerName::try_from(text.to_owned()).map_err(|_| fault())
    });
    let client = tls::read(&mut section, watched);
    section.finish();
    Some(Tls { client: client?, server_name })
}

fn read_health(mut section: Section<'_>) -> Option<Health> {
    if !section.exists() {
        return None;
    }
    section.require("path", "such as `health = { path = \"/healthz\" }`");
    let path = section.parsed("path", parse_path);
    let times = |count: Option<usize>| count.and_then(|count| i32::try_from(count).ok()).unwrap_or(1);
    let health = Health {
        path: path.unwrap_or(PathAndQuery::from_static("/")),
        interval: section.duration("interval"),
        timeout: section.duration("timeout"),
        unhealthy_after: times(section.count("unhealthy_after")),
        healthy_after: times(section.count("healthy_after")),
    };
    section.finish();
    Some(health)
}

fn read_eject(mut section: Section<'_>) -> Eject {
    let errors = section.count("errors").and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    let eject = Eject { errors, duration: section.duration("for") };
    section.finish();
    eject
}

fn parse_path(text: &str) -> Result<PathAndQuery, Fault> {
    let path = PathAndQuery::try_from(text).ok().filter(|_| text.starts_with('/'));
    path.ok_or_else(|| Fault::new(format!("`{text}` is not a path"), "such as \"/healthz\""))
}

fn parse_balance(text: &str) -> Result<Balance, Fault> {
    let words = ["least_requests", "round_robin", "hash:user", "hash:ip"];
    let known = match text {
        "least_requests" => Balance::LeastRequests,
        "round_robin" => Balance::RoundRobin,
        "hash:user" => Balance::Hash(HashBy::User),
        "hash:ip" => Balance::Hash(HashBy::Ip),
        _ => {
            let name = text.strip_prefix("hash:header:").and_then(|name| HeaderName::try_from(name).ok());
            return name.map(|name| Balance::Hash(HashBy::Header(name))).ok_or_else(|| {
                let list = format!("one of {}, `hash:header:NAME`", quoted_list(words.into_iter()));
                let remedy = match similar(text, words.into_iter()) {
                    Some(word) => format!("did you mean \"{word}\"? It is {list}"),
                    None => list,
                };
                Fault::new(format!("`balance` cannot be `{text}`"), remedy)
            });
        }
    };
    Ok(known)
}

fn read_host(section: &mut Section<'_>) -> Host {
    let Some(text) = section.text("host") else { return Host::Auto };
    match text.text.as_str() {
        "auto" => return Host::Auto,
        "client" => return Host::Client,
        "upstream" => return Host::Upstream,
        _ => {}
    }
    if let Some(word) =
        similar(&text.text, ["auto", "client", "upstream"].into_iter()).filter(|_| !text.text.contains('.'))
    {
        let message = format!("`{}` is sent as the Host as it stands", text.text);
        section.reader.warning(text.span.clone(), message, format!("did you mean \"{word}\"?"));
    }
    section.reader.parse(&text, parse_host_header).map_or(Host::Auto, Host::Literal)
}

fn parse_host_header(text: &str) -> Result<HeaderValue, Fault> {
    let (host, _) = split_port(text)?;
    parse_host(host)?;
    HeaderValue::from_str(text).map_err(|_| Fault::new("this is not a Host", "such as \"app.example.com\""))
}

fn parse_endpoint(text: &str) -> Result<Endpoint, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') {
            return Err(Fault::new("the socket's path is not absolute", "such as \"unix:/run/app.sock\""));
        }
        let socket = Some(PathBuf::from(path));
        return Ok(Endpoint { https: false, h2c: false, host: "localhost".to_owned(), port: 80, socket });
    }
    // But for the protocol it is a URL of http.
    let behind_h2c = text.get(..6).filter(|scheme| scheme.eq_ignore_ascii_case("h2c://")).map(|_| &text[6..]);
    let url = behind_h2c.map_or(Cow::Borrowed(text), |rest| Cow::Owned(format!("http://{rest}")));
    let fault = |fault| missing_scheme(text).or_else(|| unknown_scheme(text)).unwrap_or(fault);
    let origin = Origin::parse(&url).map_err(fault)?;
    let host = origin.host.trim_matches(['[', ']']).to_owned();
    Ok(Endpoint { https: origin.https, h2c: behind_h2c.is_some(), host, port: origin.port, socket: None })
}

fn missing_scheme(text: &str) -> Option<Fault> {
    let whole = format!("http://{text}");
    let fault = || Fault::new(format!("`{text}` is not a URL"), format!("did you mean \"{whole}\"?"));
    (!text.contains("://") && Origin::parse(&whole).is_ok()).then(fault)
}

fn unknown_scheme(text: &str) -> Option<Fault> {
    let (scheme, _) = text.split_once("://")?;
    let is_known = ["http", "https"].into_iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let remedy = "`http://`, `https://` (HTTP/2 where the service offers it), `h2c://` or `unix:/path`";
    (!is_known).then(|| Fault::new(format!("`{scheme}` is no scheme of an endpoint"), remedy))
}

fn check_name(name: &str) -> Result<(), Fault> {
    let sane = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if name.is_empty() || !sane {
        return Err(Fault::new(format!("`{name}` is not a name for an upstream"), "letters, digits, `-`, `_` and `.`"));
    }
    Ok(())
}

fn warn_of_repeated(reader: &Reader<'_>, upstream: &Upstream) {
    let endpoints = &upstream.endpoints;
    if endpoints.iter().enumerate().any(|(index, endpoint)| endpoints[..index].contains(endpoint)) {
        reader.warning(upstream.span.clone(), format!("`{}` names an endpoint twice", upstream.name), "leave one out");
    }
}
