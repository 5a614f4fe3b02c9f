//! `[upstreams]`.

use super::{
    Span,
    diagnostic::Fault,
    keys::{Key, Shape, Table, similar},
    origin::{Origin, parse_host, split_port},
    reader::Reader,
    section::Section,
};
use http::HeaderValue;
use std::time::Duration;
use toml::de::DeValue;

/// The keys of an upstream that is a table.
pub(super) static TABLE: Table = Table {
    name: "[upstreams.NAME]",
    keys: &[
        Key {
            name: "endpoints",
            shape: Shape::Texts(&[]),
            meaning: "URLs, `http://host:port` or `https://host:port`. Required.",
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
            name: "session_authority",
            shape: Shape::Flag(false),
            meaning: "May log users in and out, and change their sessions.",
        },
    ],
};

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
    /// `session_authority`
    pub session_authority: bool,
    /// Where it stands.
    pub span: Span,
}

/// One address of an upstream. A URL with a path, query or user is refused when the file is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `https` rather than `http`.
    pub https: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port, written or the scheme's own.
    pub port: u16,
}

impl Endpoint {
    /// Host and port as a Host field carries them: without the scheme's own port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own_port = if self.https { 443 } else { 80 };
        if self.port == own_port { host } else { format!("{host}:{}", self.port) }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
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

/// Reads `[upstreams]`, in the order written. One with faults is there too, so that rules may name it.
pub(super) fn read(section: &Section<'_>) -> Vec<Upstream> {
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
            let mut upstream = read_table(table, name, short.is_none());
            for text in short.into_iter().flatten() {
                upstream.endpoints.extend(section.reader.parse(&text, parse_endpoint));
            }
            warn_of_repeated(section.reader, &upstream);
            upstream
        })
        .collect()
}

/// The upstream of a rule whose `dest` is this URL: its only endpoint, everything else by default.
pub(super) fn anonymous(reader: &Reader<'_>, url: &str, span: Span) -> Upstream {
    let mut upstream = read_table(Section::new(reader, &TABLE, None, span.clone()), url, false);
    upstream.endpoints.extend(reader.noted(&span, parse_endpoint(url)));
    upstream
}

fn read_table(mut section: Section<'_>, name: &str, is_table: bool) -> Upstream {
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
        session_authority: section.flag("session_authority"),
        span: section.span.clone(),
    };
    section.finish();
    upstream
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
    if text.starts_with("unix:") {
        return Err(Fault::new("`unix:` upstreams are not supported yet", "use `http://` on a loopback port"));
    }
    let origin = Origin::parse(text).map_err(|fault| missing_scheme(text).unwrap_or(fault))?;
    let host = origin.host.trim_matches(['[', ']']).to_owned();
    Ok(Endpoint { https: origin.https, host, port: origin.port })
}

fn missing_scheme(text: &str) -> Option<Fault> {
    let whole = format!("http://{text}");
    let fault = || Fault::new(format!("`{text}` is not a URL"), format!("did you mean \"{whole}\"?"));
    (!text.contains("://") && Origin::parse(&whole).is_ok()).then(fault)
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
