//! A client connection's time limits: for an idle connection, for a head that has begun, and while draining.

use super::{
    activity::{Activity, Phase},
    arriving::Arriving,
    drain::{Begins, Closing},
    frames::Frames,
};
use crate::{clock, config::server};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// How long an idle connection may still send its next request once the gateway drains.
const LINGER: Duration = Duration::from_secs(1);

/// How many times longer a flush may take than a write: it is over when all is taken that TLS holds, not just some.
const FLUSH_STEPS: u32 = 4;

/// The limits on silence.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// From the last response, or the connection's beginning, to the next request's first byte.
    pub keepalive: Duration,
    /// How long the client may take nothing of what is written to it.
    pub write_timeout: Duration,
}

impl From<&server::Limits> for Limits {
    fn from(limits: &server::Limits) -> Self {
        Self { header_timeout: limits.header_timeout, keepalive: limits.keepalive, write_timeout: limits.body_timeout }
    }
}

/// A client connection that ends when it stays silent beyond its limits.
///
/// It ends as if the client had closed it: no answer is written, and what had arrived before is still read.
pub struct Timed<S> {
    stream: S,
    limits: Limits,
    activity: Activity,
    alarm: Pin<Box<Sleep>>,
    closing: Closing,
    closes: Pin<Box<Begins>>,
    drained: Option<Instant>,
    /// Whom alarm and closing wake.
    waker: Option<Waker>,
    /// Rings when the client has taken nothing for too long; `None` while it takes.
    stalled: Option<Pin<Box<Sleep>>>,
    speaks: Speaks,
}

/// The protocol of a connection, and what is watched of it.
enum Speaks {
    Http1(Arriving),
    Http2(Frames),
}

impl<S> Timed<S> {
    /// Watches a connection; `closing` tells when the gateway leaves.
    pub fn new(stream: S, limits: Limits, activity: Activity, closing: Closing) -> Self {
        let alarm = Box::pin(tokio::time::sleep(limits.keepalive));
        let closes = Box::pin(closing.begins());
        Self {
            stream,
            limits,
            activity,
            alarm,
            closing,
            closes,
            drained: None,
            waker: None,
            stalled: None,
            speaks: Speaks::Http1(Arriving::default()),
        }
    }

    /// The same, for a connection of which `frames` pass.
    pub fn watching(mut self, frames: Frames) -> Self {
        self.speaks = Speaks::Http2(frames);
        self
    }

    /// The connection without its limits.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Whether the connection's time is up; arranges to be asked again when it may be.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut over = self.over_at();
        if self.rests(over, cx) {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        if self.drained.is_none() && self.closes.as_mut().poll(cx).is_ready() {
            self.drained = Some(clock::now() + LINGER);
            over = self.over_at();
        }
        loop {
            let latest = over.or_else(|| self.drained.map(|_| clock::now() + LINGER));
            if latest.is_some_and(|latest| self.alarm.deadline().into_std() > latest) {
                self.set_alarm(latest);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match over {
                Some(over) if clock::now() >= over => return Poll::Ready(()),
                // The alarm is moved on only when it rings, so that a busy connection hardly ever moves it. It is set
                // for a busy one, too: nobody reads between its response and the next request.
                _ => self.set_alarm(latest),
            }
        }
    }

    /// Whether nothing has changed since alarm and closing were last asked: then they need not be asked again, and a
    /// busy connection, which reads several times a request, hardly ever does.
    fn rests(&self, over: Option<Instant>, cx: &Context<'_>) -> bool {
        let is_known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let rings_in_time = over.is_none_or(|over| self.alarm.deadline().into_std() <= over);
        is_known && rings_in_time && !self.alarm.is_elapsed() && !self.closing.has_begun()
    }

    /// Passes on how a write went, or ends the connection of a client that takes nothing.
    fn or_stalled<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.or_stalled_for(self.limits.write_timeout, written, cx)
    }

    fn or_stalled_for<T>(
        &mut self,
        timeout: Duration,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.activity.set_stuck(false);
                cx.waker().wake_by_ref();
            }
            return written;
        }
        self.activity.set_stuck(true);
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// When the connection's time is up; `None` while it is busy.
    fn over_at(&self) -> Option<Instant> {
        match self.activity.phase() {
            Phase::Busy(_) => None,
            Phase::Head { begun, .. } => Some(begun + self.limits.header_timeout),
            Phase::Idle(since) => {
                let over = since + self.limits.keepalive;
                Some(self.drained.map_or(over, |drained| drained.min(over)))
            }
        }
    }

    fn set_alarm(&mut self, at: Option<Instant>) {
        let at = at.unwrap_or_else(|| clock::now() + self.limits.keepalive);
        self.alarm.as_mut().reset(at.into());
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
                let arrived = &buffer.filled()[before..];
                if !arrived.is_empty() {
                    match &mut this.speaks {
                        Speaks::Http1(heads) => this.activity.read_http1(heads, arrived),
                        Speaks::Http2(frames) => this.activity.read_http2(!frames.pass(arrived)),
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.or_stalled(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.or_stalled(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.or_stalled_for(this.limits.write_timeout.saturating_mul(FLUSH_STEPS), flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.or_stalled(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_left() {
        let (near, _far) = tokio::io::duplex(16);
        let short = Duration::from_millis(50);
        let limits = Limits { header_timeout: short, keepalive: short, write_timeout: short };
        let mut timed = Timed::new(near, limits, Activity::new(), Closing::default());
        let error = timed.write_all(&[0; 64]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_head_that_began_before_has_only_the_rest_of_its_time() {
        let (near, _far) = tokio::io::duplex(16);
        let minute = Duration::from_secs(60);
        let limits = Limits { header_timeout: minute, keepalive: minute * 60, write_timeout: minute };
        let begun = clock::now().checked_sub(minute).expect("the clock runs");
        let mut timed = Timed::new(near, limits, Activity::since(begun), Closing::default());
        let read = tokio::time::timeout(minute / 2, timed.read_u8()).await.expect("its time is up");
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
    }

    #[tokio::test]
    async fn while_a_client_takes_nothing_that_is_known() {
        let (near, mut far) = tokio::io::duplex(16);
        let long = Duration::from_secs(60);
        let limits = Limits { header_timeout: long, keepalive: long, write_timeout: long };
        let activity = Activity::new();
        let busy = activity.begin();
        let mut timed = Timed::new(near, limits, activity, Closing::default());
        timed.write_all(&[0; 16]).await.expect("there is room");
        assert!(!busy.is_stuck());
        let writing = async {
            timed.write_all(&[0; 16]).await.expect("somebody reads");
            assert!(!busy.is_stuck());
        };
        let reading = async {
            tokio::task::yield_now().await;
            assert!(busy.is_stuck());
            far.read_exact(&mut [0; 32]).await.expect("it was written");
        };
        tokio::join!(writing, reading);
    }

    #[tokio::test]
    async fn so_is_one_for_whom_the_last_bytes_wait_in_a_buffer() {
        let (near, _far) = tokio::io::duplex(16);
        let short = Duration::from_millis(50);
        let limits = Limits { header_timeout: short, keepalive: short, write_timeout: short };
        // TLS keeps what the socket does not take.
        let near = tokio::io::BufWriter::new(near);
        let mut timed = Timed::new(near, limits, Activity::new(), Closing::default());
        timed.write_all(&[0; 64]).await.expect("there is room");
        let error = timed.flush().await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
