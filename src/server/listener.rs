//! Listening: each worker has an accept queue of its own, and no address is shared with another process by accident.

use super::passed::{Passed, Socket};
use crate::config::server::Listen;
use socket2::{Domain, SockFilter, SockRef, Type};
use std::{
    io,
    net::SocketAddr,
    os::unix::{fs::FileTypeExt, net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Connections that may wait in one accept queue.
const BACKLOG: i32 = 4096;

/// An accept queue that has been silent this long is empty: no handshake is under way any more.
const QUIET: Duration = Duration::from_millis(100);

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The site.
    Site,
    /// Sending everybody to https.
    ToHttps,
}

/// An address that was claimed: one entry for each worker.
#[derive(Debug)]
pub struct Entrance {
    /// The address, for people.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its sockets.
    pub sockets: Vec<Bound>,
}

/// One worker's end of one address, before its runtime takes it.
#[derive(Debug)]
pub enum Bound {
    /// A TCP socket of its own.
    Tcp(std::net::TcpListener),
    /// A unix socket, shared by the workers.
    Unix(StdUnixListener, PathBuf),
    /// A socket that somebody else keeps open, shared by the workers.
    Passed(Socket),
}

/// One worker's accept queue.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket and where it is bound.
    Unix(UnixListener, PathBuf),
    /// TCP, and somebody else's: it serves whoever comes after us.
    PassedTcp(TcpListener),
    /// A unix socket of that kind.
    PassedUnix(UnixListener),
}

/// An accepted connection.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(TcpStream, SocketAddr),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// Claims an address for `workers` workers: one entry for each. A name may stand for several sockets.
///
/// The kernel lets any process of the same user join an address that is shared between workers, so the address is
/// first claimed alone, unless `handover` asks for exactly that.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(listen: &Listen, workers: usize, handover: bool, passed: &mut Passed) -> io::Result<Vec<Vec<Bound>>> {
    match listen {
        Listen::Tcp(address) => Ok(vec![bind_tcp(*address, workers, handover)?]),
        Listen::Unix(path) => Ok(vec![bind_unix(path, workers)?]),
        Listen::Passed(name) => passed.take(name)?.into_iter().map(|socket| share(&socket, workers)).collect(),
    }
}

fn share(socket: &Socket, workers: usize) -> io::Result<Vec<Bound>> {
    let copy = |_| {
        Ok(Bound::Passed(match socket {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Socket::Tcp(socket.try_clone()?)
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Socket::Unix(socket.try_clone()?)
            }
        }))
    };
    (0..workers).map(copy).collect()
}

fn bind_tcp(address: SocketAddr, workers: usize, handover: bool) -> io::Result<Vec<Bound>> {
    if !handover {
        tcp_socket(address, false)?;
    }
    let first = tcp_socket(address, true)?;
    // With port 0 the kernel chose one; the other workers join it.
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(tcp_socket(address, true)?);
    }
    sockets.iter().try_for_each(|socket| socket.listen(BACKLOG))?;
    Ok(sockets.into_iter().map(|socket| Bound::Tcp(socket.into())).collect())
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, workers: usize) -> io::Result<Vec<Bound>> {
    remove_abandoned(path)?;
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    (0..workers).map(|_| Ok(Bound::Unix(listener.try_clone()?, path.to_owned()))).collect()
}

/// Removes what a process that is gone has left at `path`: a socket that nobody answers. Anything else stays.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_socket {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

impl Bound {
    /// Its TCP address.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) | Self::Passed(Socket::Tcp(socket)) => socket.local_addr().ok(),
            Self::Unix(..) | Self::Passed(Socket::Unix(_)) => None,
        }
    }

    /// Hands it to the current runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn listen(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
            Self::Unix(socket, path) => Listener::Unix(UnixListener::from_std(socket)?, path),
            Self::Passed(Socket::Tcp(socket)) => Listener::PassedTcp(TcpListener::from_std(socket)?),
            Self::Passed(Socket::Unix(socket)) => Listener::PassedUnix(UnixListener::from_std(socket)?),
        })
    }
}

impl Listener {
    /// The next connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(socket) | Self::PassedTcp(socket) => {
                socket.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer))
            }
            Self::Unix(socket, _) | Self::PassedUnix(socket) => {
                socket.accept().await.map(|(stream, _)| Accepted::Unix(stream))
            }
        }
    }

    /// Lets no new connection begin, while those whose handshake is done or under way still arrive.
    ///
    /// The kernel would reset what waits in a closing queue, so the queue is emptied first: call
    /// [`Self::accept_last`] until it has nothing more.
    pub fn refuse_new(&self) {
        match self {
            Self::Tcp(socket) => {
                // Classic BPF over the TCP header: byte 13 holds the flags, 0x02 is SYN. A dropped SYN is sent again
                // by its client and finds whoever listens then.
                const LOAD_BYTE: u16 = 0x30;
                const JUMP_IF_SET: u16 = 0x45;
                const RETURN: u16 = 0x06;
                let filter = [
                    SockFilter::new(LOAD_BYTE, 0, 0, 13),
                    SockFilter::new(JUMP_IF_SET, 0, 1, 0x02),
                    SockFilter::new(RETURN, 0, 0, 0),
                    SockFilter::new(RETURN, 0, 0, u32::MAX),
                ];
                if let Err(error) = SockRef::from(socket).attach_filter(&filter) {
                    tracing::debug!(%error, "new connections cannot be held back while the queue is emptied");
                }
            }
            Self::Unix(_, path) => {
                // Gone already where another worker was faster.
                let _ = std::fs::remove_file(path);
            }
            // Whoever keeps it open has it served by the next process, and so what waits in its queue.
            Self::PassedTcp(_) | Self::PassedUnix(_) => {}
        }
    }

    /// What still arrives after [`Self::refuse_new`]; `None` once the queue stays empty.
    pub async fn accept_last(&self) -> Option<Accepted> {
        if matches!(self, Self::PassedTcp(_) | Self::PassedUnix(_)) {
            return None;
        }
        tokio::time::timeout(QUIET, self.accept()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_abandoned_socket_is_removed() {
        let dir = std::env::temp_dir().join(format!("onedoor-listener-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let (file, socket) = (dir.join("gateway.toml"), dir.join("door.sock"));
        std::fs::write(&file, "precious").expect("a file");
        assert!(bind_unix(&file, 1).is_err());
        assert_eq!(std::fs::read_to_string(&file).expect("still there"), "precious");

        let alive = StdUnixListener::bind(&socket).expect("a socket");
        assert_eq!(bind_unix(&socket, 1).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        drop(alive);
        assert_eq!(bind_unix(&socket, 2).expect("abandoned").len(), 2);
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
