//! Django: a bare id in the cookie; in the store a pickle, JSON or MessagePack, packed or not, or signed text.

use super::{
    Absence, Fault, Presented, SessionId, Value,
    python::{self, unquote},
};
use crate::{
    secret::Secret,
    session::value::{json::Author, msgpack::Keys, zlib},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    hmac::{self, HMAC_SHA256},
};

/// Letters and digits.
const ID_LEN: usize = 32;
/// What django-redis-sessions derives its key with (django.core.signing, with the session store's salt).
const SALT: &str = "django.contrib.sessions.SessionStoresigner";
/// How zlib streams begin.
const ZLIB: u8 = 0x78;

/// Sessions of Django sites; with keys the records are signed.
#[derive(Debug)]
pub(in crate::session) struct Django(Vec<hmac::Key>);

impl Django {
    pub(super) fn compile(secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| {
            let key = digest(&SHA256, [SALT, secret.expose()].concat().as_bytes());
            hmac::Key::new(HMAC_SHA256, key.as_ref())
        };
        Self(secrets.iter().map(key).collect())
    }

    pub(super) fn read(&self, record: &[u8]) -> Result<Value, Absence> {
        self.decode(record).map(vouched)
    }

    fn decode(&self, record: &[u8]) -> Result<Value, Absence> {
        if self.0.is_empty() {
            return Ok(match record {
                [ZLIB, ..] => python::read(&zlib::unpack(record)?, Keys::Texts, Author::Python)?,
                _ => python::read(record, Keys::Texts, Author::Python)?,
            });
        }
        let text = str::from_utf8(record).map_err(|_| NOT_SIGNED)?;
        let (text, signature) = text.rsplit_once(':').ok_or(NOT_SIGNED)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NOT_SIGNED)?;
        if !self.0.iter().any(|key| hmac::verify(key, text.as_bytes(), &signature).is_ok()) {
            return Err(NOT_SIGNED.into());
        }
        let (data, _signed_at) = text.rsplit_once(':').ok_or(NOT_SIGNED)?;
        let decode = |data: &str| URL_SAFE_NO_PAD.decode(data).map_err(|_| Fault("not base64url"));
        Ok(match data.strip_prefix('.') {
            Some(packed) => python::read(&zlib::unpack(&decode(packed)?)?, Keys::Texts, Author::Python)?,
            None => python::read(&decode(data)?, Keys::Texts, Author::Python)?,
        })
    }
}

/// Django's login writes three members at once, and without the other two the first is nobody to it.
fn vouched(mut record: Value) -> Value {
    let is_text = |name| matches!(record.member(name), Some(Value::Text(_)));
    let is_vouched = is_text("_auth_user_backend") && is_text("_auth_user_hash");
    if let (Value::Map(entries), false) = (&mut record, is_vouched) {
        entries.retain(|(name, _)| name != "_auth_user_id");
    }
    record
}

/// Nothing is signed: an id that nobody was given has no record.
pub(super) fn verify(cookie: Presented<'_>) -> Result<SessionId, Absence> {
    let value = unquote(cookie.value);
    Presented { value: &value, ..cookie }
        .bare_id(|id| id.len() == ID_LEN && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z')))
}

const NOT_SIGNED: Fault = Fault("not signed with one of the secrets");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::value::json;

    const KEY: &str = "django-insecure-test-key";
    const RECORD: &str = r#"{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":""}"#;

    fn read(secrets: &[&str], record: &str) -> Result<String, Absence> {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        Django::compile(&secrets).read(record.as_bytes()).map(|value| json::write(&value))
    }

    fn signed(key: &str, data: &str) -> String {
        let text = format!("{data}:1vLzVw");
        let signature = hmac::sign(&Django::compile(&[Secret::new(key)]).0[0], text.as_bytes());
        format!("{text}:{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn with_secrets_only_signed_records_are_read() {
        let data = URL_SAFE_NO_PAD.encode(RECORD);
        let record = signed(KEY, &data);
        assert_eq!(read(&["newest", KEY], &record).as_deref(), Ok(RECORD));
        let other = URL_SAFE_NO_PAD.encode(r#"{"_auth_user_id":"43"}"#);
        for forged in [
            record.replace(&data, &other),
            signed("other", &data),
            format!("{data}:1vLzVw"),
            data.clone(),
            RECORD.to_owned(),
            signed(KEY, "?"),
            signed(KEY, &format!(".{data}")),
        ] {
            assert!(matches!(read(&[KEY], &forged), Err(Absence::Unreadable(_))), "{forged}");
        }
        assert!(matches!(read(&[], &record), Err(Absence::Unreadable(_))));
    }

    #[test]
    fn without_its_backend_or_its_hash_a_user_is_nobody() {
        assert_eq!(read(&[], RECORD).as_deref(), Ok(RECORD));
        assert_eq!(read(&[], r#"{"_auth_user_id":"42","n":1}"#).as_deref(), Ok(r#"{"n":1}"#));
        for name in ["_auth_user_backend", "_auth_user_hash"] {
            for other in [
                RECORD.replace(name, "x"),
                RECORD.replace(&format!("\"{name}\":\""), &format!("\"{name}\":7,\"x\":\"")),
            ] {
                assert!(!read(&[], &other).unwrap().contains("_auth_user_id"), "{other}");
            }
        }
    }

    #[test]
    fn an_id_is_32_small_letters_and_digits() {
        let judge = |value: &str| verify(Presented { value: value.as_bytes(), ..Presented::default() });
        let id = "hbcyufcbgmxj1y9y75i78pnefvis9y0u";
        for value in [id, &format!("\"{id}\""), &format!("\"\\{id}\"")] {
            assert_eq!(judge(value).as_ref().map(SessionId::expose), Ok(id));
        }
        for value in
            ["", &id[1..], &format!("{id}0"), &id.to_uppercase(), &id.replace('h', "*"), &format!("\"{}\"", &id[2..])]
        {
            assert_eq!(judge(value), Err(Absence::Malformed), "{value}");
        }
    }
}
