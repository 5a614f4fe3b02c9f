//! A client connection's time limits: for an idle connection, for a head that has begun, and while draining.

use crate::clock;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long an idle connection may still send its next request once the gateway drains.
const LINGER: Duration = Duration::from_secs(1);

/// The limits on silence.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// From the last response, or the connection's beginning, to the next request's first byte.
    pub keepalive: Duration,
}

/// What a connection is doing; shared by the socket and the service.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Mutex<Phase>>);

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No request, since then.
    Idle(Instant),
    /// A head has begun, then.
    Head(Instant),
    /// A request is being answered.
    Busy,
}

/// A request being answered; when dropped, the connection is idle again.
#[derive(Debug)]
pub struct Busy(Activity);

/// A client connection that ends when it stays silent beyond its limits.
///
/// It ends as if the client had closed it: no answer is written, and what had arrived before is still read.
pub struct Timed<S> {
    stream: S,
    limits: Limits,
    activity: Activity,
    alarm: Pin<Box<Sleep>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    drained: Option<Instant>,
}

impl Activity {
    /// A connection that has just begun.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Phase::Idle(clock::now()))))
    }

    /// A request's head is complete.
    pub fn begin(&self) -> Busy {
        self.change(|_| Phase::Busy);
        Busy(self.clone())
    }

    fn read_some(&self) {
        self.change(|phase| match phase {
            Phase::Idle(_) => Phase::Head(clock::now()),
            other => other,
        });
    }

    fn phase(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(Phase) -> Phase) {
        let mut phase = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *phase = change(*phase);
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|_| Phase::Idle(clock::now()));
    }
}

impl<S> Timed<S> {
    /// Watches a connection; `drain` tells when the gateway leaves.
    pub fn new(stream: S, limits: Limits, activity: Activity, drain: CancellationToken) -> Self {
        let alarm = Box::pin(tokio::time::sleep(limits.keepalive));
        let drain = Box::pin(drain.cancelled_owned());
        Self { stream, limits, activity, alarm, drain, drained: None }
    }

    /// Whether the connection's time is up; arranges to be asked again when it may be.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drained.is_none() && self.drain.as_mut().poll(cx).is_ready() {
            self.drained = Some(clock::now() + LINGER);
        }
        loop {
            let deadline = match self.activity.phase() {
                Phase::Busy => return Poll::Pending,
                Phase::Head(begun) => begun + self.limits.header_timeout,
                Phase::Idle(since) => {
                    let deadline = since + self.limits.keepalive;
                    self.drained.map_or(deadline, |drained| drained.min(deadline))
                }
            };
            // The alarm is moved forward only when it rings, so that a busy connection does not move it at all.
            if self.alarm.deadline().into_std() > deadline {
                self.alarm.as_mut().reset(deadline.into());
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if clock::now() >= deadline {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(deadline.into());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            // Over: as if the client had closed, which is the end of the stream.
            Poll::Pending => this.poll_over(cx).map(Ok),
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    this.activity.read_some();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
