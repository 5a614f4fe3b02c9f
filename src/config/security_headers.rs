//! `[security_headers]`, and the rules' own.

use super::{
    diagnostic::Fault,
    keys::{Key, Shape, Table},
    reader::{Reader, Value},
    section::Section,
};
use http::{HeaderName, HeaderValue};
use toml::de::{DeTable, DeValue};

/// The keys of `[security_headers]` beside the headers themselves.
pub(super) static TABLE: Table = Table {
    name: "[security_headers]",
    keys: &[Key { name: "enabled", shape: Shape::Flag(true), meaning: "`false`: none is added anywhere." }],
};

/// Names that the gateway's framing, sessions or answers depend on.
const TAKEN: [&str; 14] = [
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "location",
    "proxy-status",
    "retry-after",
    "set-cookie",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
];

/// What is written about security headers in one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SecurityHeaders {
    /// Nothing: as everywhere else.
    #[default]
    Inherited,
    /// None is added.
    Off,
    /// These beside those of everywhere else; an empty value takes one away.
    Also(Vec<(HeaderName, Option<HeaderValue>)>),
}

/// Reads `[security_headers]`.
pub(super) fn read(section: &Section<'_>) -> SecurityHeaders {
    let headers = section.everything().into_iter().filter(|(key, _)| key.get_ref() != "enabled");
    let headers = headers.filter_map(|(key, value)| read_header(section.reader, key.get_ref(), key.span(), value));
    let headers = headers.collect();
    let enabled = section.everything().into_iter().find(|(key, _)| key.get_ref() == "enabled");
    match enabled.map(|(_, value)| (value, value.get_ref().as_bool())) {
        Some((_, Some(false))) => SecurityHeaders::Off,
        Some((value, None)) => {
            section.reader.wrong_type("enabled", value, "true or false", "write true or false, without quotes");
            SecurityHeaders::Off
        }
        _ if section.exists() => SecurityHeaders::Also(headers),
        _ => SecurityHeaders::Inherited,
    }
}

/// Reads a rule's `security_headers`: true, false, or a table.
pub(super) fn read_of_rule(section: &mut Section<'_>) -> SecurityHeaders {
    let Some(value) = section.take("security_headers") else { return SecurityHeaders::Inherited };
    match value.get_ref() {
        DeValue::Boolean(true) => SecurityHeaders::Inherited,
        DeValue::Boolean(false) => SecurityHeaders::Off,
        DeValue::Table(entries) => SecurityHeaders::Also(read_table(section.reader, entries)),
        _ => {
            let remedy = "such as `security_headers = { X-Frame-Options = \"DENY\" }`";
            section.reader.wrong_type("security_headers", value, "true, false or a table", remedy);
            SecurityHeaders::Inherited
        }
    }
}

fn read_table(reader: &Reader<'_>, entries: &DeTable<'_>) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let headers = entries.iter().filter_map(|(key, value)| read_header(reader, key.get_ref(), key.span(), value));
    headers.collect()
}

fn read_header(
    reader: &Reader<'_>,
    name: &str,
    span: super::Span,
    value: &Value<'_>,
) -> Option<(HeaderName, Option<HeaderValue>)> {
    let header = reader.noted(&span, parse_name(name));
    let text = reader.text(name, value)?;
    let value = reader.parse(&text, |text| match text {
        "" => Ok(None),
        _ => HeaderValue::from_str(text)
            .map(Some)
            .map_err(|_| Fault::new(format!("`{name}` holds what no header can carry"), "visible ASCII characters")),
    })?;
    Some((header?, value))
}

fn parse_name(text: &str) -> Result<HeaderName, Fault> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Fault::new(format!("`{text}` is not a header name"), "such as `Content-Security-Policy`"))?;
    if TAKEN.contains(&name.as_str()) || name.as_str().starts_with("session-") {
        let message = format!("the header `{text}` already means something else");
        return Err(Fault::new(message, "leave it to the services"));
    }
    Ok(name)
}
