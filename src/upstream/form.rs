//! What a request looks like in each version of HTTP: its host, and how its body ends.

use crate::http::body::RequestBody;
use http::{
    HeaderValue, Request, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
    uri::{Authority, Parts, PathAndQuery, Scheme},
};
use http_body::Body;

/// Gives a request HTTP/1.1's form: framed by its length or in chunks.
pub(super) fn to_http1(request: &mut Request<RequestBody>) {
    if request.body().progress().is_some() {
        if request.body().size_hint().exact().is_none() {
            // hyper would drop the body of a GET whose framing is not named.
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    } else if request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str());
        let target = request.uri().path_and_query().cloned();
        request.headers_mut().insert(HOST, host.unwrap_or(HeaderValue::from_static("")));
        *request.uri_mut() = target.unwrap_or(PathAndQuery::from_static("/")).into();
    }
    *request.version_mut() = Version::HTTP_11;
}

/// Gives a request in HTTP/1.1's form that of HTTP/2 (RFC 9113 section 8.3.1): frames end its body, and the host is its
/// `:authority`, or without one the endpoint's own name.
pub(super) fn to_http2(request: &mut Request<RequestBody>, scheme: &Scheme, own: &Authority) {
    let host = request.headers_mut().remove(HOST);
    request.headers_mut().remove(TRANSFER_ENCODING);
    request.headers_mut().remove(CONNECTION);
    let mut parts = Parts::default();
    parts.path_and_query = request.uri().path_and_query().cloned();
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    parts.authority = Some(host.unwrap_or_else(|| own.clone()));
    parts.scheme = Some(scheme.clone());
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn request(fields: &[(&'static str, &'static str)]) -> Request<RequestBody> {
        let mut request = Request::post("/a?b=//c").version(Version::HTTP_11);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(RequestBody::none()).expect("the test's request is valid")
    }

    #[test]
    fn what_became_http2_becomes_http1_again() {
        let fields = [("host", "site.test:81"), ("cookie", "a=1"), ("content-length", "0")];
        let mut changed = request(&fields);
        let own = Authority::from_static("own.test");
        to_http2(&mut changed, &Scheme::HTTP, &own);
        assert_eq!(
            (changed.uri().to_string().as_str(), changed.version()),
            ("http://site.test:81/a?b=//c", Version::HTTP_2)
        );
        assert!(!changed.headers().contains_key(HOST));
        to_http1(&mut changed);
        assert_eq!(changed.uri(), "/a?b=//c");
        let sorted = |headers: &HeaderMap| {
            let mut lines: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(changed.headers()), sorted(request(&fields).headers()));

        let mut nobody = request(&[("host", "")]);
        to_http2(&mut nobody, &Scheme::HTTPS, &own);
        assert_eq!(nobody.uri(), "https://own.test/a?b=//c");
    }
}
