//! `onedoor health`: whether the gateway of this configuration answers, for container probes without curl.

use super::{Exit, Files, Outcome, code, load};
use crate::config::server::Listen;
use clap::Args;
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

/// A gateway that needs longer is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Which gateway to ask.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// The address it listens on, instead of the configuration's: a probe that reads no file passes also while a file
    /// that the gateway refused to load is there
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(question: Question) -> Outcome {
    let listen = match question.address {
        Some(address) => Some(Listen::Tcp(address)),
        None => load(&question.files.into())?.config.and_then(|config| config.server.listen.into_iter().next()),
    };
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
