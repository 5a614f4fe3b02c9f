//! One HTTP/2 connection to an endpoint, on which as many requests run at a time as the peer allows.

use super::{failure::describe, form};
use crate::{clock, http::body::RequestBody, tasks};
use http::{
    Request, Response,
    uri::{Authority, Scheme},
};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// What the peer may send ahead of a client that reads slowly. There is no limit for all streams together but their
/// number: one client that does not read must not hold up the others.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// What waits in memory of one request's body until the peer takes it.
const SEND_BUFFER: usize = 64 * 1024;

/// As much as over HTTP/1.1; each field counts 32 bytes more here.
const HEAD_BYTES_MAX: u32 = 256 * 1024;

/// A peer that is silent for this long while it owes answers is asked whether it is there. gRPC servers take it amiss
/// to be asked more often than every five minutes.
const SILENCE: Duration = Duration::from_secs(330);
const SILENCE_AFTER_PING: Duration = Duration::from_secs(20);

/// An open connection; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sender: http2::SendRequest<RequestBody>,
    scheme: Scheme,
    /// What the endpoint itself goes by.
    authority: Authority,
    /// How many requests the peer allows at a time, and how many there are.
    allowed: Arc<AtomicUsize>,
    streams: AtomicUsize,
    unused_since: Mutex<Instant>,
    retired: AtomicBool,
}

/// One request's place on it, given back when dropped.
#[derive(Debug)]
pub(super) struct Stream(Shared);

impl Shared {
    /// Begins HTTP/2 and waits until the peer has said how many requests it takes.
    pub(super) async fn begin(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: Scheme,
        authority: Authority,
    ) -> io::Result<Self> {
        Self::begin_with(io, scheme, authority, [SILENCE, SILENCE_AFTER_PING]).await
    }

    async fn begin_with(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: Scheme,
        authority: Authority,
        [silence, after_ping]: [Duration; 2],
    ) -> io::Result<Self> {
        let greeting = Greeting::default();
        let mut builder = http2::Builder::new(greeting.clone());
        builder
            .timer(TokioTimer::new())
            // None may begin before the peer has said how many there may be.
            .initial_max_send_streams(0)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD_BYTES_MAX)
            .keep_alive_interval(silence)
            .keep_alive_timeout(after_ping);
        let (sender, mut driver) = builder.handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
        poll_fn(|cx| {
            greeting.expect(cx.waker());
            match Pin::new(&mut driver).poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Err(io::Error::other("it does not speak HTTP/2"))),
                Poll::Ready(Err(error)) => {
                    Poll::Ready(Err(io::Error::other(format!("it does not speak HTTP/2: {}", describe(&error)))))
                }
                Poll::Pending if driver.current_max_send_streams() == 0 => Poll::Pending,
                Poll::Pending => Poll::Ready(Ok(())),
            }
        })
        .await?;
        greeting.is_over();
        let allowed = Arc::new(AtomicUsize::new(driver.current_max_send_streams()));
        let told = allowed.clone();
        tasks::background(poll_fn(move |cx| {
            // What goes wrong on it is also told to all who wait for their answers.
            let polled = Pin::new(&mut driver).poll(cx).map(drop);
            told.store(driver.current_max_send_streams(), Relaxed);
            polled
        }));
        let (streams, retired) = (AtomicUsize::new(0), AtomicBool::new(false));
        let unused_since = Mutex::new(clock::now());
        Ok(Self(Arc::new(Inner { sender, scheme, authority, allowed, streams, unused_since, retired })))
    }

    /// A place for one more request, if the peer allows one.
    pub(super) fn stream(&self) -> Option<Stream> {
        let has_room = self.0.streams.load(Relaxed) < self.0.allowed.load(Relaxed);
        has_room.then(|| {
            self.0.streams.fetch_add(1, Relaxed);
            Stream(self.clone())
        })
    }

    /// Whether it takes new requests, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.0.retired.load(Relaxed) && !self.0.sender.is_closed()
    }

    /// Whether it has been without a request since then.
    pub(super) fn is_unused_since(&self, then: Instant) -> bool {
        self.0.streams.load(Relaxed) == 0 && *self.0.unused_since.lock().unwrap_or_else(PoisonError::into_inner) <= then
    }
}

impl Stream {
    /// The connection that it belongs to.
    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }

    /// From now on the connection gets no new requests: its peer may be gone.
    pub(super) fn retire(&self) {
        self.0.0.retired.store(true, Relaxed);
    }

    /// Whether the connection takes requests.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Sends a request that is written for HTTP/1.1. An error holds the request if not a byte of it was sent.
    pub(super) fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
        form::to_http2(&mut request, &self.0.0.scheme, &self.0.0.authority);
        self.0.0.sender.clone().try_send_request(request)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let inner = &self.0.0;
        if inner.streams.fetch_sub(1, Relaxed) == 1 {
            *inner.unused_since.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
        }
    }
}

/// Runs what hyper spawns. While a connection begins, whoever waits for the peer's settings is woken whenever
/// something has happened on it: hyper itself tells nobody.
#[derive(Debug, Clone, Default)]
struct Greeting(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    waker: Option<Waker>,
    over: bool,
}

impl Greeting {
    fn expect(&self, waker: &Waker) {
        self.change(|waiting| waiting.waker = Some(waker.clone()));
    }

    fn is_over(&self) {
        self.change(|waiting| *waiting = Waiting { waker: None, over: true });
    }

    fn wake(&self) {
        if let Some(waker) = self.change(|waiting| waiting.waker.take()) {
            waker.wake();
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Greeting {
    fn execute(&self, task: F) {
        if self.change(|waiting| waiting.over) {
            return tasks::background(task);
        }
        let (mut task, greeting) = (Box::pin(task), self.clone());
        tasks::background(poll_fn(move |cx| {
            let polled = task.as_mut().poll(cx);
            greeting.wake();
            polled
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_has_vanished_is_noticed_while_it_owes_an_answer() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let peer = async {
            let mut peer = h2::server::handshake(theirs).await.expect("a greeting");
            let request = peer.accept().await.expect("a request").expect("a sound one");
            // From now on nobody reads or answers, and nobody closes.
            (peer, request)
        };
        let patience = [Duration::from_millis(50); 2];
        let asking = async {
            let authority = Authority::from_static("own.test");
            let shared = Shared::begin_with(ours, Scheme::HTTP, authority, patience).await.expect("a connection");
            let stream = shared.stream().expect("there is room");
            let answer = stream.send(Request::new(RequestBody::none())).await;
            assert!(answer.is_err_and(|error| error.into_error().is_timeout()));
            assert!(!shared.is_open());
        };
        let (_held, ()) = tokio::join!(peer, asking);
    }
}
