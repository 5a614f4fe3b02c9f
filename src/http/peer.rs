//! Who is on the other end of a connection, as the socket says.

use crate::tasks::Worker;
use http::HeaderValue;
use std::net::IpAddr;

/// Who is on the other end of a connection, as the socket says.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The peer's address, an IPv4-mapped IPv6 one as IPv4; `None` on a unix socket.
    pub address: Option<IpAddr>,
    /// The port that it connected to; `None` on a unix socket.
    pub local_port: Option<u16>,
    /// TLS on this listener, or on that of a proxy that hands its connections on.
    pub https: bool,
    /// It came to the address that sends everybody to https.
    pub to_https: bool,
    /// The worker that serves the connection.
    pub worker: Worker,
    /// `address` as a field's value, made once for all requests of the connection.
    pub text: Option<HeaderValue>,
}

impl Peer {
    /// The peer at this address, as it reached `worker`.
    pub fn new(address: Option<IpAddr>, local_port: Option<u16>, https: bool, worker: Worker) -> Self {
        let address = address.map(|address| address.to_canonical());
        let text = address.and_then(|address| HeaderValue::try_from(address.to_string()).ok());
        Self { address, local_port, https, to_https: false, worker, text }
    }
}
