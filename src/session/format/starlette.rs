//! starsessions: a bare id in the cookie, JSON in the store.

use super::{Absence, Presented, SessionId, Value, json};

/// A UUID without dashes.
const ID_LEN: usize = 32;

/// Nothing is signed: an id that nobody was given has no record.
pub(super) fn verify(cookie: Presented<'_>) -> Result<SessionId, Absence> {
    cookie.bare_id(|id| id.len() == ID_LEN && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

pub(super) fn read(record: &[u8]) -> Result<Value, Absence> {
    Ok(json::read(record)?)
}
