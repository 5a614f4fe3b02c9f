//! Trailers: fields behind a body. They pass by name, where the configuration names them, and for gRPC, which ends with them.

use super::folded::Names;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::{Arc, LazyLock};

/// What has no place behind a body, or speaks of identity: framing, routing, what a response is and where it leads
/// (RFC 9110 section 6.5.1).
static NEVER: LazyLock<Names> = LazyLock::new(|| {
    let whole = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "warning",
        "www-authenticate",
        "x-real-ip",
        "x-request-id",
    ];
    let prefixes = [
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "remote-",
        "session-",
        "x-auth-request-",
        "x-forwarded-",
        "x-onedoor-",
    ];
    Names::new(whole, prefixes)
});

/// Which trailers pass.
#[derive(Debug, Clone)]
pub enum Trailers {
    /// These.
    Named(Arc<[HeaderName]>),
    /// Those of a gRPC answer: all that may be trailers at all.
    Grpc,
}

impl Trailers {
    /// What of `trailers` passes; `None` if nothing does.
    pub fn pass(&self, mut trailers: HeaderMap) -> Option<HeaderMap> {
        let strangers: Vec<HeaderName> = trailers.keys().filter(|name| !self.has(name)).cloned().collect();
        for name in strangers {
            trailers.remove(name);
        }
        (!trailers.is_empty()).then_some(trailers)
    }

    /// The names in a `Trailer` field that pass, as such a field.
    pub fn announced(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let lines = headers.get_all(http::header::TRAILER);
        let names = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let names = names.filter_map(|name| HeaderName::from_bytes(name).ok()).filter(|name| self.has(name));
        let names: Vec<String> = names.map(|name| name.to_string()).collect();
        HeaderValue::try_from(names.join(", ")).ok().filter(|line| !line.is_empty())
    }

    fn has(&self, name: &HeaderName) -> bool {
        match self {
            Self::Named(names) => names.contains(name),
            Self::Grpc => !NEVER.contains(name),
        }
    }
}

/// Whether a message of this type is one of gRPC.
pub fn is_grpc(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn only_what_is_named_passes() {
        let named = Trailers::Named(Arc::from([HeaderName::from_static("server-timing")]));
        let left = named.pass(map(&[("server-timing", "a"), ("server_timing", "b"), ("x", "c")]));
        assert_eq!(left, Some(map(&[("server-timing", "a")])));
        assert_eq!(named.pass(map(&[("x", "c")])), None);
        let line = named.announced(&map(&[("trailer", "X, Server-Timing ,")]));
        assert_eq!(line, Some(HeaderValue::from_static("server-timing")));
        assert_eq!(named.announced(&map(&[("trailer", "x")])), None);
    }

    #[test]
    fn grpc_keeps_its_own_and_loses_what_is_none_of_its_business() {
        let own = [("grpc-status", "5"), ("grpc-message", "no"), ("grpc-status-details-bin", "x"), ("my-own-bin", "y")];
        let foreign = [
            ("x-forwarded-user", "root"),
            ("x_forwarded_user", "root"),
            ("remote.user", "root"),
            ("x-onedoor-session", "a"),
            ("session-login", "{}"),
            ("set-cookie", "a=b"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("location", "/"),
        ];
        let all = map(&[&own[..], &foreign].concat());
        assert_eq!(Trailers::Grpc.pass(all), Some(map(&own)));
    }
}
