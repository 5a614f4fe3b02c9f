//! Sockets that the process was started with, by name (systemd's `FileDescriptorName`).

use listenfd::ListenFd;
use std::{io, net::TcpListener, os::unix::net::UnixListener};

/// The sockets that nobody has asked for yet.
pub struct Passed {
    sockets: ListenFd,
    names: Vec<String>,
}

/// One socket.
#[derive(Debug)]
pub enum Socket {
    /// It listens on a TCP address.
    Tcp(TcpListener),
    /// It listens on a unix socket.
    Unix(UnixListener),
}

impl Passed {
    /// What the environment tells about this process.
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { sockets: ListenFd::from_env(), names: names.split(':').map(str::to_owned).collect() }
    }

    /// Takes all sockets of this name.
    ///
    /// # Errors
    /// There is none, or one of them does not listen.
    pub fn take(&mut self, name: &str) -> io::Result<Vec<Socket>> {
        let mut taken = Vec::new();
        for index in (0..self.sockets.len()).filter(|index| self.names.get(*index).is_some_and(|known| known == name)) {
            let tcp = self.sockets.take_tcp_listener(index);
            let socket = match tcp {
                Ok(socket) => socket.map(Socket::Tcp),
                Err(_) => self.sockets.take_unix_listener(index)?.map(Socket::Unix),
            };
            taken.extend(socket);
        }
        if taken.is_empty() {
            let text = match self.names.join(", ").as_str() {
                "" => "the process was started without a socket".to_owned(),
                names => format!("the process was not started with a socket of this name, but with {names}"),
            };
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(taken)
    }
}
