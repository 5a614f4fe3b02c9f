//! The one Host of a request.

use super::Head;
use http::{HeaderValue, header, uri::Scheme};

/// One validated host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What a Host field carries: one name or address and perhaps a port, as the client spelled it.
    pub authority: HeaderValue,
    name_bytes: usize,
    port: Option<u16>,
}

/// Why a Host cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFault {
    /// 400: none, two, not one host and port, or not what the absolute-form target says.
    Invalid(&'static str),
    /// 421: not one of ours.
    NotOurs,
    /// 308: one that sends its visitors to the public URL.
    Elsewhere,
}

impl Host {
    /// The host that the client sent: exactly one, valid, and equal to an absolute-form target's authority (RFC 9112
    /// section 3.2.2 would let the target win; no client of ours differs).
    pub fn of(head: &Head) -> Result<Self, HostFault> {
        let mut lines = head.headers.get_all(header::HOST).iter();
        let host = match (lines.next(), lines.next()) {
            (None, _) => return Err(HostFault::Invalid("there is no Host")),
            (Some(_), Some(_)) => return Err(HostFault::Invalid("there is more than one Host")),
            (Some(line), None) => Self::parse(line).ok_or(HostFault::Invalid("the Host is not one host and port"))?,
        };

        let Some(authority) = head.uri.authority() else { return Ok(host) };
        let default = head.uri.scheme().map(|scheme| if *scheme == Scheme::HTTPS { 443 } else { 80 });
        let (name, port) = split(authority.as_str()).ok_or(HostFault::Invalid("the target's host is not valid"))?;
        let same_port = port.or(default) == host.port.or(default);
        if same_port && name.eq_ignore_ascii_case(host.name()) {
            Ok(host)
        } else {
            Err(HostFault::Invalid("the target's host is not the Host"))
        }
    }

    /// Reads one name, IPv4 or bracketed IPv6 address, and perhaps a port (RFC 9110 section 7.2). Names are letters,
    /// digits, `-`, `.` and `_`.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let (name, port) = split(value.to_str().ok()?)?;
        Some(Self { authority: value.clone(), name_bytes: name.len(), port })
    }

    /// The name or address without the port, as the client spelled it; an IPv6 address in brackets.
    pub fn name(&self) -> &str {
        self.authority.to_str().map_or("", |text| &text[..self.name_bytes])
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// A name in the form in which names are compared: without brackets and without the root's dot.
pub fn bare_name(name: &str) -> &str {
    let unbracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    unbracketed.strip_suffix('.').unwrap_or(unbracketed)
}

pub(super) fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let name_bytes = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(name_bytes);
    is_name(name).then_some(())?;
    if port.is_empty() {
        return Some((name, None));
    }
    let digits = port.strip_prefix(':')?;
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((name, Some(digits.parse().ok()?)))
}

fn is_name(name: &str) -> bool {
    if name.starts_with('[') {
        return bare_name(name).parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !bare_name(name).is_empty() && name.len() <= 255 && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str, hosts: &[&str]) -> Result<(String, Option<u16>), HostFault> {
        let mut request = http::Request::builder().uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let (head, ()) = request.body(()).expect("the test's request is valid").into_parts();
        Host::of(&head).map(|host| (host.name().to_owned(), host.port()))
    }

    #[test]
    fn one_host_with_or_without_a_port_is_read() {
        let accepted = [
            ("example.test", "example.test", None),
            ("Example.TEST:8080", "Example.TEST", Some(8080)),
            ("example.test.", "example.test.", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
            ("my_service", "my_service", None),
        ];
        for (value, name, port) in accepted {
            assert_eq!(of("/", &[value]), Ok((name.to_owned(), port)), "{value:?}");
        }
    }

    #[test]
    fn anything_but_one_host_is_invalid() {
        let refused = [
            "",
            "a@b",
            "u:p@a",
            "example.test/admin",
            "a b",
            "a,b",
            "a:",
            "a:x",
            "a:+1",
            "a:65536",
            "a:000080",
            "a:1:2",
            ":80",
            ".",
            "[::1",
            "::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[]",
            "[a]",
            "a?b",
            "a#b",
            "a\\b",
            "a%2eb",
            "\u{e9}",
        ];
        for value in refused {
            assert!(matches!(of("/", &[value]), Err(HostFault::Invalid(_))), "{value:?}");
        }
        assert!(of("/", &[]).is_err());
        assert!(of("/", &["a", "a"]).is_err());
    }

    #[test]
    fn an_absolute_target_names_the_same_host() {
        assert!(of("http://a.test/", &["A.test"]).is_ok());
        assert!(of("http://a.test:80/", &["a.test"]).is_ok());
        assert!(of("https://a.test/", &["a.test:443"]).is_ok());
        for (target, host) in
            [("http://b.test/", "a.test"), ("http://a.test:81/", "a.test"), ("https://a.test/", "a.test:80")]
        {
            assert!(matches!(of(target, &[host]), Err(HostFault::Invalid(_))), "{target} {host}");
        }
    }
}
