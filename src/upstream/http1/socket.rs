//! What HTTP/1.1 is spoken over.

use socket2::SockRef;
use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

/// An open connection of the system's, maybe with TLS on it.
#[derive(Debug)]
pub(in crate::upstream) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed: it is large.
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! whichever {
    ($socket:expr, $it:ident => $what:expr) => {
        match $socket {
            Socket::Tcp($it) => $what,
            Socket::Unix($it) => $what,
            Socket::Tls($it) => $what,
        }
    };
}

impl Socket {
    /// Ready once there may be something to read. It spares a buffer for what has not come yet.
    pub(super) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Unix(socket) => socket.poll_read_ready(cx),
            // Something may have been read already that is not decrypted yet.
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether the other side has nothing more to say than what was read: it has neither closed nor spoken unasked. The
    /// system is asked; the runtime knows only what it has heard so far.
    pub(super) fn is_silent(&self) -> bool {
        let socket: SockRef<'_> = match self {
            Self::Tcp(socket) => socket.into(),
            Self::Unix(socket) => socket.into(),
            Self::Tls(socket) => socket.get_ref().0.into(),
        };
        socket.peek(&mut [MaybeUninit::uninit()]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), socket => Pin::new(socket).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        whichever!(self.get_mut(), socket => Pin::new(socket).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        whichever!(self.get_mut(), socket => Pin::new(socket).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        whichever!(self, socket => socket.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), socket => Pin::new(socket).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream as Blocking};

    #[tokio::test]
    async fn what_the_system_knows_is_asked_for_where_the_runtime_cannot_know_it_yet() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        for said in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b""] {
            let ours = Blocking::connect(listener.local_addr().expect("an address")).expect("a connection");
            ours.set_nonblocking(true).expect("it can be");
            let mut theirs = listener.accept().expect("a connection").0;
            let ours = Socket::Tcp(TcpStream::from_std(ours).expect("it can be"));
            let heard = || ours.poll_heard(&mut Context::from_waker(std::task::Waker::noop())).is_ready();
            assert!(!heard() && ours.is_silent(), "nothing has happened");
            io::Write::write_all(&mut theirs, said).expect("there is room");
            drop(theirs);
            // The runtime has not run since.
            assert!(!heard() && !ours.is_silent());
        }
    }
}
