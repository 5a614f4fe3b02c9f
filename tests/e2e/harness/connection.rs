//! One socket and the HTTP/1.1 messages on it, as bytes: neither end of it is polite unless a test is.

use super::DEADLINE;
use sha2::{Digest, Sha256};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    ahead: Vec<u8>,
}

/// A request or a response as it was on the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// The first line, without its end.
    pub(crate) start: String,
    /// Names as spelled, values without surrounding spaces.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, unframed.
    pub(crate) body: Vec<u8>,
    /// Lines after the last chunk.
    pub(crate) trailers: Vec<String>,
    /// The head, byte for byte.
    pub(crate) head: Vec<u8>,
}

impl Message {
    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        let text = self.start.split(' ').nth(1).unwrap_or_default();
        text.parse().unwrap_or_else(|_| panic!("no status in {:?}", self.start))
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of this name, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All headers of this name, whatever its case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}: {}", self.start, self.text()))
    }

    /// The `reason` of a problem body.
    pub(crate) fn reason(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}: {}", self.start, self.text());
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// SHA-256 of the body.
    pub(crate) fn digest(&self) -> Vec<u8> {
        Sha256::digest(&self.body).to_vec()
    }
}

/// How a message's body ends.
enum Framing {
    None,
    Length(usize),
    Chunked,
    Close,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect_timeout(&address, DEADLINE).unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Writes and tells whether the other end still took it.
    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Closes both halves.
    pub(crate) fn close(&self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Sets how long a read may wait.
    pub(crate) fn patience(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }

    /// Reads one response; `to_head` says that it answers a HEAD request.
    pub(crate) fn response(&mut self, to_head: bool) -> Option<Message> {
        let mut message = self.head()?;
        let bodiless = to_head || matches!(message.status(), 100..200 | 204 | 304);
        let framing = if bodiless { Framing::None } else { framing(&message, Framing::Close) };
        self.body(&mut message, framing)?;
        Some(message)
    }

    /// Reads one request.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut message = self.head()?;
        let framing = framing(&message, Framing::None);
        self.body(&mut message, framing)?;
        Some(message)
    }

    /// Reads a head alone; `None` if the connection ends or stays silent before it is whole.
    pub(crate) fn head(&mut self) -> Option<Message> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
        let start = lines.next().unwrap_or_default().to_owned();
        let split = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        };
        Some(Message { start, headers: lines.map(split).collect(), head, ..Message::default() })
    }

    /// Takes what has arrived of a body, at least one byte; `None` at the end.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        if self.ahead.is_empty() {
            self.more()?;
        }
        Some(std::mem::take(&mut self.ahead))
    }

    /// Whether the other end closes without sending anything more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.ahead.is_empty() && matches!(self.read(), Progress::End | Progress::Reset)
    }

    /// Whether the other end closes, whatever it sends before.
    pub(crate) fn ends(&mut self) -> bool {
        loop {
            match self.read() {
                Progress::Some => self.ahead.clear(),
                Progress::End | Progress::Reset => return true,
                Progress::Silent => return false,
            }
        }
    }

    fn body(&mut self, message: &mut Message, framing: Framing) -> Option<()> {
        match framing {
            Framing::None => {}
            Framing::Length(length) => message.body = self.exactly(length)?,
            Framing::Chunked => loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
                if size == 0 {
                    while let Some(line) = self.line().filter(|line| !line.is_empty()) {
                        message.trailers.push(line);
                    }
                    break;
                }
                message.body.extend(self.exactly(size)?);
                self.line()?;
            },
            Framing::Close => loop {
                message.body.append(&mut self.ahead);
                match self.read() {
                    Progress::Some => {}
                    Progress::End => break,
                    Progress::Reset | Progress::Silent => return None,
                }
            },
        }
        Some(())
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < length {
            self.more()?;
        }
        Some(self.ahead.drain(..length).collect())
    }

    fn line(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.ahead.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            self.more()?;
        };
        let line: Vec<u8> = self.ahead.drain(..end + 2).take(end).collect();
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    fn more(&mut self) -> Option<()> {
        matches!(self.read(), Progress::Some).then_some(())
    }

    fn read(&mut self) -> Progress {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(0) => Progress::End,
                Ok(length) => {
                    self.ahead.extend_from_slice(&buffer[..length]);
                    Progress::Some
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Progress::Reset,
                Err(_) => Progress::Silent,
            };
        }
    }
}

enum Progress {
    Some,
    End,
    Reset,
    Silent,
}

fn framing(message: &Message, otherwise: Framing) -> Framing {
    if message.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Framing::Chunked;
    }
    match message.header("content-length").and_then(|value| value.parse().ok()) {
        Some(length) => Framing::Length(length),
        None => otherwise,
    }
}
