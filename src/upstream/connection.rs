//! One HTTP/1.1 connection to an endpoint.

use super::{
    failure::{Failure, describe},
    tls::Tls,
};
use crate::{config::upstreams::Endpoint, http::body::RequestBody, tasks};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

/// The most that hyper reads ahead or collects to write on one connection.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// An open connection that serves one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    keepalive: Option<Duration>,
}

impl Connection {
    /// Connects within `timeout`, TLS included.
    pub(super) async fn open(
        spec: &Endpoint,
        address: Option<SocketAddr>,
        tls: Option<&Tls>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let opening = async {
            if let Some(socket) = &spec.socket {
                return Self::start(UnixStream::connect(socket).await?).await;
            }
            let tcp = match address {
                Some(address) => TcpStream::connect(address).await?,
                None => TcpStream::connect((spec.host.as_str(), spec.port)).await?,
            };
            tcp.set_nodelay(true)?;
            match tls {
                Some(tls) => {
                    let connector = TlsConnector::from(tls.settings.clone());
                    Self::start(connector.connect(tls.name_of(spec)?, tcp).await?).await
                }
                None => Self::start(tcp).await,
            }
        };
        match tokio::time::timeout(timeout, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Failure::Unreachable(describe(&error))),
            Err(_) => Err(Failure::Unreachable(format!("no connection within {timeout:?}"))),
        }
    }

    async fn start(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let (sender, driver) = builder.handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
        tasks::background(async move {
            // What goes wrong on it is also told to whoever waits for its answer.
            let _ = driver.with_upgrades().await;
        });
        Ok(Self { sender, keepalive: None })
    }

    /// Whether the other side has not closed it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// How long it may be kept unused, where the upstream said so.
    pub(super) fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    /// Notes what the upstream's `Keep-Alive` field said.
    pub(super) fn note_keepalive(&mut self, keepalive: Duration) {
        self.keepalive = Some(keepalive);
    }

    /// Waits until the exchange before this one has left the wire; `false` if that does not come at once.
    pub(super) async fn is_ready(&mut self) -> bool {
        if self.sender.is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
        self.sender.is_ready()
    }

    /// Sends a request. The error holds the request if not a byte of it was sent; boxed, so that it is not what makes
    /// an answer large.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, Box<TrySendError<Request<RequestBody>>>>> + use<> {
        let answer = self.sender.try_send_request(request);
        async move { answer.await.map_err(Box::new) }
    }
}
