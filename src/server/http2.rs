//! One client connection that speaks HTTP/2, within the same limits as one of HTTP/1.1, and some of its own.

use super::{
    activity::{Activity, Busy},
    door::House,
    drain::Closing,
    frames::Frames,
    gathered::Gathered,
    pace::{Pace, Paced},
    timed::Timed,
};
use crate::{
    gateway::{body::Body, tunnel::Tunnel},
    http::{http2, peer::Peer},
    tasks::{self, TaskTracker},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_LENGTH};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, rt::Executor, server::conn::http2::Builder, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a client may send ahead of an upstream that reads slowly, for one request and for all of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// What waits in memory of one response until the client takes it.
const SEND_BUFFER: usize = 64 * 1024;

/// Requests that a client gives up before they are looked at, and protocol errors within one, that are forgiven.
const RESETS_PENDING: usize = 20;
const RESETS_OF_OURS: usize = 128;

/// A chunk up to this size may wait for the client after its response has ended.
const TAIL_BYTES: usize = 16 * 1024;

/// A response's body that keeps its connection busy, and notes how the client takes it.
struct Served {
    body: Body,
    /// The answer to a HEAD request has none.
    mute: bool,
    /// The last chunk was so large that the response ends only when it was taken.
    lingers: bool,
    pace: Pace,
    _busy: Busy,
}

/// Starts a task for each request, and ends those whose client takes nothing.
#[derive(Debug, Clone)]
struct Streams {
    /// Of the request that has just begun: its task starts next.
    next: Arc<Mutex<Option<Pace>>>,
    patience: Duration,
}

/// Serves a connection until it closes, falls silent beyond its limits, or the gateway drains: then it is told to go
/// away, and what it has begun is finished.
pub(super) async fn serve<S>(stream: S, peer: Peer, house: House, activity: Activity)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let House { gateway, limits, closing, .. } = house;
    let stream =
        Timed::new(stream, (&limits).into(), activity.clone(), closing.clone()).watching(Frames::from_preface());
    let tunnels = TaskTracker::new();
    let shared = Arc::new((gateway, peer, closing.clone(), tunnels.clone()));
    let streams = Streams { next: Arc::default(), patience: limits.body_timeout };
    let next = streams.next.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, activity, pace) = (shared.clone(), activity.clone(), Pace::default());
        let busy = activity.begin();
        *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(pace.clone());
        // Boxed, so that it need not be moved with its stream.
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let upgrade = head.extensions.remove::<OnUpgrade>();
            http2::translate(&mut head);
            let mute = head.method == Method::HEAD;
            let (gateway, peer, closing, tunnels) = &*shared;
            let mut response = gateway.handle(Box::new(head), body, peer).await;
            if let Some((tunnel, upgrade)) = response.body_mut().take_tunnel().zip(upgrade) {
                tasks::tracked(tunnels, go_on(upgrade, tunnel, closing.clone(), activity.begin()));
            }
            if mute {
                name_length(&mut response);
            }
            Ok::<_, Infallible>(response.map(|body| Served { body, mute, lingers: false, pace, _busy: busy }))
        })
    });
    let mut builder = Builder::new(streams);
    // Above our own limits, so that 414 and 431 are ours to answer; each field counts 32 bytes more here.
    let head_bytes = (limits.header_bytes + limits.uri_bytes + 32 * limits.headers).saturating_mul(2);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(head_bytes.try_into().unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS_PENDING)
        .max_local_error_reset_streams(RESETS_OF_OURS)
        .enable_connect_protocol();
    let stream = Gathered::new(stream);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream.share()), service));
    let outcome = tokio::select! {
        biased;
        outcome = stream.driving(connection.as_mut()) => outcome,
        () = closing.begins() => {
            connection.as_mut().graceful_shutdown();
            stream.driving(connection).await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a client connection ended early");
    }
    tunnels.close();
    tunnels.wait().await;
}

/// Passes on what a WebSocket says on its stream, which is a request of the connection's as long as it lasts.
async fn go_on(upgrade: OnUpgrade, tunnel: Tunnel, closing: Closing, _busy: Busy) {
    if let Ok(client) = upgrade.await {
        Box::pin(tunnel.pass(TokioIo::new(client), &[], closing.begins())).await;
    }
}

/// Says how long the body would be that the answer to a HEAD request has not.
fn name_length(response: &mut Response<Body>) {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        match self.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(pace) => tasks::background(Paced::new(stream, pace, self.patience)),
            None => tasks::background(stream),
        }
    }
}

impl http_body::Body for Served {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // Whoever asks for more has handed over all that came before.
        self.pace.rests();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.lingers = bytes > TAIL_BYTES;
            self.pace.offers(bytes);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.mute || self.body.is_end_stream() && !self.lingers
    }

    fn size_hint(&self) -> SizeHint {
        if self.mute { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}
