//! What it takes to send a request again: its head as text, which is cheaper to write than a map is to copy.

use crate::http::body::RequestBody;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// A request that may run twice without harm (RFC 9110 section 9.2.2) and has no body.
pub(super) struct Replay {
    method: Method,
    target: Uri,
    /// Lines of `name:value`; neither holds a line end, a name no colon.
    fields: Vec<u8>,
}

impl Replay {
    /// Notes `request`, if it is one that may be sent again.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Self> {
        if request.body().progress().is_some() || !request.method().is_idempotent() {
            return None;
        }
        let mut fields = Vec::with_capacity(1024);
        for (name, value) in request.headers() {
            fields.extend_from_slice(name.as_str().as_bytes());
            fields.push(b':');
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        }
        Some(Self { method: request.method().clone(), target: request.uri().clone(), fields })
    }

    /// The request anew.
    pub(super) fn into_request(self) -> Request<RequestBody> {
        let field = |line: &[u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.fields.split(|byte| *byte == b'\n').filter_map(field) {
            headers.append(name, value);
        }
        let mut request = Request::new(RequestBody::none());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_as_it_was() {
        let request = || {
            let request = Request::builder().method("PUT").uri("/a?b:c").version(Version::HTTP_11);
            let request = request.header("cookie", "a=1").header("accept", "x").header("accept", "y: z");
            request.header("x-bytes", HeaderValue::from_bytes(b"\xff\t:").unwrap()).header("x-empty", "")
        };
        let request = request().body(RequestBody::none()).unwrap();
        let again = Replay::of(&request).unwrap().into_request();
        assert_eq!(again.headers(), request.headers());
        assert_eq!(
            (again.method(), again.uri(), again.version()),
            (request.method(), request.uri(), request.version())
        );
    }

    #[test]
    fn what_may_have_run_is_not_sent_again() {
        let request = Request::post("/").body(RequestBody::none()).unwrap();
        assert!(Replay::of(&request).is_none());
    }
}
