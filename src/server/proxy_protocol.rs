//! The PROXY protocol, versions 1 and 2: whom a load balancer speaks for (haproxy.org, proxy-protocol.txt).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest version 1 header, line end included.
const V1_MAX: usize = 107;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length.
const V2_HEAD: usize = 16;
/// Addresses and attributes; nobody sends more, and anybody may claim to.
const V2_BODY_MAX: usize = 4096;
/// The attribute that tells about TLS.
const TLS_ATTRIBUTE: u8 = 0x20;

/// The connection that a header tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxied {
    /// The client, and the port that it connected to.
    pub client: IpAddr,
    /// See [`Self::client`].
    pub port: u16,
    /// The client came over TLS.
    pub https: bool,
}

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Not enough to tell.
    Unfinished,
    /// No PROXY header.
    Other,
    /// A header that is none: nobody may serve what follows.
    Malformed,
    /// A header of so many bytes; without a client the balancer speaks for itself.
    Header(usize, Option<Proxied>),
}

/// Reads the beginning of a connection.
pub fn read(bytes: &[u8]) -> Beginning {
    for (signature, read) in [(V1, read_v1 as fn(&[u8]) -> Beginning), (V2, read_v2)] {
        let known = signature.len().min(bytes.len());
        if bytes[..known] == signature[..known] {
            return if known < signature.len() { Beginning::Unfinished } else { read(bytes) };
        }
    }
    Beginning::Other
}

fn read_v1(bytes: &[u8]) -> Beginning {
    let shown = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = shown.windows(2).position(|window| window == b"\r\n") else {
        return if shown.len() < V1_MAX { Beginning::Unfinished } else { Beginning::Malformed };
    };
    let line = std::str::from_utf8(&bytes[V1.len()..end]).unwrap_or_default();
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Beginning::Header(end + 2, None);
    }
    let fields: Vec<_> = line.split(' ').collect();
    let [family, client, server, from, to] = fields[..] else { return Beginning::Malformed };
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).ok(),
        "TCP6" => text.parse().map(IpAddr::V6).ok(),
        _ => None,
    };
    match (address(client), address(server), port(from), port(to)) {
        (Some(client), Some(_), Some(_), Some(port)) => {
            Beginning::Header(end + 2, Some(Proxied { client, port, https: false }))
        }
        _ => Beginning::Malformed,
    }
}

fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn read_v2(bytes: &[u8]) -> Beginning {
    let Some((head, rest)) = bytes.split_at_checked(V2_HEAD) else { return Beginning::Unfinished };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > V2_BODY_MAX || head[12] >> 4 != 2 {
        return Beginning::Malformed;
    }
    let Some(body) = rest.get(..length) else { return Beginning::Unfinished };
    let header = |proxied| Beginning::Header(V2_HEAD + length, proxied);
    match (head[12] & 0xF, head[13]) {
        (0, _) => header(None),
        // Over TCP, IPv4 and IPv6.
        (1, 0x11) => addressed(body, 12, |body| array::<4>(body).map(|octets| Ipv4Addr::from(octets).into()), header),
        (1, 0x21) => addressed(body, 36, |body| array::<16>(body).map(|octets| Ipv6Addr::from(octets).into()), header),
        // Unspecified, or a unix socket: there is no address to tell about.
        (1, 0x00 | 0x31 | 0x32) => header(None),
        _ => Beginning::Malformed,
    }
}

/// Client, server, their ports, then attributes.
fn addressed(
    body: &[u8],
    length: usize,
    address: fn(&[u8]) -> Option<IpAddr>,
    header: impl Fn(Option<Proxied>) -> Beginning,
) -> Beginning {
    let port = body.get(length - 2..length).and_then(array).map(u16::from_be_bytes);
    match (address(body), port, body.get(length..).and_then(tells_tls)) {
        (Some(client), Some(port), Some(https)) => header(Some(Proxied { client, port, https })),
        _ => Beginning::Malformed,
    }
}

fn array<const LENGTH: usize>(bytes: &[u8]) -> Option<[u8; LENGTH]> {
    bytes.first_chunk().copied()
}

/// Whether the attributes say that the client came over TLS; `None` where one is longer than the header.
fn tells_tls(mut attributes: &[u8]) -> Option<bool> {
    let mut https = false;
    while let Some((&[kind, high, low], rest)) = attributes.split_first_chunk() {
        let (value, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        https |= kind == TLS_ATTRIBUTE && value.first().is_some_and(|client| client & 1 == 1);
        attributes = behind;
    }
    attributes.is_empty().then_some(https)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [V2, &[command, family], &length, body].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xBB];

    fn client(address: &str, https: bool) -> Option<Proxied> {
        Some(Proxied { client: address.parse().expect("an address"), port: 443, https })
    }

    #[test]
    fn both_versions_are_read_and_what_follows_stays() {
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";
        assert_eq!(read(&[line, &b"GET"[..]].concat()), Beginning::Header(line.len(), client("192.0.2.7", false)));
        let line = b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n";
        assert_eq!(read(line), Beginning::Header(line.len(), client("2001:db8::7", false)));
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Beginning::Header(15, None));
        assert_eq!(read(b"PROXY UNKNOWN ff::1 ff::2 1 2\r\nx"), Beginning::Header(31, None));
        assert_eq!(read(&v2(0x21, 0x11, &IPV4)), Beginning::Header(28, client("192.0.2.7", false)));
        assert_eq!(read(&v2(0x20, 0x00, &[])), Beginning::Header(16, None));
        let attributes = [&IPV4[..], &[0x04, 0, 1, 0, 0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        assert_eq!(read(&v2(0x21, 0x11, &attributes)), Beginning::Header(40, client("192.0.2.7", true)));
    }

    #[test]
    fn what_is_not_whole_is_waited_for_and_what_is_no_header_is_told_apart() {
        let whole = v2(0x21, 0x11, &IPV4);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Beginning::Unfinished, "{length}");
        }
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";
        for length in 0..line.len() {
            assert_eq!(read(&line[..length]), Beginning::Unfinished, "{length}");
        }
        for other in [&b"GET / HTTP/1.1\r\n"[..], b"PROXX", b"PUT", b"\r\n\r\nGET", b"\x16\x03\x01"] {
            assert_eq!(read(other), Beginning::Other, "{other:?}");
        }
    }

    #[test]
    fn nothing_malformed_is_taken_for_an_address() {
        let lines = [
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443 \r\n",
            "PROXY TCP4 192.0.2.7  10.0.0.1 12345 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY \r\n",
        ];
        for line in lines {
            assert_eq!(read(line.as_bytes()), Beginning::Malformed, "{line:?}");
        }
        assert_eq!(read(&[b"PROXY ", &[b'x'; 101][..]].concat()), Beginning::Malformed);
        let beyond = [&IPV4[..], &[0x20, 0, 9, 1]].concat();
        for bytes in [
            v2(0x11, 0x11, &IPV4),
            v2(0x22, 0x11, &IPV4),
            v2(0x21, 0x12, &IPV4),
            v2(0x21, 0x11, &IPV4[..11]),
            v2(0x21, 0x21, &IPV4),
            v2(0x21, 0x11, &beyond),
            v2(0x21, 0x11, &[0; 5000]),
        ] {
            assert_eq!(read(&bytes), Beginning::Malformed, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_read_without_a_panic(head in 0..3_usize, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let begun = [&[][..], V1, V2][head];
            if let Beginning::Header(length, _) = read(&[begun, &bytes].concat()) {
                prop_assert!(length <= begun.len() + bytes.len());
            }
        }
    }
}
