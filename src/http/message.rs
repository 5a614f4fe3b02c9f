//! The message policy: what is refused before anything else looks at a request.

use super::Head;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

/// The sizes that a request's head may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all header lines together, line ends included.
    pub header_bytes: usize,
    /// Number of header lines.
    pub headers: usize,
    /// Bytes of the request target.
    pub uri_bytes: usize,
}

/// Why a request is refused whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFault {
    /// 405: CONNECT and TRACE.
    MethodNotAllowed,
    /// 400: framing or fields that two servers may read differently.
    BadRequest(&'static str),
    /// 417: an `Expect` other than `100-continue`.
    ExpectationFailed,
    /// 414: the target is longer than [`Limits::uri_bytes`].
    UriTooLong,
    /// 431: more header lines or bytes than [`Limits`] allow.
    HeadersTooLarge,
}

/// Fields that RFC 9110, RFC 6455 or the Fetch standard define to occur once; where they occur twice servers choose differently.
const SINGLETONS: [HeaderName; 21] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::ORIGIN,
    header::REFERER,
    header::USER_AGENT,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::MAX_FORWARDS,
    header::FROM,
    header::ACCESS_CONTROL_REQUEST_METHOD,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-user"),
];

/// Refuses what the gateway will not read in any way. Methods are case-sensitive tokens (RFC 9110 section 9.1):
/// unknown ones pass as they are.
pub fn vet(head: &Head, limits: &Limits) -> Result<(), MessageFault> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(MessageFault::MethodNotAllowed);
    }
    let of_http2 = head.version == Version::HTTP_2;
    if target_bytes(&head.uri, of_http2) > limits.uri_bytes {
        return Err(MessageFault::UriTooLong);
    }
    if head.headers.len() > limits.headers {
        return Err(MessageFault::HeadersTooLarge);
    }

    let repeats = head.headers.keys_len() != head.headers.len();
    let (mut bytes, mut previous, mut coded, mut sized) = (0, None, false, false);
    for (name, value) in &head.headers {
        bytes += name.as_str().len() + value.len() + ": \r\n".len();
        // All values of a name come one after the other.
        let repeated = repeats && previous.replace(name) == Some(name);
        vet_field(name, value, repeated)?;
        coded |= *name == header::TRANSFER_ENCODING;
        sized |= *name == header::CONTENT_LENGTH;
        // HTTP/1.1 trims what surrounds a value, so an upstream would read another one (RFC 9113 section 8.2.1).
        if of_http2 && is_padded(value.as_bytes()) {
            return Err(MessageFault::BadRequest("a value that begins or ends with white space"));
        }
        // The one byte that the HTTP library lets through and that no name has (RFC 9110 section 5.6.2).
        if of_http2 && name.as_str().contains('"') {
            return Err(MessageFault::BadRequest("a name that holds a quotation mark"));
        }
    }
    if bytes > limits.header_bytes {
        return Err(MessageFault::HeadersTooLarge);
    }
    if coded && sized {
        return Err(MessageFault::BadRequest("both Content-Length and Transfer-Encoding"));
    }
    Ok(())
}

/// Sets fields, and removes those that have no value.
pub fn edit(headers: &mut HeaderMap, edits: &[(HeaderName, Option<HeaderValue>)]) {
    for (name, value) in edits {
        match value {
            Some(value) => _ = headers.insert(name.clone(), value.clone()),
            None => _ = headers.remove(name),
        }
    }
}

fn vet_field(name: &HeaderName, value: &HeaderValue, repeated: bool) -> Result<(), MessageFault> {
    match name.as_str() {
        "transfer-encoding" if repeated || !value.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Err(MessageFault::BadRequest("a Transfer-Encoding other than chunked"))
        }
        "content-length" if !is_canonical_number(value.as_bytes()) => {
            Err(MessageFault::BadRequest("a Content-Length that is not a plain number"))
        }
        "expect" if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err(MessageFault::ExpectationFailed),
        _ if repeated && SINGLETONS.contains(name) => {
            Err(MessageFault::BadRequest("a field that may occur once occurs twice"))
        }
        _ => Ok(()),
    }
}

/// Whether these are the digits of a whole number, without leading zeros.
pub fn is_canonical_number(digits: &[u8]) -> bool {
    match digits {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn is_padded(value: &[u8]) -> bool {
    let is_white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_white(value.first()) || is_white(value.last())
}

/// The length of the target as it was sent; HTTP/2 sends scheme and authority apart.
fn target_bytes(uri: &Uri, of_http2: bool) -> usize {
    let path = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if of_http2 {
        return path;
    }
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    scheme + authority + path
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { header_bytes: 200, headers: 5, uri_bytes: 30 };

    fn judge(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<(), MessageFault> {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("the test's request is valid").into_parts();
        vet(&head, &LIMITS)
    }

    fn is_bad_request(headers: &[(&str, &str)]) -> bool {
        matches!(judge("POST", "/", headers), Err(MessageFault::BadRequest(_)))
    }

    #[test]
    fn connect_and_trace_are_not_allowed_and_other_methods_pass() {
        assert_eq!(judge("CONNECT", "a:1", &[]), Err(MessageFault::MethodNotAllowed));
        assert_eq!(judge("TRACE", "/", &[]), Err(MessageFault::MethodNotAllowed));
        for method in ["GET", "get", "PURGE", "M-SEARCH", "OPTIONS", "connect"] {
            assert_eq!(judge(method, "/", &[]), Ok(()), "{method}");
        }
    }

    #[test]
    fn a_transfer_encoding_must_be_chunked_once() {
        assert_eq!(judge("POST", "/", &[("transfer-encoding", "chunked")]), Ok(()));
        for value in ["gzip, chunked", "identity", "chunked, chunked", ",chunked", "xchunked", "chunked;x=1", ""] {
            assert!(is_bad_request(&[("transfer-encoding", value)]), "{value:?}");
        }
        assert!(is_bad_request(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]));
        assert!(is_bad_request(&[("transfer-encoding", "chunked"), ("content-length", "5")]));
    }

    #[test]
    fn a_content_length_must_be_a_plain_number() {
        assert_eq!(judge("POST", "/", &[("content-length", "0")]), Ok(()));
        assert_eq!(judge("POST", "/", &[("content-length", "120")]), Ok(()));
        for value in ["", "00", "003", "+3", "-3", "3, 3", "0x3", "3 3", "3.0"] {
            assert!(is_bad_request(&[("content-length", value)]), "{value:?}");
        }
    }

    #[test]
    fn an_expectation_must_be_100_continue() {
        assert_eq!(judge("POST", "/", &[("expect", "100-Continue")]), Ok(()));
        for value in ["200-ok", "100-continue, x", ""] {
            assert_eq!(judge("POST", "/", &[("expect", value)]), Err(MessageFault::ExpectationFailed), "{value:?}");
        }
    }

    #[test]
    fn fields_that_may_occur_once_do() {
        for name in SINGLETONS {
            assert!(is_bad_request(&[(name.as_str(), "1"), ("accept", "a"), (name.as_str(), "1")]), "{name}");
        }
        assert_eq!(
            judge("GET", "/", &[("accept", "a"), ("accept", "b"), ("cookie", "a=1"), ("cookie", "b=2")]),
            Ok(())
        );
    }

    #[test]
    fn sizes_are_limited_to_the_byte() {
        let target = format!("/{}", "a".repeat(LIMITS.uri_bytes - 1));
        assert_eq!(judge("GET", &target, &[]), Ok(()));
        assert_eq!(judge("GET", &format!("{target}a"), &[]), Err(MessageFault::UriTooLong));
        let value = "v".repeat(LIMITS.header_bytes - "name: \r\n".len());
        assert_eq!(judge("GET", "/", &[("name", &value)]), Ok(()));
        assert_eq!(judge("GET", "/", &[("name", &format!("{value}v"))]), Err(MessageFault::HeadersTooLarge));
        assert_eq!(judge("GET", "/", &[("a", ""); 5]), Ok(()));
        assert_eq!(judge("GET", "/", &[("a", ""); 6]), Err(MessageFault::HeadersTooLarge));
    }
}
