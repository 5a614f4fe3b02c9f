//! alexedwards/scs with its Redis store: a bare token in the cookie, gob in the store.

use super::{Absence, Presented, SessionId, Value, gob};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};

/// 256 bits in base64url.
const TOKEN_LEN: usize = 43;

/// Nothing is signed: a token that nobody was given has no record.
pub(super) fn verify(cookie: Presented<'_>) -> Result<SessionId, Absence> {
    let token = cookie.unquoted()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if token.len() == TOKEN_LEN && token.bytes().all(fits) {
        Ok(SessionId::new(token))
    } else {
        Err(Absence::Malformed)
    }
}

/// What the store calls a token with `HashTokenInStore`.
pub(super) fn hashed(id: &SessionId) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, id.expose().as_bytes()))
}

/// A record is a deadline, which the app does not look at, and the data.
pub(super) fn read(record: &[u8]) -> Result<Value, Absence> {
    match gob::read(record)? {
        Value::Map(parts) => {
            let values = parts.into_iter().find(|(name, _)| name == "Values");
            // Go leaves an empty map out.
            Ok(values.map_or(Value::Map(Vec::new()), |(_, values)| values))
        }
        _ => Err(Absence::Unreadable("not a struct")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::format::tests::presented;

    #[test]
    fn a_token_has_43_letters_and_nothing_else() {
        let token = "WIrFC0SQF16dnXgrQpPI011tALuZZYMceF3Ia0RwVeU";
        assert_eq!(verify(presented(token)), Ok(SessionId::new(token)));
        assert_eq!(verify(presented(&format!("\"{token}\""))), Ok(SessionId::new(token)));
        for value in ["", &token[1..], &format!("{token}x"), &token.replace('W', "."), &token.replace('W', "%57")] {
            assert_eq!(verify(presented(value)), Err(Absence::Malformed), "{value}");
        }
    }
}
