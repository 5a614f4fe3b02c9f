//! What arrives on an HTTP/1.1 connection, watched for two questions: has a head begun that is not whole yet, and does
//! one say twice how long its body is?

use memchr::memchr;

const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";

/// Follows the lines of heads, and the lengths of bodies to the next head. Of two lengths the library takes one and drops
/// the other without a word.
///
/// What the library refuses may be followed anyhow: no request comes after it.
#[derive(Debug, Default)]
pub struct Arriving {
    /// How the line under way begins.
    line: [u8; CODING.len()],
    line_bytes: usize,
    part: Part,
    has_length: bool,
    has_coding: bool,
    /// The body's length, as far as its digits have arrived.
    length: u64,
    /// Heads that are whole.
    heads: u64,
}

#[derive(Debug, Default, Clone, Copy)]
enum Part {
    /// Nothing but empty lines, which may come before a request.
    #[default]
    Before,
    Lines,
    /// So much of a body with a length.
    Body(u64),
    /// A chunk's size; its digits are over where something else has come.
    Size {
        bytes: u64,
        is_over: bool,
    },
    /// So much of a chunk and the end of its line.
    Chunk(u64),
    /// The lines behind the last chunk, the last of which is empty.
    Trailers {
        is_empty: bool,
        has_cr: bool,
    },
    /// The last head said twice how long its body is.
    FramedTwice,
}

impl Arriving {
    /// Takes what has arrived; whether a head is now under way.
    pub fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let taken = match self.part {
                Part::Before | Part::Lines => self.pass_line(bytes),
                Part::Body(left) => {
                    let taken = at_most(left, bytes);
                    self.part = if left == taken as u64 { Part::Before } else { Part::Body(left - taken as u64) };
                    taken
                }
                Part::Size { bytes: size, is_over } => self.pass_size(bytes, size, is_over),
                Part::Chunk(left) => {
                    let taken = at_most(left, bytes);
                    self.part = if left == taken as u64 { NEXT_CHUNK } else { Part::Chunk(left - taken as u64) };
                    taken
                }
                Part::Trailers { is_empty, has_cr } => self.pass_trailer(bytes, is_empty, has_cr),
                Part::FramedTwice => return false,
            };
            bytes = &bytes[taken..];
        }
        matches!(self.part, Part::Lines) || self.line_bytes > 0
    }

    /// Which head, counted from 1, has both a length and a coding; none is looked at after it.
    pub fn framed_twice(&self) -> Option<u64> {
        matches!(self.part, Part::FramedTwice).then_some(self.heads)
    }

    fn pass_line(&mut self, bytes: &[u8]) -> usize {
        let end = memchr(b'\n', bytes);
        if let (0, Some(end @ 2..)) = (self.line_bytes, end)
            && !matches!(bytes[0], b'c' | b'C' | b't' | b'T')
        {
            // Whole, and neither of both: nothing of it matters.
            self.part = Part::Lines;
            return end + 1;
        }
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        let begin = self.line_bytes;
        let kept = piece.len().min(CODING.len().saturating_sub(begin));
        if kept > 0 {
            self.line[begin..begin + kept].copy_from_slice(&piece[..kept]);
        }
        self.line_bytes += piece.len();
        if matches!(self.line[0], b'c' | b'C') && self.line_begins(LENGTH) {
            self.pass_length(&piece[LENGTH.len().saturating_sub(begin)..], begin <= LENGTH.len());
        }
        let Some(end) = end else { return bytes.len() };
        self.end_line();
        end + 1
    }

    fn line_begins(&self, name: &[u8]) -> bool {
        self.line_bytes >= name.len() && self.line[..name.len()].eq_ignore_ascii_case(name)
    }

    fn pass_length(&mut self, value: &[u8], is_new: bool) {
        if is_new {
            self.length = 0;
        }
        for digit in value.iter().filter(|byte| byte.is_ascii_digit()) {
            self.length = self.length.saturating_mul(10).saturating_add((digit - b'0').into());
        }
    }

    fn end_line(&mut self) {
        let is_empty = matches!((self.line_bytes, self.line[0]), (0, _) | (1, b'\r'));
        match self.part {
            Part::Before if is_empty => {}
            _ if is_empty => self.end_head(),
            _ => {
                self.part = Part::Lines;
                match self.line[0] {
                    b'c' | b'C' => self.has_length |= self.line_begins(LENGTH),
                    b't' | b'T' => self.has_coding |= self.line_begins(CODING),
                    _ => {}
                }
            }
        }
        self.line_bytes = 0;
    }

    fn end_head(&mut self) {
        self.heads += 1;
        let (has_length, has_coding) = (std::mem::take(&mut self.has_length), std::mem::take(&mut self.has_coding));
        self.part = match (has_length, has_coding) {
            (true, true) => Part::FramedTwice,
            (false, true) => NEXT_CHUNK,
            (true, false) if self.length > 0 => Part::Body(self.length),
            _ => Part::Before,
        };
    }

    fn pass_size(&mut self, bytes: &[u8], mut size: u64, mut is_over: bool) -> usize {
        let end = memchr(b'\n', bytes);
        for byte in &bytes[..end.unwrap_or(bytes.len())] {
            match char::from(*byte).to_digit(16) {
                Some(digit) if !is_over => size = size.saturating_mul(16).saturating_add(digit.into()),
                _ => is_over = true,
            }
        }
        self.part = match (end, size) {
            (None, _) => Part::Size { bytes: size, is_over },
            (Some(_), 0) => NEXT_TRAILER,
            (Some(_), size) => Part::Chunk(size.saturating_add(2)),
        };
        end.map_or(bytes.len(), |end| end + 1)
    }

    /// A line ends with CR and LF only here.
    fn pass_trailer(&mut self, bytes: &[u8], is_empty: bool, has_cr: bool) -> usize {
        if has_cr {
            self.part = if is_empty { Part::Before } else { NEXT_TRAILER };
            return 1;
        }
        let end = memchr(b'\r', bytes);
        self.part = Part::Trailers { is_empty: is_empty && end == Some(0), has_cr: end.is_some() };
        end.map_or(bytes.len(), |end| end + 1)
    }
}

const NEXT_CHUNK: Part = Part::Size { bytes: 0, is_over: false };
const NEXT_TRAILER: Part = Part::Trailers { is_empty: true, has_cr: false };

fn at_most(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWICE: &str = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Which head says it twice, and whether one is under way at the end: whole and in whatever pieces.
    fn follow(bytes: &str) -> (Option<u64>, bool) {
        let mut whole = Arriving::default();
        let whole = (whole.pass(bytes.as_bytes()), whole.framed_twice());
        for size in 1..bytes.len() {
            let mut arriving = Arriving::default();
            let under_way = bytes.as_bytes().chunks(size).map(|piece| arriving.pass(piece)).last();
            assert_eq!((under_way.unwrap_or(false), arriving.framed_twice()), whole, "{bytes:?} by {size}");
        }
        (whole.1, whole.0)
    }

    #[test]
    fn a_length_beside_a_coding_is_seen_however_they_are_written() {
        for head in [
            TWICE,
            "\r\nPOST / HTTP/1.1\ntransfer-encoding:chunked\nA: b\nCONTENT-LENGTH:\n\n",
            "transfer / HTTP/1.1\r\nTransfer-Encoding: x\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert_eq!(follow(head), (Some(1), false), "{head:?}");
        }
        for head in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Content-Length: 1\r\nTransfer-Encoding: chunked\r\nX: Content-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Lengths: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(follow(head), (None, false), "{head:?}");
        }
    }

    #[test]
    fn a_head_behind_others_and_their_bodies_is_seen_too() {
        for before in [
            "GET / HTTP/1.1\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\nContent-Length: 0\n\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:  \t5 \r\n\r\nabc\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 003\r\nContent-Length: 3\r\n\r\n\n\n\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0A ;a=1\r\n\r\n\r\n\r\n\r\n\r\n00;2\r\nA: b\r\nC: \n\nd\r\n\r\n",
        ] {
            assert_eq!(follow(&format!("{before}{TWICE}")), (Some(2), false), "{before:?}");
            assert_eq!(follow(&format!("{before}{before}{TWICE}{before}G")), (Some(3), false), "{before:?}");
            assert_eq!(follow(&format!("{before}{before}GET / HT")), (None, true), "{before:?}");
            assert_eq!(follow(before), (None, false), "{before:?}");
        }
    }

    #[test]
    fn a_body_is_no_head() {
        let length = TWICE.len();
        let coded = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{TWICE}\r\n0\r\n\r\n");
        let long = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{TWICE}");
        assert_eq!((follow(&coded), follow(&long)), ((None, false), (None, false)));
        let endless = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{TWICE}", "9".repeat(40));
        assert_eq!(follow(&endless), (None, false));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_follow(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for before in ["", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length:"] {
                let mut arriving = Arriving::default();
                arriving.pass(before.as_bytes());
                arriving.pass(&bytes);
            }
        }
    }
}
