//! An upstream's body on its way to the client; at its clean end the connection goes back to the pool.

use super::{connection::Connection, endpoint::Place, tunnel::Tunnel};
use crate::{http::body::Progress, tasks::Worker};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Sleep;

/// An upstream's body, streamed.
#[derive(Debug)]
pub struct Streaming {
    incoming: Incoming,
    lease: Option<Lease>,
    /// The longest silence between two reads.
    idle_timeout: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    tunnel: Option<Box<Tunnel>>,
}

/// The connection that a body comes from.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) place: Place,
    pub(super) worker: Worker,
    /// The request's body, where it had one: unless it was sent whole, the connection is not used again.
    pub(super) sent: Option<Progress>,
}

/// Why an upstream's body broke off.
#[derive(Debug)]
pub enum StreamFault {
    /// It was silent for longer than `idle_timeout`.
    Silent,
    /// The connection or its framing broke.
    Broken(hyper::Error),
}

impl std::fmt::Display for StreamFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => f.write_str("the upstream fell silent in the middle of its body"),
            Self::Broken(error) => write!(f, "the upstream's body broke off: {error}"),
        }
    }
}

impl std::error::Error for StreamFault {}

impl Lease {
    /// The exchange ended cleanly on the response's side.
    fn end(self) {
        if self.sent.as_ref().is_none_or(Progress::ended) {
            self.place.endpoint().pool(self.worker).keep(self.connection);
        }
    }
}

impl Streaming {
    pub(super) fn new(incoming: Incoming, lease: Lease, idle_timeout: Duration) -> Self {
        let mut body = Self { incoming, lease: Some(lease), idle_timeout, silence: None, tunnel: None };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
    }

    /// The empty body of an answer after which the connection is a WebSocket's.
    pub(super) fn before(tunnel: Tunnel, incoming: Incoming) -> Self {
        Self { incoming, lease: None, idle_timeout: Duration::ZERO, silence: None, tunnel: Some(Box::new(tunnel)) }
    }

    /// The WebSocket that the upstream has agreed to, if this is the body of such an answer.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let idle_timeout = self.idle_timeout;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_timeout)));
        silence.as_mut().poll(cx).map(|()| {
            self.lease = None;
            Some(Err(StreamFault::Silent))
        })
    }
}

impl Body for Streaming {
    type Data = Bytes;
    type Error = StreamFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => this.poll_silence(cx),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                this.silence = None;
                if this.incoming.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(StreamFault::Broken(error))))
            }
            // Trailers are not forwarded; nothing follows them.
            Poll::Ready(Some(Ok(_)) | None) => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
