//! A connection that greets or listens: RESP3 as far as pushes need it, read in the order in which the server wrote it.
//! Answers to what requests ask are read by [`resp`] (why there are two is said there).

use super::resp;
use crate::config::store;
use rustls::pki_types::ServerName;
use std::io;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

/// The longest line that is read: an error's text, a number.
const LINE_MAX: u64 = 4 * 1024;
/// The longest text that is kept, such as a key. No key of a session is that long.
const TEXT_MAX: usize = 64 * 1024;
/// How deep replies may be nested.
const DEPTH_MAX: u8 = 8;

/// Both directions of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to one server.
pub(super) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    line: Vec<u8>,
}

/// The beginning of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// So many values follow, which the server sent unasked.
    Push(usize),
    /// So many values follow.
    Many(usize),
    /// A text of so many bytes follows.
    Text(usize),
    /// A value in one line.
    Line,
    /// Nothing.
    Null,
    /// The server refuses; the first word of why.
    Refusal(String),
}

impl Wire {
    /// Connects to a server.
    pub(super) async fn dial(server: &store::Redis) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match &server.address {
            store::Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                match &server.tls {
                    None => Box::new(stream),
                    Some(tls) => {
                        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                        Box::new(TlsConnector::from(tls.settings().clone()).connect(name, stream).await?)
                    }
                }
            }
            store::Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        Ok(Self { stream: BufReader::with_capacity(16 * 1024, stream), line: Vec::new() })
    }

    /// The connection itself; the server must have answered everything.
    pub(super) fn into_stream(self) -> Box<dyn Stream> {
        self.stream.into_inner()
    }

    /// Sends one command.
    pub(super) async fn send(&mut self, command: &[&[u8]]) -> io::Result<()> {
        let mut bytes = Vec::new();
        resp::command(&mut bytes, command);
        self.stream.get_mut().write_all(&bytes).await
    }

    /// Reads the beginning of the next value.
    pub(super) async fn head(&mut self) -> io::Result<Head> {
        self.line.clear();
        (&mut self.stream).take(LINE_MAX).read_until(b'\n', &mut self.line).await?;
        let Some(line) = self.line.strip_suffix(b"\r\n") else {
            return Err(if self.line.is_empty() { io::ErrorKind::UnexpectedEof.into() } else { garbled() });
        };
        let (kind, rest) = line.split_first().ok_or_else(garbled)?;
        let rest = std::str::from_utf8(rest).map_err(|_| garbled())?;
        let count = || rest.parse::<usize>().map_err(|_| garbled());
        Ok(match kind {
            b'>' => Head::Push(count()?),
            b'*' | b'$' if rest == "-1" => Head::Null,
            b'*' | b'~' => Head::Many(count()?),
            b'%' | b'|' => Head::Many(count()?.checked_mul(2).ok_or_else(garbled)?),
            b'$' | b'=' => Head::Text(count()?),
            b'_' => Head::Null,
            b'-' => Head::Refusal(rest.split(' ').next().unwrap_or_default().to_owned()),
            b'+' | b':' | b'#' | b',' | b'(' => Head::Line,
            _ => return Err(garbled()),
        })
    }

    /// Reads a value that must be a text.
    pub(super) async fn text(&mut self) -> io::Result<Vec<u8>> {
        match self.head().await? {
            Head::Text(length) => self.rest_of_text(length).await,
            _ => Err(garbled()),
        }
    }

    /// Reads the text whose head was read; of one that is too long nothing is kept.
    async fn rest_of_text(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > TEXT_MAX {
            let all = length as u64 + 2;
            let read = tokio::io::copy(&mut (&mut self.stream).take(all), &mut tokio::io::sink()).await?;
            return if read == all { Ok(Vec::new()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let mut text = vec![0; length + 2];
        self.stream.read_exact(&mut text).await?;
        text.truncate(length);
        Ok(text)
    }

    /// Reads over so many values, whatever they are.
    pub(super) async fn skip(&mut self, values: usize) -> io::Result<()> {
        let mut open = vec![values];
        while let Some(left) = open.last_mut() {
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            match self.head().await? {
                Head::Push(_) => return Err(garbled()),
                Head::Many(_) if open.len() >= usize::from(DEPTH_MAX) => return Err(garbled()),
                Head::Many(count) => open.push(count),
                Head::Text(length) => _ = self.rest_of_text(length).await?,
                Head::Line | Head::Null | Head::Refusal(_) => {}
            }
        }
        Ok(())
    }
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not what a Redis server says")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bytes: &'static [u8]) -> Wire {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        crate::tasks::background(async move {
            let _ = theirs.write_all(bytes).await;
        });
        Wire { stream: BufReader::new(Box::new(ours)), line: Vec::new() }
    }

    #[tokio::test]
    async fn values_are_told_apart_and_read_over() {
        let mut wire =
            wire(b">2\r\n$1\r\na\r\n_\r\n*-1\r\n-NOAUTH no\r\n%1\r\n+a\r\n*2\r\n:1\r\n$0\r\n\r\n$1\r\nz\r\n");
        assert_eq!(wire.head().await.unwrap(), Head::Push(2));
        assert_eq!(wire.text().await.unwrap(), b"a");
        assert_eq!(wire.head().await.unwrap(), Head::Null);
        assert_eq!(wire.head().await.unwrap(), Head::Null);
        assert_eq!(wire.head().await.unwrap(), Head::Refusal("NOAUTH".to_owned()));
        wire.skip(1).await.unwrap();
        assert_eq!(wire.text().await.unwrap(), b"z");
        assert_eq!(wire.head().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_no_redis_sends_ends_the_connection_and_nothing_else() {
        let deep: &[u8] = b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n";
        let long: &[u8] = b"$99999999999\r\n";
        for bytes in [
            deep,
            long,
            b"?\r\n",
            b"*x\r\n",
            b"$-2\r\n",
            b"\n",
            b"\r\n",
            b">1",
            b"%18446744073709551615\r\n",
            b"$4\r\nab",
        ] {
            assert!(wire(bytes).skip(1).await.is_err(), "{bytes:?}");
        }
        let mut endless = wire(&[b'+'; 10_000]);
        assert!(endless.head().await.is_err());
    }
}
