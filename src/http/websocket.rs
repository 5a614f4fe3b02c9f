//! WebSockets (RFC 6455): which messages ask for one and agree to it, and where its frames end.

use super::Head;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, Version, header};
use hyper::ext::Protocol;
use ring::digest;

const PROTOCOL: &[u8] = b"websocket";

const CLOSE_AND_FINAL: u8 = 0x88;
const CLOSE: u8 = 0x8;
const MASKED: u8 = 0x80;

/// The longest header that says how long a frame is: two bytes and a length of eight.
const HEADER_BYTES_MAX: usize = 10;

/// Whether a request asks for a WebSocket and for nothing else. Upgrades to other protocols are not for a gateway to
/// pass on: nobody behind them would still be asked who is calling.
pub fn is_asked_for(head: &Head) -> bool {
    head.headers.contains_key(header::UPGRADE)
        && head.method == Method::GET
        && matches!(head.version, Version::HTTP_11 | Version::HTTP_2)
        && is_named(&head.headers)
        && names_upgrade(&head.headers)
        && !head.headers.contains_key(header::TRANSFER_ENCODING)
        && head.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
}

/// Whether `Upgrade` names this protocol and no other.
pub fn is_named(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(header::UPGRADE).iter();
    named.next().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(PROTOCOL)) && named.next().is_none()
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// Says as in HTTP/1.1 what an extended CONNECT of HTTP/2 asks for (RFC 8441 section 5), which has no key of its own.
/// Any other CONNECT stays what it is.
pub fn translate(head: &mut Head) {
    let asked = head.extensions.get::<Protocol>();
    if head.method != Method::CONNECT || asked.is_none_or(|protocol| protocol.as_str().as_bytes() != PROTOCOL) {
        return;
    }
    let mut random = [0; 16];
    // It only tells a WebSocket's server from one of something else.
    let _ = getrandom::fill(&mut random);
    let Ok(key) = HeaderValue::from_str(&STANDARD.encode(random)) else { return };
    head.method = Method::GET;
    head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
    announce(&mut head.headers);
}

/// The key of a request that [`translate`] has made: nothing else of HTTP/2 has an `Upgrade`.
pub fn key_over_http2(head: &Head) -> Option<&HeaderValue> {
    let asked = head.version == Version::HTTP_2 && head.headers.contains_key(header::UPGRADE);
    if asked { head.headers.get(header::SEC_WEBSOCKET_KEY) } else { None }
}

/// The `Sec-WebSocket-Accept` that belongs to a key (RFC 6455 section 4.2.2).
pub fn accept_of(key: &[u8]) -> String {
    let mut sum = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sum.update(key);
    sum.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sum.finish())
}

/// Says on the next connection what `Upgrade` and `Connection` said on the one before.
pub fn announce(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Why the gateway ends a WebSocket (RFC 6455 section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// 1001: nobody uses it, or the gateway leaves.
    GoingAway,
    /// 1008: whoever it was opened for may not use it any more.
    SessionOver,
}

impl Goodbye {
    fn payload(self) -> &'static [u8] {
        match self {
            Self::GoingAway => b"\x03\xe9",
            Self::SessionOver => b"\x03\xf0the session is over",
        }
    }
}

/// Who is told that the gateway leaves: clients mask what they send, servers do not (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The gateway speaks as the server.
    Client,
    /// The gateway speaks as the client.
    Server,
}

impl Peer {
    /// A Close frame.
    pub fn close(self, why: Goodbye) -> Vec<u8> {
        let payload = why.payload();
        let mut frame = vec![CLOSE_AND_FINAL, payload.len() as u8];
        if self == Self::Client {
            frame.extend_from_slice(payload);
            return frame;
        }
        let mut mask = [0; 4];
        // Without randomness the mask hides nothing, and there is nothing to hide.
        let _ = getrandom::fill(&mut mask);
        frame[1] |= MASKED;
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }
}

/// The frames of one direction, as far as they have passed.
#[derive(Debug, Default)]
pub struct Frames {
    header: [u8; HEADER_BYTES_MAX],
    /// How much of the open frame's header is known; 0 between two frames.
    known: usize,
    /// How much of the open frame is still to come behind its header.
    left: u64,
    closed: bool,
}

impl Frames {
    /// Whether all frames that began have passed whole.
    pub fn is_between(&self) -> bool {
        self.known == 0
    }

    /// Whether a Close frame has passed.
    pub fn said_close(&self) -> bool {
        self.closed
    }

    /// Passes over these bytes.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.pass_frame(bytes)..];
        }
    }

    /// Passes over these bytes up to the end of the frame that is open, or that begins with them; returns how many
    /// those are.
    pub fn pass_frame(&mut self, bytes: &[u8]) -> usize {
        // Most frames are short and come whole.
        if let (0, [first, second, rest @ ..]) = (self.known, bytes)
            && let Some(left) = short(*second).filter(|left| *left <= rest.len())
        {
            self.closed |= first & 0xf == CLOSE;
            return 2 + left;
        }
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.left > 0 {
                let here = bytes.len() - at;
                let passed = usize::try_from(self.left).map_or(here, |left| left.min(here));
                self.left -= passed as u64;
                at += passed;
            } else {
                self.header[self.known] = *byte;
                self.known += 1;
                at += 1;
                let Some(left) = self.announced() else { continue };
                self.left = left;
            }
            if self.left == 0 {
                self.closed |= self.header[0] & 0xf == CLOSE;
                self.known = 0;
                break;
            }
        }
        at
    }

    /// How much follows the header: mask and payload. `None` until it is known.
    fn announced(&self) -> Option<u64> {
        let second = *self.header[..self.known].get(1)?;
        if let Some(left) = short(second) {
            return Some(left as u64);
        }
        let extended = if second & !MASKED == 126 { 2..4 } else { 2..10 };
        let digits = self.header[..self.known].get(extended)?;
        let length = digits.iter().fold(0, |length, digit| length << 8 | u64::from(*digit));
        Some(length.saturating_add(mask_bytes(second) as u64))
    }
}

/// How much follows the first two bytes of a frame whose length the second one says.
fn short(second: u8) -> Option<usize> {
    let length = usize::from(second & !MASKED);
    (length < 126).then(|| length + mask_bytes(second))
}

fn mask_bytes(second: u8) -> usize {
    if second & MASKED == 0 { 0 } else { 4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asks(lines: &[(&str, &str)]) -> bool {
        let mut request = http::Request::get("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        is_asked_for(&request.body(()).expect("the test's request is valid").into_parts().0)
    }

    #[test]
    fn only_a_websocket_is_an_upgrade() {
        assert!(asks(&[("connection", "keep-alive, UPGRADE"), ("upgrade", "WebSocket")]));
        let connection = ("connection", "upgrade");
        for lines in [
            &[connection, ("upgrade", "h2c")][..],
            &[connection, ("upgrade", "websocket, h2c")],
            &[connection, ("upgrade", "websocket"), ("upgrade", "h2c")],
            &[connection, ("upgrade", "websocket/13")],
            &[connection],
            &[("upgrade", "websocket")],
            &[("connection", "close"), ("upgrade", "websocket")],
            &[connection, ("upgrade", "websocket"), ("content-length", "1")],
            &[connection, ("upgrade", "websocket"), ("transfer-encoding", "chunked")],
        ] {
            assert!(!asks(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_key_is_accepted_as_the_standard_says() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_extended_connect_is_the_same_request_as_over_http_1() {
        let translated = |protocol: Option<&'static str>| {
            let request = http::Request::connect("https://a.test/chat").version(Version::HTTP_2);
            let (mut head, ()) = request.body(()).expect("the test's request is valid").into_parts();
            if let Some(protocol) = protocol {
                head.extensions.insert(Protocol::from_static(protocol));
            }
            translate(&mut head);
            head
        };
        let head = translated(Some("websocket"));
        assert!(head.method == Method::GET && is_asked_for(&head) && key_over_http2(&head).is_some());
        assert_eq!(translated(Some("connect-udp")).method, Method::CONNECT);
        assert_eq!(translated(None).method, Method::CONNECT);
    }

    #[test]
    fn a_goodbye_reads_back_with_and_without_mask() {
        let peers = [Peer::Client, Peer::Server];
        for (peer, why) in peers.into_iter().flat_map(|peer| [(peer, Goodbye::GoingAway), (peer, Goodbye::SessionOver)])
        {
            let frame = peer.close(why);
            let mut frames = Frames::default();
            assert_eq!(frames.pass_frame(&frame), frame.len());
            assert!(frames.is_between() && frames.said_close());
            assert_eq!(frame[1] & MASKED != 0, peer == Peer::Server);
        }
    }

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0x88, length + if masked { 4 } else { 0 }));
        frame
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_they_are_cut(
            frames in proptest::collection::vec((0_u8..8, any::<bool>(), prop_oneof![0_usize..300, 65_530_usize..65_550]), 1..6),
            cuts in proptest::collection::vec(1_usize..40_000, 1..8),
        ) {
            let written: Vec<Vec<u8>> = frames.iter().map(|(opcode, masked, length)| frame(*opcode, *masked, *length)).collect();
            let bytes = written.concat();
            let ends: Vec<usize> = written.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let (mut read, mut at, mut found) = (Frames::default(), 0, Vec::new());
            let mut cuts = cuts.iter().cycle();
            while at < bytes.len() {
                let until = bytes.len().min(at + cuts.next().expect("cycles"));
                while at < until {
                    at += read.pass_frame(&bytes[at..until]);
                    if read.is_between() {
                        found.push(at);
                    }
                }
            }
            prop_assert_eq!(found, ends);
            prop_assert!(!read.said_close());
        }
    }
}
