//! What trusted peers say about the way of a request: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use super::{host::Host, site::Site};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::{IpAddr, SocketAddr};

pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The way of a request as far as it can be believed.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// The rightmost hop that is not trusted, or the farthest that is known.
    pub(super) client: Option<IpAddr>,
    /// The trusted hops behind the client, in the order in which the request passed them.
    pub(super) behind: Vec<IpAddr>,
    /// The client's scheme is https.
    pub(super) https: Option<bool>,
    /// The Host that the client sent.
    pub(super) host: Option<Host>,
    /// The port that the client connected to.
    pub(super) port: Option<u16>,
}

/// One element of `Forwarded`: one hop's account of who connected to it.
#[derive(Debug, Default, Clone, Copy)]
struct Element<'a> {
    from: Option<IpAddr>,
    proto: &'a [u8],
    host: &'a [u8],
}

impl Way {
    /// The way of a request whose direct peer is not believed.
    pub(super) fn direct(peer: Option<IpAddr>) -> Self {
        Self { client: peer, ..Self::default() }
    }

    /// The way that a trusted peer describes. `X-Forwarded-*` goes before `Forwarded`.
    pub(super) fn told(headers: &HeaderMap, peer: Option<IpAddr>, site: &Site) -> Self {
        let mut way = Self::direct(peer);
        let elements: Vec<_> = values(headers, &header::FORWARDED).flat_map(elements).collect();
        let from_elements = way.walk(elements.iter().rev().map(|element| element.from), site);
        // The account of the hop that the client reached; hops that hide names still tell the rest.
        let account = elements.iter().rev().nth(from_elements.saturating_sub(1)).copied().unwrap_or_default();

        let mut hops = headers.get_all(FOR).iter().rev().flat_map(|line| line.as_bytes().rsplit(is_comma)).peekable();
        if hops.peek().is_some() {
            way = Self::direct(peer);
            way.walk(hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()).map(hop), site);
        }
        way.behind.reverse();

        let nearest = values(headers, &PROTO).last().and_then(|line| line.rsplit(is_comma).next());
        way.https = nearest.and_then(is_https).or_else(|| is_https(account.proto));
        way.host = only(headers, &HOST).and_then(Host::parse);
        way.host = way.host.or_else(|| Host::parse(&HeaderValue::from_bytes(account.host).ok()?));
        way.port = only(headers, &PORT).and_then(|value| value.to_str().ok()?.parse().ok());
        way
    }

    /// Goes from hop to hop, nearest first, as long as the word of the hop before counts. Returns how many it took.
    fn walk(&mut self, hops: impl Iterator<Item = Option<IpAddr>>, site: &Site) -> usize {
        let mut taken = 0;
        for hop in hops {
            let Some(hop) = hop else { break };
            self.behind.extend(self.client.replace(hop));
            taken += 1;
            if !site.trusts_address(hop) {
                break;
            }
        }
        taken
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

fn is_https(proto: &[u8]) -> Option<bool> {
    match proto.trim_ascii().to_ascii_lowercase().as_slice() {
        b"https" | b"wss" => Some(true),
        b"http" | b"ws" => Some(false),
        _ => None,
    }
}

/// An address as proxies write it: bare, with a port, in brackets.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let unbracketed = || text.strip_prefix('[')?.strip_suffix(']');
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse().map(|socket: SocketAddr| socket.ip()).ok());
    let address = address.or_else(|| unbracketed()?.parse().map(IpAddr::V6).ok());
    address.map(|address| address.to_canonical())
}

fn elements(line: &[u8]) -> Vec<Element<'_>> {
    split(line, b',').into_iter().filter(|element| !element.is_empty()).map(element).collect()
}

fn element(text: &[u8]) -> Element<'_> {
    let mut element = Element::default();
    for pair in split(text, b';') {
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (pair[..equals].trim_ascii(), unquoted(&pair[equals + 1..]));
        match name.to_ascii_lowercase().as_slice() {
            b"for" => element.from = hop(value),
            b"proto" => element.proto = value,
            b"host" => element.host = value,
            _ => {}
        }
    }
    element
}

/// Splits outside of quoted text; an escaped quote ends a text early, which makes its value garbage, not a hop.
fn split(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut quoted = false;
    let parts = text.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == separator && !quoted
    });
    parts.map(<[u8]>::trim_ascii).collect()
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value.trim_ascii() {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    }
}
