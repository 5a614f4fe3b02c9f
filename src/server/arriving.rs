//! The head of a request as it arrives, watched for one question: does it say twice how long its body is?

use memchr::memchr;

const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";

/// Follows the lines of a head of HTTP/1.1. The library takes one of two lengths and drops the other without a word.
#[derive(Debug, Default)]
pub struct Arriving {
    /// How the line under way begins.
    line: [u8; CODING.len()],
    line_bytes: usize,
    part: Part,
    has_length: bool,
    has_coding: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    /// Nothing but empty lines, which may come before a request.
    #[default]
    Before,
    Lines,
    Whole,
}

impl Arriving {
    /// Takes what has arrived; whether the head has both a length and a coding, as far as it is known.
    pub fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while self.part != Part::Whole {
            let end = memchr(b'\n', bytes);
            let line = &bytes[..end.unwrap_or(bytes.len())];
            let taken = line.len().min(CODING.len() - self.line_bytes);
            self.line[self.line_bytes..self.line_bytes + taken].copy_from_slice(&line[..taken]);
            self.line_bytes += taken;
            let Some(end) = end else { break };
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.has_length && self.has_coding
    }

    fn end_line(&mut self) {
        let line = &self.line[..std::mem::take(&mut self.line_bytes)];
        let is = |name: &[u8]| line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
        match line {
            [] | [b'\r'] if self.part == Part::Before => return,
            [] | [b'\r'] => return self.part = Part::Whole,
            [b'c' | b'C', ..] => self.has_length |= is(LENGTH),
            [b't' | b'T', ..] => self.has_coding |= is(CODING),
            _ => {}
        }
        self.part = Part::Lines;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is seen, whole and in whatever pieces.
    fn says_twice(head: &str) -> bool {
        let whole = Arriving::default().pass(head.as_bytes());
        for size in 1..head.len() {
            let mut arriving = Arriving::default();
            let seen = head.as_bytes().chunks(size).map(|piece| arriving.pass(piece)).last();
            assert_eq!(seen, Some(whole), "{head:?} by {size}");
        }
        whole
    }

    #[test]
    fn a_length_beside_a_coding_is_seen_however_they_are_written() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\r\nPOST / HTTP/1.1\ntransfer-encoding:chunked\nA: b\nCONTENT-LENGTH:\n\n",
            "transfer / HTTP/1.1\r\nTransfer-Encoding: x\r\nContent-Length: 0\r\n",
        ] {
            assert!(says_twice(head), "{head:?}");
        }
        for head in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Content-Length: 1\r\nTransfer-Encoding: chunked\r\nX: Content-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Lengths: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(!says_twice(head), "{head:?}");
        }
    }
}
