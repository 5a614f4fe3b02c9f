//! What leaves an HTTP/2 connection at once: the frames of all responses that are ready are one write, and one record
//! of TLS.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that waits to be written: what a record of TLS holds.
const BATCH_BYTES: usize = 16 * 1024;

/// A stream that keeps what is written to it until [`Self::driving`] sends it, or there is too much of it.
#[derive(Debug)]
pub struct Gathered<S>(Arc<Mutex<Batch<S>>>);

#[derive(Debug)]
struct Batch<S> {
    stream: S,
    waiting: Vec<u8>,
    sent: usize,
    /// The client has not taken the last batch yet.
    is_stuck: bool,
}

impl<S> Gathered<S> {
    /// Gathers what is written to `stream`.
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Batch { stream, waiting: Vec::new(), sent: 0, is_stuck: false })))
    }

    /// The same stream, for whoever writes.
    pub fn share(&self) -> Self {
        Self(self.0.clone())
    }

    fn batch(&self) -> MutexGuard<'_, Batch<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Drives whoever writes, and sends what was written whenever they wait.
    pub async fn driving<F, T, E>(&self, mut work: Pin<&mut F>) -> Result<T, Box<dyn std::error::Error + Send + Sync>>
    where
        F: Future<Output = Result<T, E>>,
        E: std::error::Error + Send + Sync + 'static,
    {
        poll_fn(|cx| {
            let worked = work.as_mut().poll(cx);
            let mut batch = self.batch();
            let was_stuck = batch.is_stuck;
            let sent = batch.poll_send(cx);
            if was_stuck && sent.is_ready() {
                // Whoever writes may wait for just that.
                cx.waker().wake_by_ref();
            }
            match (worked, sent) {
                (Poll::Ready(outcome), _) => Poll::Ready(outcome.map_err(Into::into)),
                (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
                (Poll::Pending, _) => Poll::Pending,
            }
        })
        .await
    }
}

impl<S: AsyncWrite + Unpin> Batch<S> {
    fn poll_take(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.is_stuck || self.waiting.len() == BATCH_BYTES {
            ready!(self.poll_send(cx))?;
        }
        let before = self.waiting.len();
        self.waiting.reserve_exact(BATCH_BYTES - before);
        for slice in slices {
            let room = BATCH_BYTES - self.waiting.len();
            self.waiting.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(self.waiting.len() - before))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() && !self.is_stuck {
            return Poll::Ready(Ok(()));
        }
        self.is_stuck = true;
        while self.sent < self.waiting.len() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        // An idle connection holds no room.
        (self.waiting, self.sent) = (Vec::new(), 0);
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_stuck = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.batch().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.batch().poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.batch().poll_take(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Whoever writes flushes behind each frame: only a client that does not take the batch is waited for.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut batch = self.batch();
        if batch.is_stuck { batch.poll_send(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut batch = self.batch();
        ready!(batch.poll_send(cx))?;
        Pin::new(&mut batch.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Notes how long each write was.
    #[derive(Default)]
    struct Writes(Vec<usize>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_written_until_the_writer_waits_leaves_at_once() {
        let stream = Gathered::new(Writes::default());
        let mut writer = stream.share();
        let work = std::pin::pin!(async move {
            for _ in 0..3 {
                writer.write_all(&[0; 1000]).await?;
                writer.flush().await?;
            }
            tokio::task::yield_now().await;
            writer.write_all(&[0; BATCH_BYTES + 1]).await
        });
        stream.driving(work).await.expect("it takes all");
        assert_eq!(stream.batch().stream.0, [3000, BATCH_BYTES, 1]);
        assert_eq!(stream.batch().waiting.capacity(), 0, "nothing is held for later");
    }

    #[tokio::test]
    async fn a_client_that_takes_little_at_once_gets_all_in_order() {
        let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (near, mut far) = tokio::io::duplex(1000);
        let stream = Gathered::new(near);
        let (mut writer, bytes) = (stream.share(), sent.clone());
        let writing = async move {
            let work = std::pin::pin!(async move {
                for piece in bytes.chunks(7001) {
                    writer.write_all(piece).await?;
                    writer.flush().await?;
                }
                writer.shutdown().await
            });
            stream.driving(work).await
        };
        let reading = async move {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.map(|_| received)
        };
        let (written, received) = tokio::join!(writing, reading);
        assert!(written.is_ok() && received.expect("it is there") == sent);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_ends_its_writer() {
        let (near, far) = tokio::io::duplex(1000);
        let stream = Gathered::new(near);
        let mut writer = stream.share();
        drop(far);
        let work = std::pin::pin!(async move {
            writer.write_all(b"to nobody").await?;
            std::future::pending::<io::Result<()>>().await
        });
        assert!(stream.driving(work).await.is_err());
    }
}
