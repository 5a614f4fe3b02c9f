//! `onedoor health`: whether the gateway of this configuration answers, for container probes without curl.

use super::{Exit, Files, Outcome, code, load};
use crate::config::{
    Config,
    server::{Listen, ProxyProtocol},
};
use clap::Args;
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

/// A gateway that needs longer is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The longest page that is read.
const PAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The page of the site's own listeners.
const SITE: &str = "/_onedoor/healthz";

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
    let door = match question.address {
        Some(address) => Some((Listen::Tcp(address), SITE)),
        None => match load(&question.files.into())?.config {
            Some(config) => door(&config),
            None => return Ok(()),
        },
    };
    let Some((listen, page)) = door else {
        let text = "no address of the gateway answers to a plain request: give [admin] a `listen`";
        return Err(Exit::new(code::UNAVAILABLE, text));
    };
    match read(&listen, page) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Exit::new(code::UNAVAILABLE, "the gateway is draining or does not answer with 200")),
        Err(error) => Err(Exit::new(code::UNAVAILABLE, format_args!("the gateway cannot be reached: {error}"))),
    }
}

/// An address that answers to a plain request, and the page to ask for.
fn door(config: &Config) -> Option<(Listen, &'static str)> {
    let server = &config.server;
    let answers = |listen: &&Listen| match listen {
        Listen::Tcp(_) => server.tls.is_none(),
        Listen::Unix(_) => true,
        Listen::Passed(_) => false,
    };
    let site = server.listen.iter().find(answers).cloned();
    let to_https = || server.tls.as_ref().and_then(|tls| tls.redirect_from).map(Listen::Tcp);
    let site = site.or_else(to_https).filter(|_| server.proxy_protocol != ProxyProtocol::Required);
    let admin = || config.admin.listen.map(|address| (Listen::Tcp(address), "/readyz"));
    site.map(|listen| (listen, SITE)).or_else(admin)
}

/// A page of the gateway that listens there, head included, if its status is 200.
pub(super) fn read(listen: &Listen, page: &str) -> io::Result<Option<String>> {
    match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream, page)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream, page)
        }
        Listen::Passed(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn exchange(mut stream: impl Read + Write, page: &str) -> io::Result<Option<String>> {
    // The admin page wants a Host that it knows.
    write!(stream, "GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut answer)?;
    Ok((answer.get(8..12) == Some(" 200")).then_some(answer))
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
