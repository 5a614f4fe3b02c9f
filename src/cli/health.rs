//! `onedoor health`: whether the gateway of this configuration answers, for container probes without curl.

use super::{Exit, Outcome, code, load};
use crate::{config::server::Listen, reload::Source};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

/// A gateway that needs longer is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(source: &Source) -> Outcome {
    let loaded = load(source)?;
    let listen = loaded.config.and_then(|config| config.server.listen.into_iter().next());
    let Some(listen) = listen else { return Ok(()) };
    match ask(&listen) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Exit::new(code::UNAVAILABLE, "the gateway is draining or does not answer with 200")),
        Err(error) => Err(Exit::new(code::UNAVAILABLE, format_args!("the gateway cannot be reached: {error}"))),
    }
}

fn ask(listen: &Listen) -> io::Result<bool> {
    match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream)
        }
    }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<bool> {
    stream.write_all(b"GET /_onedoor/healthz HTTP/1.0\r\n\r\n")?;
    let mut status_line = [0; 12];
    stream.read_exact(&mut status_line)?;
    Ok(status_line.ends_with(b" 200"))
}

/// An address that listens everywhere is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
