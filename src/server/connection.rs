//! One client connection: HTTP/1.1 within its limits.

use super::{
    activity::{Activity, Busy},
    credit,
    door::House,
    drain::Closing,
    meter::Meter,
    mistaken,
    timed::Timed,
};
use crate::{
    gateway::{body::Body, tunnel::Tunnel},
    http::peer::Peer,
    tasks::Worker,
};
use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::{Frame, SizeHint};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Room for bodies in hyper's buffers even where the header limits are small.
const BUFFER_BYTES_MIN: usize = 128 * 1024;

/// hyper's own limit on header lines is at least this. Beyond 100 it allocates room for them, 32 bytes each, twice a
/// request: this much has a size of its own there, so that its pages do not end up under the connection's buffers.
const HEADERS_MIN: usize = 200;

/// A response's body that keeps its connection busy.
struct Served {
    body: Body,
    busy: Busy,
}

/// A WebSocket that begins where the connection's HTTP ends.
type Begun = Mutex<Option<(OnUpgrade, Tunnel)>>;

/// Serves a connection until it closes, falls silent beyond its limits, or has answered while draining.
pub(super) async fn serve<S>(stream: S, peer: Peer, house: House, activity: Activity)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let House { gateway, limits, closing, meter } = house;
    let (worker, client) = (peer.worker, peer.address);
    let stream = Timed::new(stream, (&limits).into(), activity.clone(), closing.clone());
    let begun = Arc::new(Begun::default());
    let shared = Arc::new((gateway, peer, closing.clone(), begun.clone()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, busy) = (shared.clone(), activity.begin());
        let (mut head, body) = request.into_parts();
        let upgrade = head.extensions.remove::<OnUpgrade>();
        if busy.framed_twice && head.headers.contains_key(TRANSFER_ENCODING) {
            // The library has dropped it; the message policy is to see it.
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let head = Box::new(head);
        // Boxed, so that an idle connection does not hold room for a request.
        Box::pin(async move {
            let (gateway, peer, closing, begun) = &*shared;
            let mut response = gateway.handle(head, body, peer).await;
            if let Some(tunnel) = response.body_mut().take_tunnel() {
                let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
                *begun = upgrade.map(|upgrade| (upgrade, tunnel));
            } else if closing.has_begun() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Served { body, busy }))
        })
    });
    // Above our own limits, so that 414 and 431 are ours to answer.
    let head_bytes = limits.header_bytes + limits.uri_bytes;
    let mut builder = http1::Builder::new();
    builder
        .max_headers(limits.headers.saturating_mul(2).max(HEADERS_MIN))
        .max_buf_size(head_bytes.saturating_mul(2).max(BUFFER_BYTES_MIN));
    // A block of its own: what follows does not hold room for the connection.
    let sending_away = {
        let mut connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let error = Pin::new(&mut connection).await.err();
        error.inspect(|error| note(error, &meter, worker, client)).and_then(|error| {
            let parts = connection.into_parts().filter(|_| error.is_parse_version_h2());
            parts.map(|parts| Box::pin(mistaken::send_away(parts.io.into_inner().into_inner())))
        })
    };
    if let Some(sending_away) = sending_away {
        sending_away.await;
    }
    let begun = begun.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((upgrade, tunnel)) = begun
        && let Ok(client) = upgrade.await
    {
        Box::pin(go_on::<S>(client, tunnel, closing)).await;
    }
}

/// Counts a head that cannot be parsed, and says why a connection ended.
fn note(error: &hyper::Error, meter: &Meter, worker: Worker, client: Option<IpAddr>) {
    if error.is_parse() || error.is_parse_too_large() {
        meter.heads_refused.add(worker);
        if meter.head_told.is_due() {
            let client = client.map(tracing::field::display);
            if error.is_parse_version_h2() {
                tracing::info!(client, "a client began with HTTP/2: without TLS it needs `[server] h2c = true`");
            } else {
                tracing::info!(client, reason = %error, "a head that cannot be parsed was answered with a bare 400");
            }
        }
    }
    tracing::debug!(%error, "a client connection ended early");
}

/// Passes on what a WebSocket says, without the limits of HTTP: it has its own.
async fn go_on<S>(client: Upgraded, tunnel: Tunnel, closing: Closing)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match client.downcast::<TokioIo<Timed<S>>>() {
        Ok(parts) => match credit::bare(parts.io.into_inner().into_inner()) {
            Ok(socket) => tunnel.pass(socket, &parts.read_buf, closing.begins()).await,
            Err(stream) => tunnel.pass(stream, &parts.read_buf, closing.begins()).await,
        },
        Err(client) => tunnel.pass(TokioIo::new(client), &[], closing.begins()).await,
    }
}

impl http_body::Body for Served {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // Nothing more is asked of the upstream meanwhile. The connection's task is this one, so it will be back.
        if self.busy.is_stuck() { Poll::Pending } else { Pin::new(&mut self.body).poll_frame(cx) }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
