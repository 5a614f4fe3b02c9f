//! What is counted under: the facts of a request that a limit names, as one short key that shows none of them.

use crate::config::limits::By;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use ring::digest;
use std::{fmt, net::IpAddr};

/// The facts that are known of a request so far.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) client: Option<IpAddr>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// `None` until it is known who is calling; then the user, if there is one.
    pub(super) user: Option<Option<String>>,
    /// As `user`.
    pub(super) session: Option<Option<String>>,
    /// `None` until there is a response.
    pub(super) response: Option<Vec<(HeaderName, HeaderValue)>>,
}

/// One key; two requests have the same if and only if the limit does not tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

/// Whether a limit can be kept with the facts of now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Under this key.
    Key(Key),
    /// Not yet.
    Later,
    /// Never: the response does not have the header.
    Never,
}

impl Facts {
    /// The key of these parts.
    pub(super) fn key(&self, by: &[By]) -> Found {
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut add = |kind: u8, bytes: &[u8]| {
            digest.update(&[kind]);
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        for part in by {
            match part {
                By::Ip => add(b'i', &self.network()),
                By::User | By::Session => {
                    let (kind, fact) = if *part == By::User { (b'u', &self.user) } else { (b's', &self.session) };
                    match fact {
                        None => return Found::Later,
                        Some(Some(text)) => add(kind, text.as_bytes()),
                        Some(None) => add(b'i', &self.network()),
                    }
                }
                By::Header(name) => {
                    let mut lines = self.headers.iter().filter(|(known, _)| known == name).peekable();
                    if lines.peek().is_none() {
                        add(b'i', &self.network());
                    }
                    lines.for_each(|(_, value)| add(b'h', value.as_bytes()));
                }
                By::Response(name) => {
                    let Some(headers) = &self.response else { return Found::Later };
                    let Some((_, value)) = headers.iter().find(|(known, _)| known == name) else {
                        return Found::Never;
                    };
                    add(b'r', value.as_bytes());
                }
            }
        }
        let mut key = [0; 16];
        key.copy_from_slice(&digest.finish().as_ref()[..16]);
        Found::Key(Key(key))
    }

    /// The client's address; of IPv6 the half that one customer has.
    fn network(&self) -> Vec<u8> {
        match self.client {
            None => Vec::new(),
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets()[..8].to_vec(),
        }
    }
}

impl Key {
    /// Some of its bits, evenly spread.
    pub(super) fn spread(&self) -> usize {
        usize::from(self.0[0])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(client: &str) -> Facts {
        Facts { client: client.parse().ok(), ..Facts::default() }
    }

    #[test]
    fn an_address_counts_whole_or_by_its_network() {
        let key = |client| from(client).key(&[By::Ip]);
        assert_eq!(key("192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    }

    #[test]
    fn a_fact_that_is_missing_is_waited_for_or_stands_for_the_address() {
        let header = HeaderName::from_static("x-account");
        let response = [By::Response(header.clone())];
        let mut facts = from("192.0.2.1");
        assert_eq!((facts.key(&[By::Ip, By::User]), facts.key(&response)), (Found::Later, Found::Later));
        facts.user = Some(None);
        assert_eq!(facts.key(&[By::User]), facts.key(&[By::Ip]));
        facts.user = Some(Some("ada".to_owned()));
        assert_ne!(facts.key(&[By::User]), facts.key(&[By::Ip]));
        assert_eq!(facts.key(&[By::Header(header.clone())]), facts.key(&[By::Ip]));
        facts.response = Some(Vec::new());
        assert_eq!(facts.key(&response), Found::Never);
        facts.response = Some(vec![(header, HeaderValue::from_static("ada"))]);
        assert!(matches!(facts.key(&response), Found::Key(_)));
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        let header = |value: &'static str| (HeaderName::from_static("x-a"), HeaderValue::from_static(value));
        let by = [By::Header(HeaderName::from_static("x-a")), By::User];
        let facts = |value, user: &str| Facts {
            headers: vec![header(value)],
            user: Some(Some(user.to_owned())),
            ..from("192.0.2.1")
        };
        assert_ne!(facts("ab", "c").key(&by), facts("a", "bc").key(&by));
    }
}
