//! What it takes to send a request again that is given away when it is sent: its head as text, which is cheaper to write
//! than a map is to copy.

use crate::http::body::{RequestBody, Rewind};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

/// A request as it was before it was sent.
pub(super) struct Replay {
    method: Method,
    target: Uri,
    /// Lines of `name:value`; neither holds a line end, a name no colon.
    fields: Vec<u8>,
    body: Option<Rewind>,
}

/// Whether a request may run twice without harm (RFC 9110 section 9.2.2) and has no body.
pub(super) fn may_run_twice(request: &Request<RequestBody>) -> bool {
    request.body().progress().is_none() && request.method().is_idempotent()
}

impl Replay {
    /// Notes `request`, if it may run twice without harm and has no body.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Self> {
        may_run_twice(request).then(|| Self::note(request, None))
    }

    /// Notes `request`, whatever it asks for. From now on the beginning of its body is kept.
    pub(super) fn of_any(request: &mut Request<RequestBody>) -> Self {
        let body = request.body_mut().rewind();
        Self::note(request, body)
    }

    fn note(request: &Request<RequestBody>, body: Option<Rewind>) -> Self {
        let mut fields = Vec::with_capacity(1024);
        for (name, value) in request.headers() {
            fields.extend_from_slice(name.as_str().as_bytes());
            fields.push(b':');
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        }
        Self { method: request.method().clone(), target: request.uri().clone(), fields, body }
    }

    /// The request anew, if it may run twice without harm and has no body.
    pub(super) fn twice(self) -> Option<Box<Request<RequestBody>>> {
        if self.body.is_none() && self.method.is_idempotent() { self.into_request() } else { None }
    }

    /// The request anew, unless more of its body is gone than was kept.
    pub(super) fn into_request(self) -> Option<Box<Request<RequestBody>>> {
        let field = |line: &[u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
        };
        let body = self.body.map_or_else(|| Some(RequestBody::none()), Rewind::again)?;
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        *request.version_mut() = Version::HTTP_11;
        for (name, value) in self.fields.split(|byte| *byte == b'\n').filter_map(field) {
            request.headers_mut().append(name, value);
        }
        Some(request)
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
        let again = Replay::of(&request).unwrap().twice().unwrap();
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
