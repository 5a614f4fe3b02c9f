//! Rails with redis-actionpack, redis-session-store or its cache store: an id in the cookie, a record under its hash.

mod cache;

use super::{Absence, Opened, Presented, SessionId, hex, json};
use crate::session::value::marshal;
use ring::digest;
use std::time::Duration;

/// 128 bits in hex.
const ID_LEN: usize = 32;

/// Nothing is signed: an id that nobody was given has no record.
pub(super) fn verify(cookie: Presented<'_>) -> Result<SessionId, Absence> {
    cookie.decoded_id(|id| id.len() == ID_LEN && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// The private id alone: whoever can read keys must not be able to make a cookie of one (CVE-2019-16782).
pub(super) fn private_id(id: &SessionId) -> String {
    let hash = digest::digest(&digest::SHA256, id.expose().as_bytes());
    ["2::", &*hex(hash.as_ref())].concat()
}

/// Reads a record, whichever store and serializer wrote it; a cache's entry says itself when it ends.
pub(super) fn read(record: &[u8], now: Duration) -> Result<Opened, Absence> {
    let opened = match cache::read(record)? {
        Some(entry) => entry,
        None if record.starts_with(b"{") => Opened { data: json::read(record)?, ends: None },
        None => Opened { data: marshal::read(record)?, ends: None },
    };
    opened.unless_over(now)
}

#[cfg(test)]
mod tests;
