//! What the kernel keeps for a client on TCP: little at first, much for one that has shown that it takes it.

use socket2::SockRef;
use std::{
    any::Any,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What the kernel keeps at first, beyond what is on its way; without a limit, 4 MiB. Thousands of slow readers would
/// use up all the memory that it has for TCP, and then it drops what is sent to anybody.
const UNSENT_BYTES_FIRST: u32 = 128 * 1024;

/// What it keeps for a client that has taken more than [`PROVEN_BYTES`]. A quarter of it would cost downloads a quarter
/// more CPU.
const UNSENT_BYTES_MAX: u32 = 1024 * 1024;

/// After so much has been written, all but the last of it was taken.
const PROVEN_BYTES: usize = 512 * 1024;

/// A client's socket.
#[derive(Debug)]
pub struct Credited {
    stream: TcpStream,
    unproven: usize,
}

/// A client's socket itself, for what has limits of its own; what is no such stream comes back.
///
/// # Errors
/// The stream, if it is another.
pub fn bare<S: 'static>(stream: S) -> Result<TcpStream, S> {
    let mut stream = Some(stream);
    let credited = (&mut stream as &mut dyn Any).downcast_mut::<Option<Credited>>().and_then(Option::take);
    match (credited, stream) {
        (Some(credited), _) => Ok(credited.stream),
        (None, stream) => Err(stream.expect("nobody took it")),
    }
}

impl Credited {
    /// A connection that was just accepted.
    pub fn new(stream: TcpStream) -> Self {
        let credited = Self { stream, unproven: PROVEN_BYTES };
        credited.keep(UNSENT_BYTES_FIRST);
        credited
    }

    /// Best effort: without it, slow clients are only dearer.
    fn keep(&self, bytes: u32) {
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(bytes);
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written
            && self.unproven > 0
        {
            self.unproven = self.unproven.saturating_sub(bytes);
            if self.unproven == 0 {
                self.keep(UNSENT_BYTES_MAX);
            }
        }
        written
    }
}

impl AsyncRead for Credited {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Credited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpSocket},
    };

    /// What is taken of the stream while nobody reads.
    async fn taken_for(credited: &mut Credited) -> usize {
        let mut taken = 0;
        while let Ok(bytes) = tokio::time::timeout(Duration::from_millis(500), credited.write(&[0; 64 * 1024])).await {
            taken += bytes.expect("it is open");
        }
        taken
    }

    #[tokio::test]
    async fn more_is_kept_for_a_client_that_has_taken_some() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let socket = TcpSocket::new_v4().expect("there is a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("it may be small");
        let mut client = socket.connect(listener.local_addr().expect("it has one")).await.expect("somebody listens");
        let mut credited = Credited::new(listener.accept().await.expect("it has come").0);

        let first = taken_for(&mut credited).await;
        assert!(first < PROVEN_BYTES, "{first}");
        let mut received = vec![0; first];
        client.read_exact(&mut received).await.expect("it was sent");
        let mut rest = vec![0; PROVEN_BYTES];
        let (written, read) = tokio::join!(credited.write_all(&[0; PROVEN_BYTES]), client.read_exact(&mut rest));
        assert!(written.is_ok() && read.is_ok());
        let then = taken_for(&mut credited).await;
        assert!(then > first + PROVEN_BYTES, "{first}, then {then}");
        assert!(bare(7).is_err_and(|stream| stream == 7));
        assert!(bare(credited).is_ok());
    }
}
