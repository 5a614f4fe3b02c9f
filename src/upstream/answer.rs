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
    HeaderMap, HeaderValue, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, TRAILER},
};
use hyper::body::Incoming;
use std::time::{Duration, Instant};

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
        hop_by_hop::strip(&mut head.headers, |_| false);
        websocket::announce(&mut head.headers);
        let tunnel = Tunnel::new(upgrade, lease, section.tunnel_idle);
        return Ok(Response::from_parts(head, Streaming::before(tunnel, incoming)));
    }
    head.version = Version::HTTP_11;
    if head.status.is_informational() {
        let text = format!("it answered {} without having been asked to", head.status);
        return Err((Failure::Invalid(text), lease.place));
    }
    let Ok(said) = Said::by(&head.headers) else {
        return Err((Failure::Invalid("its framing may be read in two ways".to_owned()), lease.place));
    };
    if let Some(keepalive) = said.keepalive {
        lease.connection.note_keepalive(keepalive);
    }
    // hyper read the body as chunked, so a Content-Length beside it is a lie (RFC 9112 section 6.3).
    if said.is_chunked || head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
    } else if let Some(length) = said.unsettled_length {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    let trailers = match said.is_grpc {
        true => Some(Trailers::Grpc),
        false => (!section.trailers.is_empty()).then(|| Trailers::Named(section.trailers.clone())),
    };
    let announced = trailers.as_ref().and_then(|trailers| trailers.announced(&head.headers));
    hop_by_hop::strip(&mut head.headers, |_| false);
    if let Some(announced) = announced {
        head.headers.insert(TRAILER, announced);
    }
    // Both may be silent for as long as they like.
    let silence = if said.is_event_stream || said.is_grpc { section.tunnel_idle } else { section.idle_timeout };
    let lasts = if said.is_event_stream { Lasts::Events } else { Lasts::Perhaps };
    Ok(Response::from_parts(head, Streaming::new(incoming, lease, Patience { silence, deadline }, lasts, trailers)))
}

/// What the fields of an answer say that matters here, read in one walk.
#[derive(Debug, Default, PartialEq)]
struct Said {
    is_chunked: bool,
    /// The length as hyper has read it, unless it is written as one line of plain digits.
    unsettled_length: Option<u64>,
    /// How long the upstream keeps the connection.
    keepalive: Option<Duration>,
    is_event_stream: bool,
    is_grpc: bool,
}

/// Framing that two clients may read differently.
#[derive(Debug, PartialEq)]
struct Odd;

impl Said {
    /// Takes no coding but `chunked`.
    fn by(headers: &HeaderMap) -> Result<Self, Odd> {
        let (mut said, mut length, mut is_typed) = (Self::default(), None, false);
        for (name, value) in headers {
            match name.as_str() {
                "transfer-encoding" if !value.as_bytes().eq_ignore_ascii_case(b"chunked") => return Err(Odd),
                "transfer-encoding" => said.is_chunked = true,
                "content-length" => match length {
                    None if message::is_canonical_number(value.as_bytes()) => length = Some(value),
                    first => said.unsettled_length = Some(read_length(first.unwrap_or(value))?),
                },
                "keep-alive" => said.keepalive = said.keepalive.or_else(|| keepalive(value)),
                "content-type" if !is_typed => {
                    is_typed = true;
                    said.is_event_stream = value.as_bytes().starts_with(b"text/event-stream");
                    said.is_grpc = is_grpc(Some(value));
                }
                _ => {}
            }
        }
        Ok(said)
    }
}

fn read_length(lengths: &HeaderValue) -> Result<u64, Odd> {
    let length = lengths.to_str().ok().and_then(|lengths| lengths.split(',').next()).map(str::trim);
    let length = length.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    length.and_then(|digits| digits.parse().ok()).ok_or(Odd)
}

/// `timeout=n` minus a second for the way.
fn keepalive(parameters: &HeaderValue) -> Option<Duration> {
    let timeout =
        parameters.to_str().ok()?.split(',').find_map(|parameter| parameter.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(timeout.parse::<u32>().ok()?.saturating_sub(1).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::TRANSFER_ENCODING;

    fn said(lines: &[(http::HeaderName, &'static str)]) -> Result<Said, Odd> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        Said::by(&headers)
    }

    #[test]
    fn framing_is_settled_or_refused() {
        for (lines, unsettled) in [
            (&["2"][..], None),
            (&["02"], Some(2)),
            (&["2, 2"], Some(2)),
            (&["2", "2"], Some(2)),
            (&["02", "2"], Some(2)),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| (CONTENT_LENGTH, *line)).collect();
            assert_eq!(said(&lines).map(|said| said.unsettled_length), Ok(unsettled), "{lines:?}");
        }
        assert_eq!(said(&[(CONTENT_LENGTH, "+2")]), Err(Odd));
        assert_eq!(said(&[(TRANSFER_ENCODING, "gzip, chunked")]), Err(Odd));
        assert_eq!(said(&[(TRANSFER_ENCODING, "chunked"), (TRANSFER_ENCODING, "gzip")]), Err(Odd));
        assert!(said(&[(TRANSFER_ENCODING, "Chunked")]).is_ok_and(|said| said.is_chunked));
    }
}
