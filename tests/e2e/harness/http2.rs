//! HTTP/2 frame by frame, so that a test can send what no library would.

use super::DEADLINE;
use frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

const PADDED: u8 = 8;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, and their flags (RFC 9113 section 6).
pub(crate) mod frames {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
}

/// One frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How a request ended, as far as its head tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered.
    Status(u16),
    /// Its stream was reset, with this code.
    Reset(u32),
    /// The connection was ended, with this code where one was given.
    Gone(Option<u32>),
}

/// A connection that speaks HTTP/2 without TLS.
#[derive(Debug)]
pub(crate) struct Http2 {
    stream: TcpStream,
    /// The bodies of responses, in the order of their arrival.
    pub(crate) body: Vec<u8>,
}

impl Http2 {
    /// Opens a connection with these settings: pairs of identifier and value.
    pub(crate) fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(PREFACE).unwrap();
        let mut http2 = Self { stream, body: Vec::new() };
        let pair = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        // The answers' fields shall refer to nothing that was sent before.
        let settings = [(1, 0)].iter().chain(settings).flat_map(pair);
        http2.send(SETTINGS, 0, 0, &settings.collect::<Vec<_>>());
        http2
    }

    /// Takes a connection as a server does, with these settings.
    pub(crate) fn accept(mut stream: TcpStream, settings: &[(u16, u32)]) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(preface, PREFACE);
        let mut http2 = Self { stream, body: Vec::new() };
        let pair = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        http2.send(SETTINGS, 0, 0, &settings.iter().flat_map(pair).collect::<Vec<_>>());
        http2
    }

    /// The stream of the next request.
    pub(crate) fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame()?;
            if frame.kind == HEADERS {
                return Some(frame.stream);
            }
        }
    }

    /// Reads until a request is reset, and answers with which code.
    pub(crate) fn reset(&mut self, stream: u32) -> Option<u32> {
        loop {
            let frame = self.frame()?;
            if frame.kind == RST_STREAM && frame.stream == stream {
                return frame.payload.first_chunk().map(|code| u32::from_be_bytes(*code));
            }
        }
    }

    /// Answers a request: a head, and where there is one a body.
    pub(crate) fn answer(&mut self, stream: u32, fields: &[(&str, &str)], body: Option<&[u8]>) -> bool {
        let end = if body.is_some() { 0 } else { END_STREAM };
        let head = self.send(HEADERS, END_HEADERS | end, stream, &block(fields));
        head && body.is_none_or(|body| self.send(DATA, END_STREAM, stream, body))
    }

    /// Sends a frame; `false` when the connection is gone.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.stream.write_all(&[&head, payload].concat()).is_ok()
    }

    /// Sends raw bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a GET with these fields beside the usual pseudo-header fields, unless they are given.
    pub(crate) fn get(&mut self, stream: u32, fields: &[(&str, &str)]) -> bool {
        let block = request(fields);
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block)
    }

    /// Asks for a WebSocket (RFC 8441) with these fields, as [`Self::get`] does for a page. The stream stays open.
    pub(crate) fn websocket(&mut self, stream: u32, fields: &[(&str, &str)]) -> bool {
        let usual = [(":method", "CONNECT"), (":protocol", "websocket"), ("sec-websocket-version", "13")];
        let usual = usual.into_iter().filter(|(name, _)| !fields.iter().any(|(given, _)| given == name));
        let block = request(&usual.chain(fields.iter().copied()).collect::<Vec<_>>());
        self.send(HEADERS, END_HEADERS, stream, &block)
    }

    /// Reads what comes on a stream until there are so many bytes, or it ends.
    pub(crate) fn bytes(&mut self, stream: u32, count: usize) -> Vec<u8> {
        while self.body.len() < count {
            let Some(frame) = self.frame() else { break };
            if frame.kind == DATA && frame.stream == stream {
                self.body.extend(&frame.payload);
            }
            if frame.stream == stream && (frame.kind == RST_STREAM || frame.flags & END_STREAM != 0) {
                break;
            }
        }
        std::mem::take(&mut self.body)
    }

    /// The next frame; `None` when the connection ends or nothing comes.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let [high, middle, low, kind, flags, id @ ..] = head;
        let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        self.stream.read_exact(&mut payload).ok()?;
        if kind == SETTINGS && flags == 0 {
            self.send(SETTINGS, 1, 0, &[]);
        }
        Some(Frame { kind, flags, stream: u32::from_be_bytes(id), payload })
    }

    /// Reads until it is known what became of a request.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        self.outcome_or(stream, true)
    }

    /// The same, where the gateway may say before that it will leave.
    pub(crate) fn outcome_despite_goodbye(&mut self, stream: u32) -> Outcome {
        self.outcome_or(stream, false)
    }

    fn outcome_or(&mut self, stream: u32, goodbye_counts: bool) -> Outcome {
        let code = |payload: &[u8]| payload.first_chunk().map(|code| u32::from_be_bytes(*code));
        while let Some(frame) = self.frame() {
            match frame.kind {
                HEADERS if frame.stream == stream => return Outcome::Status(status(&frame)),
                DATA => self.body.extend(&frame.payload),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(code(&frame.payload).unwrap()),
                GOAWAY if goodbye_counts => return Outcome::Gone(code(&frame.payload[4..])),
                _ => {}
            }
        }
        Outcome::Gone(None)
    }

    /// Reads until a response has ended, and takes all bodies so far.
    pub(crate) fn rest(&mut self, stream: u32) -> Option<Vec<u8>> {
        loop {
            let frame = self.frame()?;
            if frame.kind == DATA {
                self.body.extend(&frame.payload);
            }
            if frame.stream == stream && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return Some(std::mem::take(&mut self.body));
            }
        }
    }

    /// Whether the connection ends, whatever is said before.
    pub(crate) fn ends(&mut self) -> bool {
        while self.frame().is_some() {}
        let mut one = [0];
        matches!(self.stream.read(&mut one), Ok(0)) || self.stream.take_error().is_ok_and(|error| error.is_some())
    }
}

/// The usual pseudo-header fields, unless they are given, and these.
fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")];
    let usual = usual.iter().filter(|(name, _)| !fields.iter().any(|(given, _)| given == name));
    let given = |pseudo: bool| fields.iter().filter(move |(name, _)| name.starts_with(':') == pseudo);
    let all = usual.chain(given(true)).chain(given(false)).filter(|(_, value)| *value != "-");
    block(&all.copied().collect::<Vec<_>>())
}

/// A header block of literal fields (RFC 7541 section 6.2.2), neither indexed nor compressed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn integer(block: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        return block.push(u8::try_from(value).unwrap());
    }
    block.push(127);
    value -= 127;
    while value >= 128 {
        block.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    block.push(u8::try_from(value).unwrap());
}

/// The status, with which a header block begins.
fn status(frame: &Frame) -> u16 {
    assert_eq!(frame.flags & PADDED, 0);
    let indexed = |index: u8| [200, 204, 206, 304, 400, 404, 500][usize::from(index & 0x7F) - 8];
    let sizes = frame.payload.iter().take_while(|byte| **byte & 0xE0 == 0x20).count();
    let payload = &frame.payload[sizes..];
    match payload[..] {
        [first @ 0x88..=0x8E, ..] => indexed(first),
        // The name from the static table, and three digits: as they are, or in their Huffman code.
        [0x48 | 0x08, 3, a, b, c, ..] => std::str::from_utf8(&[a, b, c]).unwrap().parse().unwrap(),
        [0x48 | 0x08, length, ..] => digits(&payload[2..2 + usize::from(length & 0x7F)]),
        ref other => panic!("no status in {other:?}"),
    }
}

fn digits(code: &[u8]) -> u16 {
    let bits: String = code.iter().chain([&0xFF]).map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let long = &bits[at..at + 6];
        let value = u16::from_str_radix(long, 2).unwrap();
        // 0, 1 and 2 have five bits, the others six (RFC 7541 appendix B).
        let (digit, length) = if value >= 0b011001 { (value - 0b011001 + 3, 6) } else { (value >> 1, 5) };
        number = number * 10 + digit;
        at += length;
    }
    number
}
