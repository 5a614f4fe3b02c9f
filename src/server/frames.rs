//! What passes on an HTTP/2 connection, watched for one question: has something begun that is not whole yet?

/// What a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;

/// Follows the frames of a client.
#[derive(Debug)]
pub struct Frames {
    /// Bytes of the preface, then of the current frame's payload, that are still to come.
    left: usize,
    head: [u8; HEAD],
    head_bytes: usize,
    in_headers: bool,
}

impl Frames {
    /// A connection that begins with the preface.
    pub fn from_preface() -> Self {
        Self { left: PREFACE.len(), head: [0; HEAD], head_bytes: 0, in_headers: false }
    }

    /// Takes what has arrived; whether a frame or a head is now under way.
    pub fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = if self.left > 0 { 0 } else { bytes.len().min(HEAD - self.head_bytes) };
            self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(&bytes[..taken]);
            self.head_bytes += taken;
            bytes = &bytes[taken..];
            if self.head_bytes == HEAD {
                self.begin();
            }
        }
        self.left > 0 || self.head_bytes > 0 || self.in_headers
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.head_bytes = 0;
        self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_headers = flags & END_HEADERS == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn a_head_is_under_way_from_its_first_byte_to_its_last() {
        let mut frames = Frames::from_preface();
        assert!(frames.pass(&PREFACE[..10]));
        assert!(!frames.pass(&PREFACE[10..]));
        assert!(!frames.pass(&frame(4, 0, &[])), "settings are whole");
        let headers = frame(HEADERS, 0, b"abc");
        for byte in &headers {
            assert!(frames.pass(&[*byte]));
        }
        assert!(frames.pass(&frame(CONTINUATION, 0, b"d")));
        assert!(!frames.pass(&frame(CONTINUATION, END_HEADERS, b"e")));
        assert!(frames.pass(&frame(0, 0, b"data")[..11]));
        assert!(!frames.pass(b"ta"));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..300_usize) {
            let (mut whole, mut cut) = (Frames::from_preface(), Frames::from_preface());
            let (one, other) = bytes.split_at(at.min(bytes.len()));
            let before = cut.pass(one);
            let after = if other.is_empty() { before } else { cut.pass(other) };
            let at_once = whole.pass(&bytes);
            prop_assert!(bytes.is_empty() || after == at_once);
        }
    }
}
