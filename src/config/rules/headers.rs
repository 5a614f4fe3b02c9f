//! `set_request_headers` and `set_response_headers`.

use crate::config::{diagnostic::Fault, identity::Identity, section::Section};
use http::{HeaderName, HeaderValue};

/// Fields that a message's framing or way depends on.
const FRAMING: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What upstreams believe about a caller, and what clients believe about a session.
const IDENTITY: [&str; 7] = ["cookie", "forwarded", "proxy", "set-cookie", "traceparent", "x-real-ip", "x-request-id"];
const IDENTITY_PREFIXES: [&str; 5] = ["remote-", "session-", "x-auth-request-", "x-forwarded-", "x-onedoor-"];

/// Fields that are set, or removed where there is no value.
pub type Edits = Vec<(HeaderName, Option<HeaderValue>)>;

pub(super) fn read(section: &mut Section<'_>, key: &'static str, identity: &Identity) -> Edits {
    let reader = section.reader;
    let mut edits = Edits::new();
    for (name, value) in section.table(key).everything() {
        let parsed = reader.noted(&name.span(), parse_name(name.get_ref(), identity));
        let text = reader.text(name.get_ref(), value);
        let value = text.and_then(|text| reader.parse(&text, parse_value));
        let (Some(parsed), Some(value)) = (parsed, value) else { continue };
        if edits.iter().any(|(known, _)| *known == parsed) {
            reader.error(name.span(), format!("`{parsed}` is set twice"), "leave one out");
        }
        edits.push((parsed, value));
    }
    edits
}

pub(in crate::config) fn parse_name(text: &str, identity: &Identity) -> Result<HeaderName, Fault> {
    let name = HeaderName::try_from(text)
        .map_err(|_| Fault::new(format!("`{text}` is not a header's name"), "letters, digits and `-`"))?;
    // As upstreams fold them.
    let folded = name.as_str().replace(['_', '.'], "-");
    if FRAMING.contains(&folded.as_str()) {
        let remedy =
            "leave it out: the gateway frames messages itself, and `host` of the upstream says which Host is sent";
        return Err(Fault::new(format!("`{text}` belongs to the message itself"), remedy));
    }
    let configured = identity.headers.iter().map(|(name, _)| name.as_str());
    let mut configured = configured.chain(identity.session_header.iter().map(|header| header.name.as_str()));
    let is_identity = IDENTITY.contains(&folded.as_str())
        || IDENTITY_PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
        || configured.any(|name| name.replace(['_', '.'], "-") == folded);
    if is_identity {
        let remedy = "leave it out: what says who is calling comes from the session alone";
        return Err(Fault::new(format!("`{text}` says who is calling, or from where"), remedy));
    }
    Ok(name)
}

fn parse_value(text: &str) -> Result<Option<HeaderValue>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let value = HeaderValue::from_str(text);
    value.map(Some).map_err(|_| Fault::new("this is not a header's value", "visible characters, spaces and tabs"))
}
