//! A WebSocket between a client and an upstream: bytes pass as they are, and the gateway itself says nothing but goodbye.

use super::{endpoint::Place, failure::Failure, http1::Socket, streaming::Lease};
use crate::http::websocket::{Frames, Goodbye, Peer};
use bytes::Bytes;
use silence::Silence;
use std::{
    future::poll_fn,
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop,
};

mod silence;
mod socket;

/// The most that is read at once. It is read to the stack and kept only while the other side does not take it, so that
/// a silent tunnel holds no buffer.
const PIECE_BYTES: usize = 16 * 1024;

/// How long a side may be silent when the other has closed: a WebSocket has no use for half a connection.
const HALF_OPEN: Duration = Duration::from_secs(30);

/// How long both sides may take to answer a Close frame.
const FAREWELL: Duration = Duration::from_secs(5);

/// An upstream's side of a WebSocket that it has agreed to. It is one of the endpoint's requests as long as it lasts.
#[derive(Debug)]
pub struct Tunnel {
    upstream: Socket,
    /// What the upstream has said already.
    ahead: Bytes,
    place: Place,
    idle: Duration,
}

/// Bytes that have just passed.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// From the upstream to the client.
    pub to_client: u64,
    /// From the client to the upstream.
    pub to_upstream: u64,
}

/// Why a tunnel is over.
#[derive(Debug)]
pub enum TunnelEnd {
    /// Both sides have closed it.
    Closed,
    /// Nothing passed for as long as `tunnel_idle` allows.
    Idle,
    /// The gateway leaves.
    Leaving,
    /// The session is over that it was opened with.
    SessionOver,
    /// One side broke off.
    Broken(io::Error),
}

impl std::fmt::Display for TunnelEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("both sides have closed it"),
            Self::Idle => f.write_str("nothing passed within tunnel_idle"),
            Self::Leaving => f.write_str("the gateway leaves"),
            Self::SessionOver => f.write_str("the session is over"),
            Self::Broken(error) => write!(f, "one side broke off: {error}"),
        }
    }
}

impl TunnelEnd {
    fn goodbye(&self) -> Goodbye {
        match self {
            Self::SessionOver => Goodbye::SessionOver,
            Self::Closed | Self::Idle | Self::Leaving | Self::Broken(_) => Goodbye::GoingAway,
        }
    }
}

impl Tunnel {
    /// Takes the connection over whose upstream has agreed, if it is one that can be.
    pub(super) fn new(lease: Lease, idle: Duration) -> Result<Self, (Failure, Place)> {
        let Lease { connection, place, .. } = lease;
        match connection.into_socket() {
            Some((upstream, ahead)) => Ok(Self { upstream, ahead, place, idle }),
            None => Err((Failure::Invalid("a connection that others use is no WebSocket's".to_owned()), place)),
        }
    }

    /// Passes bytes until both sides have closed; `early` is what the client sent before it was told that it may.
    /// Once `closing` says why, both sides are sent a Close frame, each behind the frame that is open.
    pub async fn pass(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin + 'static,
        early: &[u8],
        closing: impl FnMut(&mut Context<'_>) -> Poll<TunnelEnd>,
        tell: impl FnMut(Passed),
    ) -> TunnelEnd {
        let Self { upstream, ahead, place, idle } = self;
        let (mut up, mut down) = (Way::new(Peer::Server), Way::new(Peer::Client));
        up.take(early);
        down.take(&ahead);
        drop(ahead);
        let end = match upstream {
            // Bare, so that what can be done at once is.
            Socket::Tcp(upstream) => Ends { client, upstream, up, down }.last(idle, closing, tell).await,
            upstream => Ends { client, upstream, up, down }.last(idle, closing, tell).await,
        };
        drop(place);
        end
    }
}

/// Both ends and both ways between them.
struct Ends<C, U> {
    client: C,
    upstream: U,
    up: Way,
    down: Way,
}

impl<C, U> Ends<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    async fn last(
        mut self,
        idle: Duration,
        mut closing: impl FnMut(&mut Context<'_>) -> Poll<TunnelEnd>,
        mut tell: impl FnMut(Passed),
    ) -> TunnelEnd {
        let (mut silence, mut waker) = (Silence::new(idle), None::<Waker>);
        let (mut leaving, mut parted) = (None::<TunnelEnd>, false);
        poll_fn(|cx| {
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                waker = Some(cx.waker().clone());
                (self.up.waits, self.down.waits) = (false, false);
                silence.forget_waker();
            }
            if leaving.is_none()
                && let Poll::Ready(end) = closing(cx)
            {
                leaving = Some(end);
            }
            loop {
                let (passed, over) = self.poll(leaving.as_ref().map(TunnelEnd::goodbye), cx);
                if passed.to_client + passed.to_upstream > 0 {
                    tell(passed);
                    if leaving.is_none() {
                        silence.end();
                    }
                }
                match over {
                    Poll::Ready(Ok(())) => return Poll::Ready(leaving.take().unwrap_or(TunnelEnd::Closed)),
                    Poll::Ready(Err(error)) => return Poll::Ready(TunnelEnd::Broken(error)),
                    Poll::Pending => {}
                }
                if leaving.is_some() && !parted {
                    // A frame that is open may take as long as the drain does, but whose session is over must go now.
                    let may_wait = matches!(leaving, Some(TunnelEnd::Leaving));
                    if may_wait && !self.up.has_left || !self.down.has_left {
                        return Poll::Pending;
                    }
                    silence.begin(FAREWELL);
                    parted = true;
                }
                if leaving.is_none() && (self.up.shut || self.down.shut) {
                    silence.shorten(HALF_OPEN);
                }
                ready!(silence.poll(cx));
                if let Some(end) = leaving.take() {
                    return Poll::Ready(end);
                }
                (leaving, parted) = (Some(TunnelEnd::Idle), true);
                silence.begin(FAREWELL);
            }
        })
        .await
    }

    /// Passes what can pass now; ready when both ways are over, or one end broke.
    fn poll(&mut self, leaving: Option<Goodbye>, cx: &mut Context<'_>) -> (Passed, Poll<io::Result<()>>) {
        let before = (self.up.passed, self.down.passed);
        let up = self.up.poll(&mut self.client, &mut self.upstream, leaving, cx);
        let down = self.down.poll(&mut self.upstream, &mut self.client, leaving, cx);
        let passed = Passed { to_client: self.down.passed - before.1, to_upstream: self.up.passed - before.0 };
        let over = match (up, down) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        };
        (passed, over)
    }
}

/// One way through a tunnel.
#[derive(Debug)]
struct Way {
    /// Whom it leads to.
    to: Peer,
    frames: Frames,
    /// What was read and not yet taken.
    rest: Vec<u8>,
    flushed: bool,
    /// It has nothing to do before something comes, and is woken then.
    waits: bool,
    /// Nothing more is passed on but `rest`: the gateway has said goodbye.
    has_left: bool,
    /// Nothing more comes.
    ended: bool,
    shut: bool,
    passed: u64,
}

impl Way {
    fn new(to: Peer) -> Self {
        Self {
            to,
            frames: Frames::default(),
            rest: Vec::new(),
            flushed: true,
            waits: false,
            has_left: false,
            ended: false,
            shut: false,
            passed: 0,
        }
    }

    fn poll<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        leaving: Option<Goodbye>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin + 'static,
        W: AsyncWrite + Unpin + 'static,
    {
        // A wake is mostly for the other way.
        if self.waits && leaving.is_none() && socket::is_quiet(from) {
            return Poll::Pending;
        }
        self.waits = false;
        let (mut from, mut to, mut is_first) = (Pin::new(from), Pin::new(to), true);
        while !self.shut {
            while !self.rest.is_empty() {
                let taken = ready!(to.as_mut().poll_write(cx, &self.rest))?;
                self.wrote(taken)?;
                self.rest.drain(..taken);
                if self.rest.is_empty() {
                    self.rest = Vec::new();
                }
            }
            if let Some(why) = leaving.filter(|_| !self.has_left && self.frames.is_between()) {
                self.leave(why);
                continue;
            }
            let mut room = [const { MaybeUninit::uninit() }; PIECE_BYTES];
            let mut buffer;
            // What goes on and on takes its turns with other tasks: only the first read is done at once.
            let at_once = mem::take(&mut is_first);
            let piece = if self.ended {
                &[]
            } else if let Some(read) = at_once.then(|| socket::read_now(&*from, &mut room)).flatten() {
                read?
            } else {
                buffer = ReadBuf::uninit(&mut room);
                match from.as_mut().poll_read(cx, &mut buffer) {
                    Poll::Pending => {
                        ready!(self.flush(to.as_mut(), cx))?;
                        // Without a budget nobody was asked who would wake it.
                        self.waits = coop::has_budget_remaining();
                        return Poll::Pending;
                    }
                    Poll::Ready(read) => read?,
                }
                buffer.filled()
            };
            if piece.is_empty() {
                self.ended = true;
                ready!(self.flush(to.as_mut(), cx))?;
                ready!(to.as_mut().poll_shutdown(cx))?;
                self.shut = true;
            } else if let Some(why) = leaving {
                self.take_last(piece, why);
            } else if let Poll::Ready(taken) = write(to.as_mut(), cx, piece) {
                let taken = taken?;
                self.wrote(taken)?;
                self.frames.pass(&piece[..taken]);
                self.take(&piece[taken..]);
            } else {
                self.take(piece);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps what the other side has not taken yet.
    fn take(&mut self, piece: &[u8]) {
        self.frames.pass(piece);
        self.rest.extend_from_slice(piece);
    }

    /// Keeps what belongs to the frame that is open; what follows it is only looked at for an answer to the goodbye.
    fn take_last(&mut self, mut piece: &[u8], why: Goodbye) {
        if !self.has_left {
            let (open, later) = piece.split_at(self.frames.pass_frame(piece));
            self.rest.extend_from_slice(open);
            piece = later;
            if self.frames.is_between() {
                self.leave(why);
            }
        }
        self.frames.pass(piece);
        self.ended |= self.has_left && self.frames.said_close();
    }

    fn leave(&mut self, why: Goodbye) {
        self.has_left = true;
        self.ended |= self.frames.said_close();
        if !self.frames.said_close() {
            self.rest.extend(self.to.close(why));
        }
    }

    fn wrote(&mut self, taken: usize) -> io::Result<()> {
        self.flushed = false;
        self.passed += taken as u64;
        if taken == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    fn flush(&mut self, to: Pin<&mut impl AsyncWrite>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.flushed {
            ready!(to.poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn write<W: AsyncWrite + 'static>(to: Pin<&mut W>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match socket::write_now(&*to, bytes) {
        Some(written) => Poll::Ready(written),
        None => to.poll_write(cx, bytes),
    }
}

#[cfg(test)]
mod tests;
