//! Header names as CGI-like upstreams see them: case, `_`, `.` and `-` are alike.

use http::HeaderName;

/// A set of header names and of beginnings of names, compared folded.
#[derive(Debug, Clone)]
pub struct Names {
    whole: Vec<Box<str>>,
    prefixes: Vec<Box<str>>,
    /// One bit for every first byte (modulo 64) that a name of the set may have.
    first: u64,
}

impl Names {
    /// The set of all names that fold to one of `whole` or begin with one of `prefixes`; neither may be empty text.
    pub fn new<'a>(whole: impl IntoIterator<Item = &'a str>, prefixes: impl IntoIterator<Item = &'a str>) -> Self {
        let fold = |name: &str| name.bytes().map(|byte| char::from(folded(byte))).collect::<Box<str>>();
        let whole: Vec<_> = whole.into_iter().map(fold).collect();
        let prefixes: Vec<_> = prefixes.into_iter().map(fold).collect();
        let first = whole.iter().chain(&prefixes).fold(0, |bits, name| bits | bit(name.as_bytes()));
        Self { whole, prefixes, first }
    }

    /// Whether `name`, in whatever spelling, is in the set. Allocates nothing.
    pub fn contains(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        self.first & bit(name) != 0
            && (self.whole.iter().any(|known| same(known.as_bytes(), name))
                || self.prefixes.iter().any(|prefix| begins(name, prefix.as_bytes())))
    }
}

fn folded(byte: u8) -> u8 {
    match byte {
        b'_' | b'.' => b'-',
        _ => byte.to_ascii_lowercase(),
    }
}

fn bit(name: &[u8]) -> u64 {
    name.first().map_or(0, |byte| 1 << (folded(*byte) % 64))
}

fn same(known: &[u8], name: &[u8]) -> bool {
    known.len() == name.len() && begins(name, known)
}

fn begins(name: &[u8], prefix: &[u8]) -> bool {
    name.len() >= prefix.len() && prefix.iter().zip(name).all(|(known, byte)| *known == folded(*byte))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every way to spell `name` that folds to it.
    pub(crate) fn spellings(name: &'static str) -> impl Strategy<Value = HeaderName> {
        proptest::collection::vec(0_u8..4, name.len()).prop_map(move |choices| {
            let spell = |(byte, choice): (u8, u8)| match (byte, choice) {
                (b'-', 0) => b'_',
                (b'-', 1) => b'.',
                (_, 2) => byte.to_ascii_uppercase(),
                _ => byte,
            };
            let spelled: Vec<u8> = name.bytes().zip(choices).map(spell).collect();
            HeaderName::from_bytes(&spelled).expect("the spelling is a token")
        })
    }

    #[test]
    fn a_set_holds_whole_names_and_beginnings() {
        let names = Names::new(["Remote-User", "proxy"], ["x-auth-request-"]);
        for name in ["remote-user", "remote_user", "REMOTE.USER", "proxy", "x-auth_request-x", "x-auth-request-"] {
            assert!(names.contains(&HeaderName::from_bytes(name.as_bytes()).expect("a token")), "{name}");
        }
        for name in ["remote-users", "remoteuser", "proxy-authorization", "x-auth-request", "range", "x"] {
            assert!(!names.contains(&HeaderName::from_bytes(name.as_bytes()).expect("a token")), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_spelling_is_in_the_set(name in spellings("x-forwarded-user")) {
            prop_assert!(Names::new(["x-forwarded-user"], []).contains(&name));
        }
    }
}
