//! Refusals as gRPC clients understand them: a status in trailers, since they look at no other.

use super::{body::Body, refusal::Face};
use crate::http::{Head, trailers};
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};

/// The content type of a gRPC call, if this is one.
pub(super) fn call(head: &Head) -> Option<HeaderValue> {
    let kind = (head.method == Method::POST).then(|| head.headers.get(CONTENT_TYPE)).flatten();
    kind.filter(|kind| trailers::is_grpc(Some(kind))).cloned()
}

/// HTTP 200 and nothing but a head, which so is the trailer ("Trailers-Only").
pub(super) fn refuse(face: &Face, kind: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::own(""));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert("grpc-status", HeaderValue::from_static(code(face.status)));
    // Titles are ASCII without `%`: nothing to encode.
    headers.insert("grpc-message", HeaderValue::from_static(face.title));
    response
}

/// The status that clients make of an answer's, where gRPC has the same.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "16",
        403 => "7",
        404 => "12",
        413 | 429 => "8",
        503 => "14",
        504 => "4",
        _ => "13",
    }
}
