//! HTTP/1.1 towards an upstream: one connection, driven by the request that uses it. There is no task behind it and
//! nothing between: a request waits on the socket itself.

mod framing;
mod head;
mod socket;
mod upload;

use super::failure::Failure;
use crate::{http::body::RequestBody, tasks};
use bytes::{Bytes, BytesMut};
pub(super) use framing::settle_length;
pub use framing::{Chunks, Framed, Piece};
pub use head::{Answer, Search};
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};
pub(super) use socket::Socket;
use std::{
    fmt,
    future::poll_fn,
    io, mem,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::oneshot,
};
use tokio_util::io::poll_read_buf;
use upload::{Fault, Upload};

/// The most fields in a head, and behind a body.
const FIELDS_MAX: usize = 100;

/// How much is read at once: more, while more than that comes.
const READ_BYTES: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 128 * 1024;

/// How long the rest of a request may still be sent whose answer is over already. Clients that read only when they have
/// written all get to read it.
const LINGER: Duration = Duration::from_secs(30);

/// Bytes that are no answer, or may be read as two, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsound(&'static str);

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<Unsound> for Failure {
    fn from(Unsound(why): Unsound) -> Self {
        Self::Invalid(why.to_owned())
    }
}

/// A connection to an endpoint, which has one request at a time.
pub(super) struct Wire {
    line: Line,
    /// What was read and belongs to nothing yet. It takes no room while there is nothing to be read.
    read: BytesMut,
    /// How much the next read asks for.
    appetite: usize,
    /// What is still to come of the answer's body.
    body: Framed,
    /// Whether another request may follow.
    keeps: bool,
}

enum Line {
    Whole(Socket),
    /// The rest of a request is being sent by a task, which is told when the answer is over. Without a word, it ends.
    Reading(ReadHalf<Socket>, oneshot::Sender<()>),
    Closed,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) failure: Failure,
    /// Not a byte of it was sent, and it is as it was.
    pub(super) unsent: bool,
}

impl Wire {
    pub(super) fn new(socket: Socket) -> Self {
        Self { line: Line::Whole(socket), read: BytesMut::new(), appetite: READ_BYTES, body: Framed::Over, keeps: true }
    }

    /// Whether it can take a request, as far as is known: the one before is over, and since then the other side has
    /// neither closed nor said anything.
    pub(super) fn is_open(&mut self) -> bool {
        self.is_free() && self.read(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Whether all of the exchange before has passed, and another may follow it.
    fn is_free(&self) -> bool {
        self.keeps && self.body == Framed::Over && self.read.is_empty() && matches!(self.line, Line::Whole(_))
    }

    /// The same as [`Self::is_open`], as far as the system knows.
    pub(super) fn is_silent(&self) -> bool {
        matches!(&self.line, Line::Whole(socket) if socket.is_silent())
    }

    /// Sends a request and waits for the head of its answer. The body of the request may be gone then, and the rest of
    /// it is left as it was.
    ///
    /// Dropping the future leaves a connection that is good for nothing.
    pub(super) async fn exchange(&mut self, request: &mut Request<RequestBody>) -> Result<Response<()>, Lost> {
        (self.appetite, self.keeps) = (READ_BYTES, false);
        let (mut upload, is_to_head) = (Upload::of(request), *request.method() == Method::HEAD);
        let mut sending = Sending { upload: &mut upload, body: request.body_mut(), is_broken: false };
        let mut search = Search::default();
        let answer = poll_fn(|cx| self.poll_answer(&mut sending, &mut search, is_to_head, cx)).await;
        let is_broken = sending.is_broken;
        let Answer { head, body, keeps } = answer.map_err(|failure| {
            let unsent = !upload.has_begun() && !matches!(failure, Failure::Body(_));
            Lost { failure, unsent }
        })?;
        (self.body, self.keeps) = (body, keeps && !is_broken);
        if !upload.is_over() && !is_broken {
            self.send_rest(upload, mem::replace(request.body_mut(), RequestBody::none()));
        }
        Ok(head)
    }

    fn poll_answer(
        &mut self,
        sending: &mut Sending<'_>,
        search: &mut Search,
        is_to_head: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Failure>> {
        if let Line::Whole(socket) = &mut self.line {
            sending.poll(socket, cx)?;
        }
        if !sending.upload.is_under_way() {
            // Whatever comes now answers something else.
            return Poll::Pending;
        }
        loop {
            if let Some(answer) = search.take(&mut self.read, is_to_head)? {
                return Poll::Ready(Ok(answer));
            }
            if ready!(self.read(cx))? == 0 {
                let closed = "the connection was closed before the answer";
                return Poll::Ready(Err(Failure::Unreachable(closed.to_owned())));
            }
        }
    }

    /// Lets a task send the rest of a request: the client may read its answer only when it has written all.
    fn send_rest(&mut self, mut upload: Upload, mut body: RequestBody) {
        let Line::Whole(socket) = mem::replace(&mut self.line, Line::Closed) else { return };
        let (read, write) = tokio::io::split(socket);
        let (over, told) = oneshot::channel();
        self.line = Line::Reading(read, over);
        tasks::background(async move { linger(send(&mut upload, &mut body, write), told, LINGER).await });
    }

    /// The next frame of the answer's body.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polled = ready!(self.poll_piece(cx));
        if polled.is_err() {
            self.line = Line::Closed;
        }
        Poll::Ready(match polled {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End | Piece::Unfinished) => None,
            Err(failure) => Some(Err(failure)),
        })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        loop {
            match self.body.take(&mut self.read)? {
                Piece::Unfinished => {}
                piece => return Poll::Ready(Ok(piece)),
            }
            if ready!(self.read(cx))? == 0 {
                let cut = || Failure::Unreachable("the connection was closed before its end".to_owned());
                return Poll::Ready(if self.body.close() { Ok(Piece::End) } else { Err(cut()) });
            }
        }
    }

    /// Whether all of the answer's body was taken.
    pub(super) fn is_over(&self) -> bool {
        self.body == Framed::Over
    }

    /// How much is still to come of the answer's body.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.body {
            Framed::Over => SizeHint::with_exact(0),
            Framed::Length(left) => SizeHint::with_exact(left),
            Framed::Chunked(_) | Framed::Close => SizeHint::default(),
        }
    }

    /// The answer has passed to its end. Returns the connection if it may be used again; where the request has not
    /// passed to its own, it may for a while.
    pub(super) fn finish(mut self: Box<Self>) -> Option<Box<Self>> {
        if self.is_free() {
            self.read = BytesMut::new();
            return Some(self);
        }
        if let Line::Reading(_, over) = self.line {
            // It may be through already.
            let _ = over.send(());
        }
        None
    }

    /// The connection itself, and what was read ahead of it: HTTP is not spoken on it any more.
    pub(super) fn into_socket(self) -> Option<(Socket, Bytes)> {
        match self.line {
            Line::Whole(socket) => Some((socket, self.read.freeze())),
            Line::Reading(..) | Line::Closed => None,
        }
    }

    /// Reads what there is; nothing is the end.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Line::Whole(socket) = &self.line {
            ready!(socket.poll_heard(cx))?;
        }
        let room = self.read.capacity() - self.read.len();
        if room < self.appetite / 4 {
            self.read.reserve(self.appetite);
        }
        let room = self.read.capacity() - self.read.len();
        let polled = match &mut self.line {
            Line::Whole(socket) => poll_read_buf(Pin::new(socket), cx, &mut self.read),
            Line::Reading(socket, _) => poll_read_buf(Pin::new(socket), cx, &mut self.read),
            Line::Closed => Poll::Ready(Ok(0)),
        };
        match &polled {
            Poll::Ready(Ok(count)) if *count == room => self.appetite = (2 * self.appetite).min(READ_BYTES_MAX),
            Poll::Pending if self.read.is_empty() => self.read = BytesMut::new(),
            Poll::Ready(_) | Poll::Pending => {}
        }
        polled
    }
}

/// A request that is being sent while its answer is waited for.
struct Sending<'a> {
    upload: &'a mut Upload,
    body: &'a mut RequestBody,
    /// The other side takes no more of it. An answer may be there all the same.
    is_broken: bool,
}

impl Sending<'_> {
    fn poll(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.is_broken || self.upload.is_over() {
            return Ok(());
        }
        match self.upload.poll(socket, self.body, cx) {
            Poll::Ready(Err(Fault::Body(fault))) => Err(Failure::Body(fault)),
            Poll::Ready(Err(Fault::Io(error))) if !self.upload.has_begun() => Err(error.into()),
            Poll::Ready(Err(Fault::Io(_))) => {
                self.is_broken = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

/// Drives what is being sent until its answer is `over`, and so much `longer`; without a word of that, it ends.
async fn linger(sending: impl Future<Output = ()>, over: oneshot::Receiver<()>, longer: Duration) {
    let mut sending = pin!(sending);
    tokio::select! {
        () = &mut sending => {}
        over = over => if over.is_ok() {
            // Whether that was enough is the client's business.
            let _ = tokio::time::timeout(longer, sending).await;
        }
    }
}

async fn send(upload: &mut Upload, body: &mut RequestBody, mut to: WriteHalf<Socket>) {
    if poll_fn(|cx| upload.poll(&mut to, body, cx)).await.is_err() {
        // The other side hears that it is not whole.
        let _ = to.shutdown().await;
    }
}

impl fmt::Debug for Wire {
    /// Shows nothing of what was read: it holds what is meant for the client alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("keeps", &self.keeps).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
