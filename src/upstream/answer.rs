//! An upstream's answer made safe to forward: its framing is ours to choose.

use super::{
    endpoint::Place,
    failure::Failure,
    http1,
    streaming::{Lasts, Lease, Patience, Streaming},
    tunnel::Tunnel,
};
use crate::{
    config::upstreams::Upstream,
    http::{
        hop_by_hop,
        trailers::{Trailers, is_grpc},
        websocket,
    },
};
use http::{
    HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{CONTENT_TYPE, TRAILER},
};
use hyper::body::Incoming;
use std::time::{Duration, Instant};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Makes an answer safe. `websocket`: one was asked for; the body is over at `deadline`.
pub(super) fn accept(
    response: Response<Option<Incoming>>,
    mut lease: Lease,
    section: &Upstream,
    websocket: bool,
    deadline: Option<Instant>,
) -> Result<Response<Streaming>, (Failure, Place)> {
    let (mut head, incoming) = response.into_parts();
    if websocket && head.status == StatusCode::SWITCHING_PROTOCOLS && websocket::is_named(&head.headers) {
        hop_by_hop::strip(&mut head.headers, |_| false);
        websocket::announce(&mut head.headers);
        return Ok(Response::from_parts(head, Streaming::before(Tunnel::new(lease, section.tunnel_idle)?)));
    }
    head.version = Version::HTTP_11;
    if head.status.is_informational() {
        let text = format!("it answered {} without having been asked to", head.status);
        return Err((Failure::Invalid(text), lease.place));
    }
    // Over HTTP/1.1 that is done.
    if incoming.is_some()
        && let Err(unsound) = http1::settle_length(head.status, &mut head.headers)
    {
        return Err((unsound.into(), lease.place));
    }
    if let Some(keepalive) = head.headers.get_all(KEEP_ALIVE).iter().find_map(keepalive) {
        lease.connection.note_keepalive(keepalive);
    }
    let content_type = head.headers.get(CONTENT_TYPE);
    let is_event_stream = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let is_grpc = is_grpc(content_type);
    let trailers = match is_grpc {
        true => Some(Trailers::Grpc),
        false => (!section.trailers.is_empty()).then(|| Trailers::Named(section.trailers.clone())),
    };
    let announced = trailers.as_ref().and_then(|trailers| trailers.announced(&head.headers));
    hop_by_hop::strip(&mut head.headers, |_| false);
    if let Some(announced) = announced {
        head.headers.insert(TRAILER, announced);
    }
    // Both may be silent for as long as they like.
    let silence = if is_event_stream || is_grpc { section.tunnel_idle } else { section.idle_timeout };
    let lasts = if is_event_stream { Lasts::Events } else { Lasts::Perhaps };
    Ok(Response::from_parts(head, Streaming::new(incoming, lease, Patience { silence, deadline }, lasts, trailers)))
}

/// `timeout=n` minus a second for the way.
fn keepalive(parameters: &HeaderValue) -> Option<Duration> {
    let timeout =
        parameters.to_str().ok()?.split(',').find_map(|parameter| parameter.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(timeout.parse::<u32>().ok()?.saturating_sub(1).into()))
}
