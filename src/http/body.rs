//! A request's body on its way to the upstream: bounded in size and in silence, and able to say why it broke off.

mod rewind;

use super::trailers::Trailers;
use crate::clock;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use rewind::Tape;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::Sleep;

pub use rewind::Rewind;

/// The client's body, streamed; for most requests there is none, and what they carry through all steps is small.
#[derive(Debug)]
pub struct RequestBody(Source);

#[derive(Debug)]
enum Source {
    None,
    Streamed(Box<Streamed>),
    Kept(Tape),
}

#[derive(Debug)]
struct Streamed {
    incoming: Incoming,
    timeout: Duration,
    left: Option<u64>,
    /// Which trailers pass; without it none.
    trailers: Option<Trailers>,
    silence: Option<Pin<Box<Sleep>>>,
    progress: Progress,
}

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It is larger than the limit.
    TooLarge,
    /// The client fell silent for longer than the limit.
    TimedOut,
    /// The client left, or its framing broke.
    Broken,
}

impl std::fmt::Display for BodyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the request's body is larger than the limit",
            Self::TimedOut => "the client fell silent in the middle of its body",
            Self::Broken => "the client's body broke off",
        })
    }
}

impl std::error::Error for BodyFault {}

/// How far a body has come; shared with the step that waits for the upstream's answer.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    moved: Instant,
    ended: bool,
    fault: Option<BodyFault>,
}

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { moved: clock::now(), ended: false, fault: None })))
    }

    /// When the body last moved.
    pub fn moved(&self) -> Instant {
        self.read(|state| state.moved)
    }

    /// Whether it was handed over whole.
    pub fn ended(&self) -> bool {
        self.read(|state| state.ended)
    }

    /// Why it broke off, if it did.
    pub fn fault(&self) -> Option<BodyFault> {
        self.read(|state| state.fault)
    }

    fn read<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RequestBody {
    /// Bounds a body: at most `limit` bytes in all, at most `timeout` of silence between two reads.
    ///
    /// # Errors
    /// A body that declares more than the limit is refused before it is read.
    pub fn bounded(incoming: Incoming, limit: Option<u64>, timeout: Duration) -> Result<Self, BodyFault> {
        if limit.is_some_and(|limit| incoming.size_hint().lower() > limit) {
            return Err(BodyFault::TooLarge);
        }
        if incoming.is_end_stream() {
            return Ok(Self::none());
        }
        let progress = Progress::new();
        Ok(Self(Source::Streamed(Box::new(Streamed {
            incoming,
            timeout,
            left: limit,
            trailers: None,
            silence: None,
            progress,
        }))))
    }

    /// No body at all.
    pub fn none() -> Self {
        Self(Source::None)
    }

    /// From now on these trailers pass. Not after [`Self::rewind`].
    pub fn admit(&mut self, trailers: Trailers) {
        if let Source::Streamed(body) = &mut self.0 {
            body.trailers = Some(trailers);
        }
    }

    /// From now on the beginning of the body is kept, and this leads back to it; `None` for a request without a body.
    pub fn rewind(&mut self) -> Option<Rewind> {
        let source = match std::mem::replace(&mut self.0, Source::None) {
            Source::Streamed(body) => Source::Kept(Tape::new(body)),
            source => source,
        };
        self.0 = source;
        match &self.0 {
            Source::Kept(tape) => Some(Rewind::of(tape)),
            Source::None | Source::Streamed(_) => None,
        }
    }

    /// How far it has come; `None` for a request without a body.
    pub fn progress(&self) -> Option<&Progress> {
        match &self.0 {
            Source::None => None,
            Source::Streamed(body) => Some(&body.progress),
            Source::Kept(tape) => Some(&tape.progress),
        }
    }
}

impl Streamed {
    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.progress.read(|state| state.fault = Some(fault));
        Poll::Ready(Some(Err(fault)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let timeout = self.timeout;
                let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                return match silence.as_mut().poll(cx) {
                    Poll::Ready(()) => self.fail(BodyFault::TimedOut),
                    Poll::Pending => Poll::Pending,
                };
            }
        };
        match frame {
            None => {
                // What broke off never comes to its end, however often it is asked.
                if let Some(fault) = self.progress.fault() {
                    return Poll::Ready(Some(Err(fault)));
                }
                self.progress.read(|state| state.ended = true);
                Poll::Ready(None)
            }
            Some(Err(_)) => self.fail(BodyFault::Broken),
            Some(Ok(frame)) => {
                self.moved();
                let Some(data) = frame.data_ref() else {
                    // Nothing follows trailers.
                    self.progress.read(|state| state.ended = true);
                    let passing = frame.into_trailers().ok().zip(self.trailers.as_ref());
                    let passing = passing.and_then(|(trailers, which)| which.pass(trailers));
                    return Poll::Ready(passing.map(|trailers| Ok(Frame::trailers(trailers))));
                };
                let bytes = data.len() as u64;
                match self.left {
                    Some(left) if bytes > left => self.fail(BodyFault::TooLarge),
                    left => {
                        self.left = left.map(|left| left - bytes);
                        Poll::Ready(Some(Ok(frame)))
                    }
                }
            }
        }
    }

    fn moved(&mut self) {
        self.silence = None;
        let ended = self.incoming.is_end_stream();
        self.progress.read(|state| (state.moved, state.ended) = (clock::now(), ended));
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match &mut self.get_mut().0 {
            Source::None => Poll::Ready(None),
            Source::Streamed(body) => body.poll(cx),
            Source::Kept(tape) => tape.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::None => true,
            Source::Streamed(body) => body.incoming.is_end_stream(),
            Source::Kept(tape) => tape.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::None => SizeHint::with_exact(0),
            Source::Streamed(body) => body.incoming.size_hint(),
            Source::Kept(tape) => tape.size_hint(),
        }
    }
}
