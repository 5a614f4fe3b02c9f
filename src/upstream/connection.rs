//! A connection to an endpoint.

use super::{
    failure::{self, Failure, describe},
    form,
    http1::{Lost, Socket, Wire},
    replay::{self, Replay},
    shared::{Shared, Stream},
    tls::{self, Tls},
};
use crate::{clock, config::upstreams::Endpoint, http::body::RequestBody};
use bytes::Bytes;
use http::{
    Request, Response,
    uri::{Authority, Scheme},
};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_rustls::TlsConnector;

/// An open connection for one request: of its own, or shared with others.
#[derive(Debug)]
pub(super) enum Connection {
    /// HTTP/1.1, which serves one request at a time.
    Http1 {
        wire: Box<Wire>,
        /// When it was opened.
        opened: Instant,
        /// Until when it may be used, where the upstream said so.
        until: Option<Instant>,
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

/// What has become of a request that got no answer. What may be sent again is as it was.
pub(super) enum Fate {
    /// Nothing of it was sent.
    Unsent(Box<Request<RequestBody>>),
    /// The upstream did not look at it.
    Refused(Option<Box<Request<RequestBody>>>),
    /// The upstream ended it, and nothing else.
    Reset,
    /// It may have run; it is here if it may run twice without harm.
    Lost(Option<Box<Request<RequestBody>>>),
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
                return Ok(Self::start(Socket::Unix(UnixStream::connect(socket).await?)));
            }
            let tcp = match address {
                Some(address) => TcpStream::connect(address).await?,
                None => TcpStream::connect(&*addresses(spec).await?).await?,
            };
            tcp.set_nodelay(true)?;
            let Some(tls) = tls else {
                return Ok(if spec.h2c { Self::share(tcp, spec).await? } else { Self::start(Socket::Tcp(tcp)) });
            };
            let connector = TlsConnector::from(tls.settings(speaks).clone());
            let stream = connector.connect(tls.name_of(spec)?, tcp).await?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
            if is_http2 {
                return Ok(Self::share(stream, spec).await?);
            }
            Ok(Self::start(Socket::Tls(Box::new(stream))))
        };
        let overdue = |_| Failure::Unreachable(format!("no connection within {timeout:?}"));
        tokio::time::timeout(timeout, opening).await.map_err(overdue)?
    }

    fn start(socket: Socket) -> Self {
        Self::Http1 { wire: Box::new(Wire::new(socket)), opened: clock::now(), until: None }
    }

    async fn share(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, spec: &Endpoint) -> io::Result<Self> {
        let scheme = if spec.https { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = Authority::try_from(spec.authority()).map_err(io::Error::other)?;
        let shared = Shared::begin(io, scheme, authority).await?;
        shared.stream().map(Self::Http2).ok_or_else(|| io::Error::other("it takes no requests"))
    }

    /// Whether the other side has not closed it, as far as is known.
    pub(super) fn is_open(&mut self) -> bool {
        match self {
            Self::Http1 { wire, .. } => wire.is_open(),
            Self::Http2(stream) => stream.is_open(),
        }
    }

    /// Until when it may be used, where the upstream said so.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Http1 { until, .. } => *until,
            Self::Http2(_) => None,
        }
    }

    /// Notes what the upstream's `Keep-Alive` field said. When the upstream begins to count is not seen from here, but it
    /// is not before the head of its answer.
    pub(super) fn note_keepalive(&mut self, said: Duration) {
        if let Self::Http1 { until, .. } = self {
            *until = Some(clock::now() + said);
        }
    }

    /// Whether it was there already at this time.
    pub(super) fn was_open(&self, at: Instant) -> bool {
        match self {
            Self::Http1 { opened, .. } => *opened <= at,
            Self::Http2(_) => false,
        }
    }

    /// The same as [`Self::is_open`], as far as the system knows: the next request can be sent only once.
    pub(super) fn is_open_for_sure(&self) -> bool {
        match self {
            Self::Http1 { wire, .. } => wire.is_silent(),
            Self::Http2(stream) => stream.is_open(),
        }
    }

    /// Sends a request, which is written for HTTP/1.1, and waits for the head of its answer. The body comes with it over
    /// HTTP/2; over HTTP/1.1 it is read from here. Where a request cannot be sent `again`, it need not be kept.
    pub(super) async fn send(
        &mut self,
        mut request: Box<Request<RequestBody>>,
        again: bool,
    ) -> Result<Response<Option<Incoming>>, (Failure, Fate)> {
        match self {
            Self::Http1 { wire, .. } => match wire.exchange(&mut request).await {
                Ok(head) => Ok(head.map(|()| None)),
                Err(Lost { failure, unsent: true }) => Err((failure, Fate::Unsent(request))),
                Err(Lost { failure, unsent: false }) => {
                    Err((failure, Fate::Lost(replay::may_run_twice(&request).then_some(request))))
                }
            },
            // Boxed: every request over HTTP/1.1 would carry its size.
            Self::Http2(stream) => Box::pin(send_shared(stream, request, again)).await,
        }
    }

    /// The next frame of the answer's body, where it is read from here.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self {
            Self::Http1 { wire, .. } => wire.poll_frame(cx),
            Self::Http2(_) => Poll::Ready(None),
        }
    }

    /// Whether nothing more is to be read of the answer's body from here.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Http1 { wire, .. } => wire.is_over(),
            Self::Http2(_) => true,
        }
    }

    /// How much more is to be read of the answer's body from here.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1 { wire, .. } => wire.size_hint(),
            Self::Http2(_) => SizeHint::with_exact(0),
        }
    }

    /// The answer has passed to its end. Returns the connection if it is to be kept.
    pub(super) fn finish(self) -> Option<Self> {
        match self {
            Self::Http1 { wire, opened, until } => Some(Self::Http1 { wire: wire.finish()?, opened, until }),
            Self::Http2(_) => None,
        }
    }

    /// No answer came in time: the connection gets no new requests.
    pub(super) fn doubt(&self) {
        if let Self::Http2(stream) = self {
            stream.retire();
        }
    }

    /// The connection itself, and what was read ahead of it: HTTP is not spoken on it any more.
    pub(super) fn into_socket(self) -> Option<(Socket, Bytes)> {
        match self {
            Self::Http1 { wire, .. } => wire.into_socket(),
            Self::Http2(_) => None,
        }
    }
}

/// A shared connection may say of any request that it was not looked at, so there what has a body is kept, too.
async fn send_shared(
    stream: &Stream,
    mut request: Box<Request<RequestBody>>,
    again: bool,
) -> Result<Response<Option<Incoming>>, (Failure, Fate)> {
    let replay = if again { Some(Replay::of_any(&mut request)) } else { None };
    match stream.send(*request).await {
        Ok(response) => Ok(response.map(Some)),
        Err(mut error) => {
            let unsent = error.take_message();
            let error = error.into_error();
            let fate = match unsent {
                Some(mut unsent) => {
                    form::to_http1(&mut unsent);
                    Fate::Unsent(Box::new(unsent))
                }
                None if failure::is_refused(&error) => Fate::Refused(replay.and_then(Replay::into_request)),
                None if failure::is_reset(&error) => Fate::Reset,
                None => Fate::Lost(replay.and_then(Replay::twice)),
            };
            Err((error.into(), fate))
        }
    }
}

/// The addresses of an endpoint's name.
async fn addresses(spec: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
    let found = lookup_host((spec.host.as_str(), spec.port)).await;
    let addresses: Vec<_> = found.map_err(|error| Failure::NoEndpoint(describe(&error)))?.collect();
    if addresses.is_empty() { Err(Failure::NoEndpoint("its name has no address".to_owned())) } else { Ok(addresses) }
}
