//! Laravel with its redis driver: an encrypted cookie that names a record, which may be encrypted, too.

mod encrypter;

use super::{Absence, Fault, Presented, SessionId, Value, hex, json, php::into_record, spellings};
use crate::{secret::Secret, session::value::php};
use encrypter::{Encrypter, Key};
use percent_encoding::percent_decode;
use subtle::ConstantTimeEq;

/// The length of an id: letters and digits.
const ID_LEN: usize = 40;
/// How the JSON of an envelope begins in base64; neither an array nor JSON does.
const ENVELOPE: &[u8] = b"eyJ";

/// Sessions of Laravel apps.
#[derive(Debug)]
pub(super) struct Laravel {
    /// What a session's cookie is marked with, besides the key.
    cookie: Box<str>,
    encrypter: Encrypter,
}

impl Laravel {
    /// Takes APP_KEY, then APP_PREVIOUS_KEYS.
    pub(super) fn compile(cookie: &str, secrets: &[Secret]) -> Self {
        Self { cookie: cookie.into(), encrypter: Encrypter::compile(secrets) }
    }

    /// Judges as EncryptCookies and StartSession do: the text inside begins with a mark that only this cookie's name
    /// and this key make, so that no other encrypted cookie of the app names a session.
    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        let value: Vec<u8> = percent_decode(cookie.value).collect();
        let (text, key) = self.encrypter.open(&value)?;
        let mark = mark(key, &self.cookie);
        let (marked, id) = text.split_at_checked(mark.len()).ok_or(Absence::BadSignature)?;
        if !bool::from(marked.ct_eq(mark.as_bytes())) {
            return Err(Absence::BadSignature);
        }
        let fits = |id: &&str| id.len() == ID_LEN && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        str::from_utf8(id).ok().filter(fits).map(SessionId::new).ok_or(Absence::Malformed)
    }

    /// Reads a record: the cache's own `serialize` around the session's, which may be PHP's, JSON or an envelope.
    pub(super) fn read(&self, record: &[u8]) -> Result<Value, Absence> {
        let inner = php::read_bytes(record)?;
        if !inner.starts_with(ENVELOPE) {
            return Ok(read_array(inner)?);
        }
        let opened =
            self.encrypter.open(inner).map_err(|_| Absence::Unreadable("no secret opens the encrypted record"));
        let (inner, _) = opened?;
        Ok(read_array(php::read_bytes(&inner)?)?)
    }
}

fn read_array(bytes: &[u8]) -> Result<Value, Fault> {
    let value = if matches!(bytes.first(), Some(b'{' | b'[')) { json::read(bytes) } else { php::read(bytes) };
    value.map(into_record)
}

/// CookieValuePrefix of Laravel: an HMAC of the cookie's name, then a bar.
fn mark(key: &Key, name: &str) -> String {
    key.sha1_hex(&[name, "v2"].concat()) + "|"
}

#[cfg(test)]
mod tests;
