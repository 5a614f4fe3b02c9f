//! What no record tells of a session: when it was first seen and last used. Kept beside the record.

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use std::time::Duration;

/// A session's mark. Times are since the Unix epoch, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// When the gateway first saw this user under this id.
    pub(super) first_seen: Duration,
    /// When the session was last used.
    pub(super) used: Duration,
    /// The longest that the record was ever seen to have left.
    pub(super) life: Duration,
    /// Whose it is.
    pub(super) user: User,
}

/// A user's fingerprint: the mark names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User(u64);

impl User {
    pub(super) fn of(user: &str) -> Self {
        let digest = digest(&SHA256, user.as_bytes());
        Self(digest.as_ref().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte)))
    }
}

impl Mark {
    pub(super) fn write(&self) -> Bytes {
        let Self { first_seen, used, life, user } = self;
        format!("{} {} {} {:016x}", first_seen.as_millis(), used.as_millis(), life.as_millis(), user.0).into()
    }

    /// `None` = not a mark.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(' ');
        let mut time = || parts.next()?.parse().ok().map(Duration::from_millis);
        let (first_seen, used, life) = (time()?, time()?, time()?);
        let user = User(u64::from_str_radix(parts.next()?, 16).ok()?);
        parts.next().is_none().then_some(Self { first_seen, used, life, user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is_one() {
        let time = Duration::from_millis;
        let mark = Mark {
            first_seen: time(1_795_216_700_123),
            used: time(1_795_216_700_124),
            life: time(5),
            user: User::of("zoe"),
        };
        assert_eq!(Mark::read(&mark.write()), Some(mark));
        assert_ne!(User::of("zoe"), User::of("zo"));
        for text in ["", "1 2 3", "1 2 3 4 5", "1 2 x 4", "1 2 3 g", "-1 2 3 4", "\u{e4}"] {
            assert_eq!(Mark::read(text.as_bytes()), None, "{text}");
        }
    }
}
