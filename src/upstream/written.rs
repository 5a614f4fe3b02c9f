//! Heads of requests as a connection wrote them: to keep one costs less than to note it before it is sent. And a last
//! look at a connection before one goes out that can be sent only once.

use crate::http::body::RequestBody;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use socket2::SockRef;
use std::{
    fmt, io,
    mem::{self, MaybeUninit},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

/// An unused connection keeps no more room than this.
const ROOM_MAX: usize = 4096;

/// The head of the last request on one connection; shared by whoever sends and the socket.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kept: Mutex<Kept>,
    /// Before the next write the system is asked whether the other side has closed.
    doubted: AtomicBool,
}

#[derive(Default)]
struct Kept {
    /// The next write is a head that is wanted.
    awaited: bool,
    head: Vec<u8>,
}

/// A connection that keeps the heads that are wanted of it.
pub(super) struct Keeping<S> {
    stream: S,
    written: Written,
}

impl Written {
    /// A request without a body is about to be sent, whose head is wanted.
    pub(super) fn begin(&self) -> Self {
        let mut kept = self.kept();
        kept.awaited = true;
        kept.head.clear();
        kept.head.shrink_to(ROOM_MAX);
        self.clone()
    }

    /// The request that was sent since, if it went out whole.
    pub(super) fn request(&self) -> Option<Request<RequestBody>> {
        read(&mem::take(&mut self.kept().head))
    }

    /// A request is about to be sent that must not be lost on a connection that was closed a moment ago: it is returned
    /// unsent. hyper looks before it writes, but sees only what the runtime has heard of so far.
    pub(super) fn doubt(&self) {
        self.0.doubted.store(true, Relaxed);
    }

    /// hyper writes a head at once, and nothing behind it where there is no body.
    fn note<'a>(&self, slices: impl Iterator<Item = &'a [u8]>) {
        let mut kept = self.kept();
        if mem::take(&mut kept.awaited) {
            slices.for_each(|slice| kept.head.extend_from_slice(slice));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands on a socket of the system.
pub(super) trait OnSocket {
    fn socket(&self) -> SockRef<'_>;
}

impl OnSocket for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        self.into()
    }
}

impl OnSocket for UnixStream {
    fn socket(&self) -> SockRef<'_> {
        self.into()
    }
}

impl OnSocket for TlsStream<TcpStream> {
    fn socket(&self) -> SockRef<'_> {
        self.get_ref().0.into()
    }
}

/// Whether the other side has nothing more to say than what was read: it has neither closed nor spoken unasked.
fn is_silent(stream: &impl OnSocket) -> bool {
    let heard = stream.socket().peek(&mut [MaybeUninit::uninit()]);
    heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// A head that is whole, as a request.
fn read(head: &[u8]) -> Option<Request<RequestBody>> {
    let mut lines = head.strip_suffix(b"\r\n\r\n")?.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?);
    }
    let (method, target) = (Method::from_bytes(method).ok()?, Uri::try_from(target).ok()?);
    Some(request(method, target, headers, RequestBody::none()))
}

/// A request of these parts, to be sent again.
pub(super) fn request(method: Method, target: Uri, headers: HeaderMap, body: RequestBody) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    request
}

impl fmt::Debug for Written {
    /// Shows nothing: a head holds cookies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written(..)")
    }
}

impl<S> Keeping<S> {
    pub(super) fn new(stream: S, written: Written) -> Self {
        Self { stream, written }
    }

    /// The connection, of which no head is wanted any more.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + OnSocket + Unpin> AsyncRead for Keeping<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let doubted = &this.written.0.doubted;
        if doubted.load(Relaxed) && doubted.swap(false, Relaxed) && read.is_pending() && !is_silent(&this.stream) {
            // It has ended, or is of no use any more.
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Keeping<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.written.note([bytes].into_iter());
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.written.note(slices.iter().map(|slice| &**slice));
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream as Blocking};
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn what_the_system_knows_is_asked_for_where_the_runtime_cannot_know_it_yet() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        for said in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b""] {
            let ours = Blocking::connect(listener.local_addr().expect("an address")).expect("a connection");
            ours.set_nonblocking(true).expect("it can be");
            let (mut theirs, written) = (listener.accept().expect("a connection").0, Written::default());
            let mut ours = Keeping::new(TcpStream::from_std(ours).expect("it can be"), written.clone());
            let mut read = || {
                let (mut room, mut cx) = ([0; 8], Context::from_waker(std::task::Waker::noop()));
                Pin::new(&mut ours).poll_read(&mut cx, &mut ReadBuf::new(&mut room))
            };
            assert!(read().is_pending());
            written.doubt();
            assert!(read().is_pending(), "nothing has happened");
            io::Write::write_all(&mut theirs, said).expect("there is room");
            drop(theirs);
            // The runtime has not run since.
            assert!(read().is_pending());
            written.doubt();
            assert!(matches!(read(), Poll::Ready(Ok(()))));
        }
    }

    #[tokio::test]
    async fn a_request_comes_back_as_it_was_sent() {
        let head =
            b"PUT /a?b:c HTTP/1.1\r\naccept: x\r\ncookie: a=1\r\naccept: y: z\r\nx-bytes: \xff\t:\r\nx-empty: \r\n\r\n";
        let written = Written::default();
        let mut stream = Keeping::new(tokio::io::sink(), written.clone());
        for wanted in [true, false] {
            if wanted {
                written.begin();
            }
            stream.write_all(head).await.expect("a sink takes all");
            stream.write_all(b"what follows").await.expect("a sink takes all");
            let again = written.request();
            assert_eq!(again.is_some(), wanted);
            let Some(again) = again else { continue };
            assert_eq!((again.method(), again.uri().to_string().as_str()), (&Method::PUT, "/a?b:c"));
            let fields: Vec<_> =
                again.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let wanted: [(&str, &[u8]); 5] =
                [("accept", b"x"), ("accept", b"y: z"), ("cookie", b"a=1"), ("x-bytes", b"\xff\t:"), ("x-empty", b"")];
            assert_eq!(fields, wanted);
        }
    }

    #[test]
    fn what_is_not_whole_is_not_sent_again() {
        for head in ["", "GET / HTTP/1.1\r\nhost: a\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nhost\r\n\r\n"] {
            assert!(read(head.as_bytes()).is_none(), "{head:?}");
        }
    }
}
