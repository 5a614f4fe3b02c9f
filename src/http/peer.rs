//! Who is on the other end of a connection, as the socket says.

use crate::tasks::Worker;
use std::net::IpAddr;

/// Who is on the other end of a connection, as the socket says.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The peer's address, an IPv4-mapped IPv6 one as IPv4; `None` on a unix socket.
    pub address: Option<IpAddr>,
    /// The port that it connected to; `None` on a unix socket.
    pub local_port: Option<u16>,
    /// TLS on this listener.
    pub https: bool,
    /// The worker that serves the connection.
    pub worker: Worker,
}
