//! `[identity]`.

use super::{
    diagnostic::Fault,
    keys::{Key, Shape, Table, similar},
    path::RecordPath,
    section::Section,
};
use http::HeaderName;
use toml::Spanned;

/// The keys of `[identity]`.
pub(super) static TABLE: Table = Table {
    name: "[identity]",
    keys: &[
        Key {
            name: "headers",
            shape: Shape::Names,
            meaning: "Header = path in the record, `@user`, `@roles` or `@session`. By default X-Forwarded-User = \
                      `@user` and X-Forwarded-Groups = `@roles`.",
        },
        Key {
            name: "session_header",
            shape: Shape::Text(None),
            meaning: "A header that carries the whole record as base64url JSON, without the framework's own members.",
        },
        Key {
            name: "session_header_max",
            shape: Shape::Size { default: "4KiB", from: 64, to: 64 * 1024 },
            meaning: "The longest value of `session_header`; a longer one is sent as `!too-large`.",
        },
    ],
};

/// Names that mean something else to the upstream or to the gateway.
const TAKEN: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-onedoor-session",
    "x-request-id",
];

/// `[identity]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// `headers`, in the order written; by default `X-Forwarded-User` and `X-Forwarded-Groups`.
    pub headers: Vec<(HeaderName, Value)>,
    /// `session_header`
    pub session_header: Option<SessionHeader>,
}

/// `session_header` and `session_header_max`: the header that carries the whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHeader {
    /// Its name.
    pub name: HeaderName,
    /// The longest value, in bytes.
    pub bytes_max: u64,
}

impl Identity {
    /// The paths in the record that upstreams see something of; `None` = they see it whole.
    pub fn record_paths<'a>(&'a self) -> Option<impl Iterator<Item = &'a RecordPath>> {
        let path = |(_, value): &'a (HeaderName, Value)| match value {
            Value::Record(path) => Some(path),
            _ => None,
        };
        self.session_header.is_none().then(|| self.headers.iter().filter_map(path))
    }
}

/// What a header of `[identity.headers]` carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `@user`
    User,
    /// `@roles`
    Roles,
    /// `@session`: the session's name.
    Session,
    /// A path in the record.
    Record(RecordPath),
}

/// Reads `[identity]`.
pub(super) fn read(mut section: Section<'_>) -> Identity {
    let headers = if section.has("headers") { read_headers(&mut section) } else { default_headers() };
    section.take("headers");
    let session_header = read_session_header(&mut section, &headers);
    section.finish();
    Identity { headers, session_header }
}

/// What upstreams learn if nothing else is said.
fn default_headers() -> Vec<(HeaderName, Value)> {
    let user = (HeaderName::from_static("x-forwarded-user"), Value::User);
    vec![user, (HeaderName::from_static("x-forwarded-groups"), Value::Roles)]
}

fn read_headers(section: &mut Section<'_>) -> Vec<(HeaderName, Value)> {
    let reader = section.reader;
    let mut headers: Vec<(HeaderName, Value)> = Vec::new();
    for (key, value) in section.table("headers").everything() {
        let name = reader.noted(&key.span(), parse_name(key.get_ref()));
        let text = reader.text(key.get_ref(), value);
        let parsed = text.and_then(|text| reader.parse(&text, parse_value));
        let Some(name) = name else { continue };
        if let Some((same, _)) = headers.iter().find(|(known, _)| folded(known.as_str()) == folded(name.as_str())) {
            let message = format!("`{}` and `{same}` are one header in two spellings", Spanned::get_ref(key));
            reader.error(key.span(), message, "keep one of them");
        }
        headers.push((name, parsed.unwrap_or(Value::User)));
    }
    headers
}

fn read_session_header(section: &mut Section<'_>, headers: &[(HeaderName, Value)]) -> Option<SessionHeader> {
    let name = section.parsed("session_header", parse_name);
    let bytes_max = section.size("session_header_max");
    if !section.has("session_header") && section.has("session_header_max") {
        let remedy = "name the header with `session_header`, or leave it out";
        section.reader.error(section.span_of("session_header_max"), "`session_header_max` limits no header", remedy);
    }
    let name = name?;
    if headers.iter().any(|(known, _)| folded(known.as_str()) == folded(name.as_str())) {
        let message = format!("`{name}` stands in [identity.headers], too");
        section.reader.error(section.span_of("session_header"), message, "keep one of them");
    }
    Some(SessionHeader { name, bytes_max })
}

/// Upstreams that see headers as variables cannot tell `-`, `_` and `.` apart.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// A header that is free to carry identity.
fn parse_name(text: &str) -> Result<HeaderName, Fault> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Fault::new(format!("`{text}` is not a header name"), "letters, digits and `-`, such as `X-User-Email`")
    })?;
    let folded = folded(text);
    if TAKEN.contains(&folded.as_str()) || folded.starts_with("sec-") {
        let remedy = "choose a name of your own, such as `X-User-Email`";
        return Err(Fault::new(format!("the header `{text}` already means something else"), remedy));
    }
    Ok(name)
}

fn parse_value(text: &str) -> Result<Value, Fault> {
    match text {
        "@user" => Ok(Value::User),
        "@roles" => Ok(Value::Roles),
        "@session" => Ok(Value::Session),
        _ if text.starts_with('@') => {
            let remedy = match similar(text, ["@user", "@roles", "@session"].into_iter()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => "\"@user\", \"@roles\", \"@session\", or a path in the record".to_owned(),
            };
            Err(Fault::new(format!("`{text}` is not known"), remedy))
        }
        _ => RecordPath::parse(text).map(Value::Record),
    }
}
