//! An upstream's answer made safe to forward: its framing is ours to choose.

use super::{
    endpoint::Place,
    failure::Failure,
    streaming::{Lasts, Lease, Patience, Streaming},
    tunnel::Tunnel,
};
use crate::{
    config::upstreams::Upstream,
    http::{
        hop_by_hop, message,
        trailers::{Trailers, is_grpc},
        websocket,
    },
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, TRAILER, TRANSFER_ENCODING},
};
use hyper::body::Incoming;
use std::time::{Duration, Instant};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Makes an answer safe. `websocket`: one was asked for; the body is over at `deadline`.
pub(super) fn accept(
    mut response: Response<Incoming>,
    mut lease: Lease,
    section: &Upstream,
    websocket: bool,
    deadline: Option<Instant>,
) -> Result<Response<Streaming>, (Failure, Place)> {
    let agrees = response.status() == StatusCode::SWITCHING_PROTOCOLS && websocket::is_named(response.headers());
    let upgrade = (websocket && agrees).then(|| hyper::upgrade::on(&mut response));
    let (mut head, incoming) = response.into_parts();
    if let Some(upgrade) = upgrade {
        hop_by_hop::strip(&mut head.headers);
        websocket::announce(&mut head.headers);
        let tunnel = Tunnel::new(upgrade, lease, section.tunnel_idle);
        return Ok(Response::from_parts(head, Streaming::before(tunnel, incoming)));
    }
    head.version = Version::HTTP_11;
    if head.status.is_informational() {
        let text = format!("it answered {} without having been asked to", head.status);
        return Err((Failure::Invalid(text), lease.place));
    }
    if let Err(Odd) = settle_framing(&mut head.headers) {
        return Err((Failure::Invalid("its framing may be read in two ways".to_owned()), lease.place));
    }
    if let Some(keepalive) = keepalive_of(&head.headers) {
        lease.connection.note_keepalive(keepalive);
    }
    // hyper read the body as chunked, so a Content-Length beside it is a lie (RFC 9112 section 6.3).
    if head.headers.contains_key(TRANSFER_ENCODING) || head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
    }
    let kind = head.headers.get(CONTENT_TYPE);
    let trailers = match is_grpc(kind) {
        true => Some(Trailers::Grpc),
        false => (!section.trailers.is_empty()).then(|| Trailers::Named(section.trailers.clone())),
    };
    let announced = trailers.as_ref().and_then(|trailers| trailers.announced(&head.headers));
    hop_by_hop::strip(&mut head.headers);
    if let Some(announced) = announced {
        head.headers.insert(TRAILER, announced);
    }
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_event_stream = kind.starts_with(b"text/event-stream");
    let may_be_silent = is_event_stream || matches!(trailers, Some(Trailers::Grpc));
    let silence = if may_be_silent { section.tunnel_idle } else { section.idle_timeout };
    let lasts = if is_event_stream { Lasts::Events } else { Lasts::Perhaps };
    Ok(Response::from_parts(head, Streaming::new(incoming, lease, Patience { silence, deadline }, lasts, trailers)))
}

/// Framing that two clients may read differently.
#[derive(Debug, PartialEq)]
struct Odd;

/// Leaves one Content-Length of plain digits, as hyper has read it, and takes no coding but `chunked`.
fn settle_framing(headers: &mut HeaderMap) -> Result<(), Odd> {
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked) {
        return Err(Odd);
    }
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(lengths) = lines.next() else { return Ok(()) };
    if lines.next().is_none() && message::is_canonical_number(lengths.as_bytes()) {
        return Ok(());
    }
    let length = lengths.to_str().ok().and_then(|lengths| lengths.split(',').next()).map(str::trim);
    let length = length.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    let length: u64 = length.and_then(|digits| digits.parse().ok()).ok_or(Odd)?;
    headers.insert(CONTENT_LENGTH, length.into());
    Ok(())
}

/// `Keep-Alive: timeout=n` minus a second for the way: how long the upstream keeps the connection.
fn keepalive_of(headers: &HeaderMap) -> Option<Duration> {
    let parameters = headers.get(&KEEP_ALIVE)?.to_str().ok()?;
    let timeout = parameters.split(',').find_map(|parameter| parameter.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(timeout.parse::<u32>().ok()?.saturating_sub(1).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_settled_or_refused() {
        let settled = |name: http::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            settle_framing(&mut headers).map(|()| headers.remove(&name).expect("it stays"))
        };
        for value in ["2", "02", "2, 2"] {
            assert_eq!(settled(CONTENT_LENGTH, value), Ok(HeaderValue::from_static("2")), "{value}");
        }
        assert_eq!(settled(CONTENT_LENGTH, "+2"), Err(Odd));
        assert_eq!(settled(TRANSFER_ENCODING, "gzip, chunked"), Err(Odd));
        assert!(settled(TRANSFER_ENCODING, "Chunked").is_ok());
    }
}
