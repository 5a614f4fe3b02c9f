//! starsessions: a bare id in the cookie, JSON in the store. starlette-session: a signed cookie, a pickle in the store.

use super::{
    Absence, Presented, SessionId, Value, json,
    python::{is_uuid4, unquote, unsign},
};
use crate::{
    secret::Secret,
    session::value::{json::Author, pickle},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY},
};
use std::time::Duration;

/// A UUID without dashes.
const ID_LEN: usize = 32;
/// What itsdangerous derives its key with.
const SALT: &str = "itsdangerous.Signersigner";
/// The cookie's member with the id.
const ID: &str = "_cssid";

/// Sessions of Starlette and FastAPI apps.
#[derive(Debug)]
pub(in crate::session) enum Starlette {
    /// starsessions.
    Bare,
    /// starlette-session.
    Signed {
        /// One per secret.
        keys: Vec<hmac::Key>,
        /// How old a cookie may be.
        max_age: Duration,
    },
}

impl Starlette {
    pub(super) fn compile(secrets: &[Secret], max_age: Duration) -> Self {
        if secrets.is_empty() {
            return Self::Bare;
        }
        let key = |secret: &Secret| {
            let key = digest(&SHA1_FOR_LEGACY_USE_ONLY, [SALT, secret.expose()].concat().as_bytes());
            hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_ref())
        };
        Self::Signed { keys: secrets.iter().map(key).collect(), max_age }
    }

    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        let value = unquote(cookie.value);
        let Self::Signed { keys, max_age } = self else {
            return Presented { value: &value, ..cookie }
                .bare_id(|id| id.len() == ID_LEN && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        };
        let value = str::from_utf8(&value).map_err(|_| Absence::Malformed)?;
        let (data, signed_at) = unsign(value, keys)?.rsplit_once('.').ok_or(Absence::Malformed)?;
        let signed_at = URL_SAFE_NO_PAD.decode(signed_at).ok().filter(|bytes| bytes.len() <= 8);
        let signed_at = signed_at.ok_or(Absence::Malformed)?.iter().fold(0, |time, byte| time << 8 | u64::from(*byte));
        // A cookie from the future is refused as well, as itsdangerous does.
        let age = cookie.now.as_secs().checked_sub(signed_at).ok_or(Absence::Lapsed)?;
        if age > max_age.as_secs() {
            return Err(Absence::Lapsed);
        }
        let data = STANDARD.decode(data).map_err(|_| Absence::Malformed)?;
        match json::read(&data).map_err(|_| Absence::Malformed)?.member(ID) {
            Some(Value::Text(id)) => Presented { value: id.as_bytes(), ..cookie }.bare_id(is_uuid4),
            _ => Err(Absence::Malformed),
        }
    }

    pub(super) fn read(&self, record: &[u8]) -> Result<Value, Absence> {
        Ok(match self {
            Self::Bare => json::read_as(Author::Python, record)?,
            Self::Signed { .. } => pickle::read(record)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "b4d3a3c1-1180-4e1b-b67d-a8f26ea5cc19";
    const NOW: u64 = 1_795_217_076;

    fn starlette(secrets: &[&str]) -> Starlette {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        Starlette::compile(&secrets, Duration::from_secs(60))
    }

    fn judge(starlette: &Starlette, value: &str, now: u64) -> Result<String, Absence> {
        let cookie = Presented { value: value.as_bytes(), now: Duration::from_secs(now), ..Presented::default() };
        starlette.verify(cookie).map(|id| id.expose().to_owned())
    }

    fn signed(data: &str) -> String {
        let Starlette::Signed { keys, .. } = starlette(&["star secret"]) else { panic!("without keys") };
        let text = format!("{}.{}", STANDARD.encode(data), URL_SAFE_NO_PAD.encode((NOW as u32).to_be_bytes()));
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&keys[0], text.as_bytes())))
    }

    #[test]
    fn a_signed_cookie_counts_for_as_long_as_the_app_says() {
        let starlette = starlette(&["newest", "star secret"]);
        let cookie = signed(&format!("{{\"_cssid\": \"{UUID}\"}}"));
        for now in [NOW, NOW + 60] {
            assert_eq!(judge(&starlette, &cookie, now).as_deref(), Ok(UUID));
        }
        assert_eq!(judge(&starlette, &format!("{cookie}=="), NOW).as_deref(), Ok(UUID));
        for now in [NOW - 1, NOW + 61] {
            assert_eq!(judge(&starlette, &cookie, now), Err(Absence::Lapsed));
        }
    }

    #[test]
    fn what_is_not_signed_or_names_no_uuid_is_refused() {
        let starlette = starlette(&["star secret"]);
        let cookie = signed(&format!("{{\"_cssid\": \"{UUID}\"}}"));
        for value in [&cookie[1..], &cookie[..cookie.len() - 1], &cookie.replace("In0=", "In0")] {
            assert_eq!(judge(&starlette, value, NOW), Err(Absence::BadSignature), "{value}");
        }
        for data in ["{}", "[]", "{\"_cssid\": 7}", "{\"_cssid\": \"sess:other\"}", "garbage"] {
            assert_eq!(judge(&starlette, &signed(data), NOW), Err(Absence::Malformed), "{data}");
        }
        assert_eq!(judge(&starlette, UUID, NOW), Err(Absence::Malformed));
    }

    #[test]
    fn a_bare_id_is_32_hex_digits() {
        let bare = starlette(&[]);
        let id = "0354bb9acd0ef112c8229f8af5ba19f6";
        for value in [id, &format!("\"{id}\"")] {
            assert_eq!(judge(&bare, value, NOW).as_deref(), Ok(id));
        }
        for value in ["", &id[1..], &id.to_uppercase(), &id.replace('f', "g"), UUID] {
            assert_eq!(judge(&bare, value, NOW), Err(Absence::Malformed), "{value}");
        }
    }
}
