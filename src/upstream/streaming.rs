//! An upstream's body on its way to the client; at its clean end the connection goes back to the pool.

use super::{
    connection::Connection,
    endpoint::{Endpoint, Place},
    failure::Failure,
    tunnel::Tunnel,
};
use crate::{
    clock,
    http::trailers::Trailers,
    tasks::{self, Worker},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::Sleep;

/// How long an upstream may take to say that a body is over of which all has come.
const END_WAIT: Duration = Duration::from_secs(5);

/// An upstream's body, streamed.
#[derive(Debug)]
pub struct Streaming {
    source: Source,
    ended: bool,
    /// Which trailers pass; without it none.
    trailers: Option<Trailers>,
    patience: Patience,
    silence: Option<Pin<Box<Sleep>>>,
    tunnel: Option<Box<Tunnel>>,
    lasts: Lasts,
}

/// Where it comes from, as long as there is more of it.
#[derive(Debug)]
enum Source {
    /// The connection itself.
    Http1(Lease),
    /// A stream on it.
    Http2(Incoming, Lease),
    /// It broke off, which is told next.
    Broken(StreamFault),
    /// Nothing more comes.
    Nowhere,
}

/// How long an answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// As long as its WebSocket.
    WebSocket,
    /// Until somebody leaves: it is an event stream.
    Events,
    /// It does not say.
    Perhaps,
}

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The longest silence between two reads.
    pub(super) silence: Duration,
    /// When it must be over.
    pub(super) deadline: Option<Instant>,
}

/// The connection that a body comes from.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) place: Place,
    pub(super) worker: Worker,
}

/// Why an upstream's body broke off.
#[derive(Debug)]
pub enum StreamFault {
    /// It was silent for longer than `idle_timeout`.
    Silent,
    /// It was not over when the rule's `total_timeout` was.
    Overdue,
    /// The connection or its framing broke.
    Broken(Failure),
    /// The session is over that it was given to.
    SessionOver,
    /// It was ended before its end.
    Cut,
}

impl std::fmt::Display for StreamFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => f.write_str("the upstream fell silent in the middle of its body"),
            Self::Overdue => f.write_str("the exchange took longer than total_timeout"),
            Self::Broken(error) => write!(f, "the upstream's body broke off: {error}"),
            Self::SessionOver => f.write_str("the session is over"),
            Self::Cut => f.write_str("the upstream ended its body before its end"),
        }
    }
}

impl std::error::Error for StreamFault {}

impl Lease {
    /// The answer has come to its end. A connection is used again if the request had come to its own, too.
    fn end(self) {
        let Self { connection, place, worker } = self;
        if let Some(connection) = connection.finish() {
            place.endpoint().pool(worker).keep(connection);
        }
    }
}

impl Streaming {
    /// What comes by itself over HTTP/2, or else over the lease's connection.
    pub(super) fn new(
        incoming: Option<Incoming>,
        lease: Lease,
        patience: Patience,
        lasts: Lasts,
        trailers: Option<Trailers>,
    ) -> Self {
        let source = match incoming {
            Some(incoming) => Source::Http2(incoming, lease),
            None => Source::Http1(lease),
        };
        let mut body = Self { source, ended: false, trailers, patience, silence: None, tunnel: None, lasts };
        if body.is_end_stream() {
            body.end();
        }
        body
    }

    /// The empty body of an answer after which the connection is a WebSocket's.
    pub(super) fn before(tunnel: Tunnel) -> Self {
        let patience = Patience { silence: Duration::ZERO, deadline: None };
        Self {
            source: Source::Nowhere,
            ended: true,
            trailers: None,
            patience,
            silence: None,
            tunnel: Some(Box::new(tunnel)),
            lasts: Lasts::WebSocket,
        }
    }

    /// Whether nothing of it is missing, though its end may be.
    pub fn is_whole(&self) -> bool {
        self.ended || self.is_end_stream() || self.awaits_end()
    }

    /// Whether all is there but the frame that says so.
    fn awaits_end(&self) -> bool {
        matches!(&self.source, Source::Http2(incoming, _) if !incoming.is_end_stream() && incoming.size_hint().exact() == Some(0))
    }

    /// The endpoint that it comes from, until it is over.
    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match &self.source {
            Source::Http1(lease) | Source::Http2(_, lease) => Some(lease.place.endpoint()),
            Source::Broken(_) | Source::Nowhere => None,
        }
    }

    /// How long it goes on; `None` = it is over, or says how long it is.
    pub fn lasts(&self) -> Option<Lasts> {
        let goes_on = self.tunnel.is_some() || !self.is_end_stream();
        (goes_on && (self.lasts != Lasts::Perhaps || self.size_hint().exact().is_none())).then_some(self.lasts)
    }

    /// The WebSocket that the upstream has agreed to, if this is the body of such an answer.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    fn end(&mut self) {
        self.ended = true;
        if let Source::Http1(lease) | Source::Http2(_, lease) = mem::replace(&mut self.source, Source::Nowhere) {
            lease.end();
        }
    }

    /// It is told at the next turn: who is told drops what it has not sent yet, and a client that gets nothing at all may
    /// ask again, though its request has run.
    fn fail(&mut self, fault: StreamFault, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        self.source = Source::Broken(fault);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_fault(&mut self) -> Option<StreamFault> {
        match mem::replace(&mut self.source, Source::Nowhere) {
            Source::Broken(fault) => Some(fault),
            Source::Http1(_) | Source::Http2(..) | Source::Nowhere => None,
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let Patience { silence, deadline } = self.patience;
        let until = || {
            let silent = clock::now() + silence;
            Box::pin(tokio::time::sleep_until(deadline.map_or(silent, |deadline| deadline.min(silent)).into()))
        };
        ready!(self.silence.get_or_insert_with(until).as_mut().poll(cx));
        let overdue = deadline.is_some_and(|deadline| deadline <= clock::now());
        self.fail(if overdue { StreamFault::Overdue } else { StreamFault::Silent }, cx)
    }
}

impl Body for Streaming {
    type Data = Bytes;
    type Error = StreamFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            Source::Http1(lease) => lease.connection.poll_frame(cx),
            Source::Http2(incoming, _) => Pin::new(incoming).poll_frame(cx).map_err(Failure::from),
            Source::Broken(_) | Source::Nowhere => return Poll::Ready(this.take_fault().map(Err)),
        };
        match polled {
            Poll::Pending => this.poll_silence(cx),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                this.silence = None;
                if this.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(StreamFault::Broken(error), cx),
            Poll::Ready(Some(Ok(frame))) => {
                // Nothing follows trailers.
                this.end();
                let passing = frame.into_trailers().ok().zip(this.trailers.as_ref());
                let passing = passing.and_then(|(trailers, which)| which.pass(trailers));
                Poll::Ready(passing.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            // hyper takes a stream that is reset without an error for one that has ended.
            Poll::Ready(None) if !this.is_end_stream() => this.fail(StreamFault::Cut, cx),
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1(lease) => lease.connection.is_over(),
            Source::Http2(incoming, _) => incoming.is_end_stream(),
            Source::Broken(_) => false,
            Source::Nowhere => self.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(lease) => lease.connection.size_hint(),
            Source::Http2(incoming, _) => incoming.size_hint(),
            Source::Broken(_) => SizeHint::default(),
            Source::Nowhere => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if self.awaits_end()
            && let Source::Http2(mut incoming, lease) = mem::replace(&mut self.source, Source::Nowhere)
        {
            // To let go now would tell the upstream that its answer was not wanted.
            tasks::background(async move {
                let ending = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx).map(drop));
                drop(tokio::time::timeout(END_WAIT, ending).await);
                drop(lease);
            });
        }
    }
}
