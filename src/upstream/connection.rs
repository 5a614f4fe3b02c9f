//! A connection to an endpoint.

use super::{
    failure::{Failure, describe},
    replay::Replay,
    shared::{Shared, Stream},
    tls::{self, Tls},
    written::{Keeping, OnSocket, Written},
};
use crate::{config::upstreams::Endpoint, http::body::RequestBody, tasks};
use bytes::Bytes;
use http::{
    Request, Response,
    uri::{Authority, Scheme},
};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
    upgrade::{Parts, Upgraded},
};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_rustls::TlsConnector;

/// The most that hyper reads ahead or collects to write on one connection.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// An open connection for one request: of its own, or shared with others.
#[derive(Debug)]
pub(super) enum Connection {
    /// HTTP/1.1, which serves one request at a time.
    Http1 {
        sender: http1::SendRequest<RequestBody>,
        /// How long it may be kept unused, where the upstream said so.
        keepalive: Option<Duration>,
        /// The last head that may be wanted again.
        written: Written,
    },
    /// A place on one of HTTP/2.
    Http2(Stream),
}

/// What is to be spoken on a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// What the endpoint is configured for, or prefers.
    Any,
    /// HTTP/1.1 alone.
    Http1,
}

impl Connection {
    /// Connects within `timeout`, TLS included.
    pub(super) async fn open(
        spec: &Endpoint,
        address: Option<SocketAddr>,
        tls: Option<&Tls>,
        speaks: Speaks,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let opening = async {
            if let Some(socket) = &spec.socket {
                return Ok(Self::start(UnixStream::connect(socket).await?).await?);
            }
            let tcp = match address {
                Some(address) => TcpStream::connect(address).await?,
                None => TcpStream::connect(&*addresses(spec).await?).await?,
            };
            tcp.set_nodelay(true)?;
            let Some(tls) = tls else {
                return Ok(if spec.h2c { Self::share(tcp, spec).await? } else { Self::start(tcp).await? });
            };
            let connector = TlsConnector::from(tls.settings(speaks).clone());
            let stream = connector.connect(tls.name_of(spec)?, tcp).await?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
            Ok(if is_http2 { Self::share(stream, spec).await? } else { Self::start(stream).await? })
        };
        let overdue = |_| Failure::Unreachable(format!("no connection within {timeout:?}"));
        tokio::time::timeout(timeout, opening).await.map_err(overdue)?
    }

    async fn start(io: impl AsyncRead + AsyncWrite + OnSocket + Unpin + Send + 'static) -> io::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let written = Written::default();
        let io = TokioIo::new(Keeping::new(io, written.clone()));
        let (sender, driver) = builder.handshake(io).await.map_err(io::Error::other)?;
        tasks::background(async move {
            // What goes wrong on it is also told to whoever waits for its answer.
            let _ = driver.with_upgrades().await;
        });
        Ok(Self::Http1 { sender, keepalive: None, written })
    }

    async fn share(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, spec: &Endpoint) -> io::Result<Self> {
        let scheme = if spec.https { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = Authority::try_from(spec.authority()).map_err(io::Error::other)?;
        let shared = Shared::begin(io, scheme, authority).await?;
        shared.stream().map(Self::Http2).ok_or_else(|| io::Error::other("it takes no requests"))
    }

    /// Whether the other side has not closed it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Http1 { sender, .. } => !sender.is_closed(),
            Self::Http2(stream) => stream.is_open(),
        }
    }

    /// How long it may be kept unused, where the upstream said so.
    pub(super) fn keepalive(&self) -> Option<Duration> {
        match self {
            Self::Http1 { keepalive, .. } => *keepalive,
            Self::Http2(_) => None,
        }
    }

    /// Notes what the upstream's `Keep-Alive` field said.
    pub(super) fn note_keepalive(&mut self, said: Duration) {
        if let Self::Http1 { keepalive, .. } = self {
            *keepalive = Some(said);
        }
    }

    /// Waits until the exchange before this one has left the wire; `false` if that does not come at once.
    pub(super) async fn is_ready(&mut self) -> bool {
        let Self::Http1 { sender, .. } = self else { return true };
        if sender.is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
        sender.is_ready()
    }

    /// The next request can be sent only once: if the connection turns out to be closed, it is returned unsent.
    pub(super) fn look_twice(&self) {
        if let Self::Http1 { written, .. } = self {
            written.doubt();
        }
    }

    /// No answer came in time: the connection gets no new requests.
    pub(super) fn doubt(&self) {
        if let Self::Http2(stream) = self {
            stream.retire();
        }
    }

    /// Whether others use it, too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// What it takes to send a request again. A shared connection may say of any request that it was not looked at, so
    /// there what has a body is kept, too.
    pub(super) fn replay(&self, request: &mut Request<RequestBody>) -> Option<Replay> {
        match self {
            Self::Http1 { written, .. } => Replay::of_written(request, written),
            Self::Http2(_) => Replay::of_any(request),
        }
    }

    /// Sends a request, which is written for HTTP/1.1. The error holds the request if not a byte of it was sent; boxed,
    /// so that it is not what makes an answer large.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, Box<TrySendError<Request<RequestBody>>>>> + use<> {
        match self {
            Self::Http1 { sender, .. } => Answer::Http1 { answer: sender.try_send_request(request) },
            Self::Http2(stream) => Answer::Http2 { answer: stream.send(request) },
        }
    }
}

/// The socket under a connection that speaks no HTTP any more, and what was read ahead of it; unless there is TLS between.
pub(super) fn bare(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<Keeping<TcpStream>>>()?;
    Ok((io.into_inner().into_inner(), read_buf))
}

/// The addresses of an endpoint's name.
async fn addresses(spec: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
    let found = lookup_host((spec.host.as_str(), spec.port)).await;
    let addresses: Vec<_> = found.map_err(|error| Failure::NoEndpoint(describe(&error)))?.collect();
    if addresses.is_empty() { Err(Failure::NoEndpoint("its name has no address".to_owned())) } else { Ok(addresses) }
}

pin_project! {
    /// The answer of either kind of connection.
    #[project = Projected]
    enum Answer<A, B> {
        Http1 { #[pin] answer: A },
        Http2 { #[pin] answer: B },
    }
}

impl<A, B, T, E> Future for Answer<A, B>
where
    A: Future<Output = Result<T, E>>,
    B: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Box<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Http1 { answer } => answer.poll(cx),
            Projected::Http2 { answer } => answer.poll(cx),
        }
        .map_err(Box::new)
    }
}
