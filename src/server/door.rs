//! What a connection meets before its first request: a PROXY header, TLS, and the question which HTTP it speaks.

use super::{
    activity::Activity,
    connection,
    drain::Closing,
    frames::PREFACE,
    http2,
    meter::Meter,
    places::Place,
    prefixed::Prefixed,
    proxy_protocol::{self, Beginning, Proxied},
};
use crate::{
    clock,
    config::server::{Limits, ProxyProtocol},
    gateway::Gateway,
    http::peer::Peer,
};
use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// How long a connection may still take for this once the gateway drains.
const LINGER: Duration = Duration::from_secs(1);

/// What is read at once while nobody knows what it is.
const CHUNK: usize = 1024;

/// What all connections of a listener are served with.
#[derive(Debug, Clone)]
pub(super) struct House {
    pub(super) gateway: Arc<Gateway>,
    pub(super) limits: Limits,
    pub(super) closing: Closing,
    pub(super) meter: Meter,
}

/// What a listener asks of its connections.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) proxy_protocol: ProxyProtocol,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) h2c: bool,
}

/// Nobody can be served: the connection ends without an answer.
struct Unwelcome;

impl Door {
    /// Whether a connection may begin with its first HTTP/1.1 request.
    pub(super) fn is_open(&self) -> bool {
        self.proxy_protocol == ProxyProtocol::Off && self.tls.is_none() && !self.h2c
    }

    /// Lets a connection in and serves it. All that comes before its first request ends within `header_timeout`.
    pub(super) async fn serve<S>(self, mut stream: S, mut peer: Peer, house: House, mut place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let over = clock::now() + house.limits.header_timeout;
        let mut ahead = BytesMut::new();
        let trusted = house.gateway.current().site().trusts(&peer);
        match self.proxied(&mut stream, &mut ahead, trusted, over, &house.closing).await {
            Ok(Some(proxied)) => {
                peer = told(&peer, proxied);
                if !place.belongs_to(&peer, house.gateway.current().site(), house.limits.connections) {
                    return;
                }
            }
            Ok(None) => {}
            Err(Unwelcome) => {
                house.meter.unwelcome.add(peer.worker);
                return tracing::debug!("a connection has no sound PROXY header from a trusted proxy");
            }
        }
        let Some(tls) = self.tls else {
            let begins = match self.h2c {
                true => begins_http2(&mut stream, &mut ahead, &house.limits, &house.closing).await,
                false => Some((false, Activity::new())),
            };
            let Some((is_http2, activity)) = begins else { return };
            return house.serve(Prefixed::new(ahead.freeze(), stream), peer, is_http2, activity).await;
        };
        let handshake = Box::pin(TlsAcceptor::from(tls).accept(Prefixed::new(ahead.freeze(), stream)));
        match within(over, &house.closing, handshake).await {
            Some(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                peer.https = true;
                house.serve(stream, peer, is_http2, Activity::new()).await;
            }
            outcome => {
                house.meter.unwelcome.add(peer.worker);
                let error = outcome.and_then(Result::err);
                tracing::debug!(?error, "a TLS handshake was not finished");
            }
        }
    }

    /// Whom the connection's PROXY header speaks for, if it speaks for somebody.
    async fn proxied(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        ahead: &mut BytesMut,
        trusted: bool,
        over: Instant,
        closing: &Closing,
    ) -> Result<Option<Proxied>, Unwelcome> {
        let required = self.proxy_protocol == ProxyProtocol::Required;
        match (self.proxy_protocol, trusted) {
            (ProxyProtocol::Off, _) | (ProxyProtocol::Optional, false) => return Ok(None),
            (ProxyProtocol::Required, false) => return Err(Unwelcome),
            (ProxyProtocol::Required | ProxyProtocol::Optional, true) => {}
        }
        loop {
            match proxy_protocol::read(ahead) {
                Beginning::Header(length, proxied) => {
                    ahead.advance(length);
                    return Ok(proxied);
                }
                Beginning::Other if !required => return Ok(None),
                Beginning::Other | Beginning::Malformed => return Err(Unwelcome),
                Beginning::Unfinished => {
                    ahead.reserve(CHUNK);
                    let read = within(over, closing, stream.read_buf(ahead)).await;
                    if !matches!(read, Some(Ok(1..))) {
                        return Err(Unwelcome);
                    }
                }
            }
        }
    }
}

impl House {
    async fn serve<S>(self, stream: S, peer: Peer, is_http2: bool, activity: Activity)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Boxed, so that neither holds room for the other.
        if is_http2 {
            Box::pin(http2::serve(stream, peer, self, activity)).await;
        } else {
            Box::pin(connection::serve(stream, peer, self, activity)).await;
        }
    }
}

/// The peer that a header tells about.
fn told(peer: &Peer, Proxied { client, port, https }: Proxied) -> Peer {
    Peer { to_https: peer.to_https, ..Peer::new(Some(client), Some(port), https, peer.worker) }
}

/// Whether a client without TLS begins with HTTP/2; `None` if it falls silent first. Until its first byte it may be as
/// silent as any idle one; then its first head has begun.
async fn begins_http2(
    stream: &mut (impl AsyncRead + Unpin),
    ahead: &mut BytesMut,
    limits: &Limits,
    closing: &Closing,
) -> Option<(bool, Activity)> {
    let mut begun = (!ahead.is_empty()).then(clock::now);
    while ahead.len() < PREFACE.len() && PREFACE.starts_with(ahead) {
        let over = begun.map_or_else(|| clock::now() + limits.keepalive, |begun| begun + limits.header_timeout);
        ahead.reserve(CHUNK);
        if !matches!(within(over, closing, stream.read_buf(ahead)).await, Some(Ok(1..))) {
            return None;
        }
        begun.get_or_insert_with(clock::now);
    }
    Some((ahead.starts_with(PREFACE), begun.map_or_else(Activity::new, Activity::since)))
}

/// What comes of it before `over`; a gateway that leaves does not wait that long.
async fn within<T>(over: Instant, closing: &Closing, work: impl Future<Output = T>) -> Option<T> {
    let leaving = async {
        closing.begins().await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        biased;
        outcome = work => Some(outcome),
        () = tokio::time::sleep_until(over.into()) => None,
        () = leaving => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn begins(bytes: &[u8]) -> Option<bool> {
        let (mut client, mut stream) = tokio::io::duplex(64);
        client.write_all(bytes).await.expect("there is room");
        let short = Duration::from_millis(50);
        let limits = Limits {
            header_bytes: 0,
            headers: 0,
            uri_bytes: 0,
            body_bytes: None,
            header_timeout: short,
            keepalive: short,
            body_timeout: short,
            connections: 0,
            http2_streams: 0,
        };
        let begins = begins_http2(&mut stream, &mut BytesMut::new(), &limits, &Closing::default()).await;
        begins.map(|(is_http2, _)| is_http2)
    }

    #[tokio::test]
    async fn who_falls_silent_before_it_is_known_what_is_spoken_is_not_served() {
        assert_eq!((begins(b"").await, begins(&PREFACE[..10]).await), (None, None));
        assert_eq!((begins(PREFACE).await, begins(b"PRI / HTTP/1.1").await), (Some(true), Some(false)));
    }
}
