//! gorilla/sessions with boj/redistore: the id in a securecookie, gob or JSON in the store.

use super::{Absence, Presented, SessionId, Value, gob, json, spellings};
use crate::{config::session::KeyPair, secret::Secret};
use aes::{Aes128, Aes192, Aes256};
use base64::Engine;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use ring::hmac;
use std::{fmt, time::Duration};

/// The longest cookie that securecookie reads, in characters.
const COOKIE_MAX: usize = 4096;
/// 32 bytes in base32.
const ID_LEN: usize = 52;
/// What encryption begins with: AES' block.
const IV_LEN: usize = 16;

/// Sessions of Go apps that use gorilla/sessions.
pub(super) struct Gorilla {
    cookie: Box<str>,
    pairs: Vec<Pair>,
    max_age: Duration,
}

/// A key that signs, and perhaps one that encrypts, of 16, 24 or 32 bytes.
struct Pair {
    hash: hmac::Key,
    block: Option<Vec<u8>>,
}

impl Gorilla {
    pub(super) fn compile(cookie: &str, pairs: &[KeyPair], max_age: Duration) -> Self {
        let bytes = |secret: &Secret| secret.bytes().expect("a key that cannot be decoded is refused");
        let pair = |pair: &KeyPair| Pair {
            hash: hmac::Key::new(hmac::HMAC_SHA256, &bytes(&pair.hash)),
            block: pair.block.as_ref().map(bytes),
        };
        Self { cookie: cookie.into(), pairs: pairs.iter().map(pair).collect(), max_age }
    }

    /// Judges as securecookie 1.1 does.
    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        let value = cookie.unquoted()?;
        if value.len() > COOKIE_MAX {
            return Err(Absence::Malformed);
        }
        let text = spellings::GO.decode(value).map_err(|_| Absence::Malformed)?;
        let parts: Vec<_> = text.splitn(3, |byte| *byte == b'|').collect();
        let [time, payload, tag] = parts[..] else { return Err(Absence::Malformed) };
        let signed = [self.cookie.as_bytes(), time, payload].join(&b'|');
        let verifies = |pair: &&Pair| hmac::verify(&pair.hash, &signed, tag).is_ok();
        let mut absence = Absence::BadSignature;
        for pair in self.pairs.iter().filter(verifies) {
            match self.id(pair, time, payload, cookie.now) {
                Ok(id) => return Ok(id),
                Err(cause) => absence = cause,
            }
        }
        Err(absence)
    }

    /// The id in a payload that a pair has signed.
    fn id(&self, pair: &Pair, time: &[u8], payload: &[u8], now: Duration) -> Result<SessionId, Absence> {
        let time: i64 = str::from_utf8(time).ok().and_then(|time| time.parse().ok()).ok_or(Absence::Malformed)?;
        let oldest = now.saturating_sub(self.max_age).as_secs();
        if u64::try_from(time).unwrap_or(0) < oldest {
            return Err(Absence::Lapsed);
        }
        let payload = spellings::GO.decode(payload).ok();
        let payload = payload.and_then(|payload| match &pair.block {
            Some(key) => decrypt(key, payload),
            None => Some(payload),
        });
        match payload.and_then(|payload| gob::read(&payload).ok()) {
            Some(Value::Text(id)) if is_id(&id) => Ok(SessionId::new(&*id)),
            _ => Err(Absence::Malformed),
        }
    }
}

impl fmt::Debug for Gorilla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gorilla").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// A stream of gob begins with the length of the description of a map, which is another one than `{`. The app reads
/// no other map than one of anything to anything.
pub(super) fn read(record: &[u8]) -> Result<Value, Absence> {
    if record.starts_with(b"{") { Ok(json::read(record)?) } else { Ok(gob::read_interfaces(record)?) }
}

fn is_id(id: &str) -> bool {
    id.len() == ID_LEN && id.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
}

/// AES in counter mode; its first counter stands before the text.
fn decrypt(key: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let (iv, text) = sealed.split_at_mut_checked(IV_LEN)?;
    match key.len() {
        16 => Ctr128BE::<Aes128>::new_from_slices(key, iv).ok()?.apply_keystream(text),
        24 => Ctr128BE::<Aes192>::new_from_slices(key, iv).ok()?.apply_keystream(text),
        _ => Ctr128BE::<Aes256>::new_from_slices(key, iv).ok()?.apply_keystream(text),
    }
    Some(sealed.split_off(IV_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::format::tests::presented;

    const ID: &str = "HIHHZBB7FYXJQ56X2BBJ3XTY5OHE5NQNLFT22WPTW27SDTBVTTOQ";
    const WRITTEN: u64 = 1_795_263_104;
    /// Written by securecookie 1.1 under the name `go`, with this block key.
    const COOKIES: [(&str, &str); 4] = [
        (
            "",
            "MTc5NTI2MzEwNHxOd3dBTkVoSlNFaGFRa0kzUmxsWVNsRTFObGd5UWtKS00xaFVXVFZQU0VVMVRsRk9URVpVTWpKWFVGUlhNamRUUkZSQ1ZsUlVUMUU9fEAVCGnTwloSHT_MKMiRrx-2Cz65NJ8YgfipybLpHmAm",
        ),
        (
            "0123456789abcdef",
            "MTc5NTI2MzEwNHx4TVpIZjFJa01xejhIZFRQeGE5bF8tcjM0U0luTTVBUm5Oc2pMSllXVnlyNTBsSGdRaEJDdzVWZzZfbGpwbnFpaS00eHhLZ0pUU2pYUlJkbi0xWTFGclRyVTBKWWhNaUF8Urq0-nKdddzoIf5SVbgj9BNtbswa9wAa2YKn5VFYH2g=",
        ),
        (
            "0123456789abcdef01234567",
            "MTc5NTI2MzEwNHxpREtCd2QzSjQzaDY4d3pYWERmUHBkN3RkcHphQThjOGpqeDNVbXBSZmJnVEV5RTdrSmtNVlpCMHpKVzNJUEV5bVBXXzhJb0ZxcVhSWjEyYnk5cUNmdjlaWVlCS0cya0V8Z5nhHwawJ6J55MocFfM7fQXJ24VGyOEjtQrDOGKNISY=",
        ),
        (
            "0123456789abcdef0123456789abcdef",
            "MTc5NTI2MzEwNHx2V2VOdmJwVERJZF9Pa3oxTXJ5TXgzZEFHYXdpWG5mV040bDJ0U0Q0ZVBxcEgyU01RbzJaMFZ1TUJZZUZxRFpVbkhXeWpHTlNYQWJSaTFLbTVNci1UeUEydHo0NnI3ODB8LQ2madMsP4y6ts8tqhdjLAhHyXYXFfr-D5255nUJDuc=",
        ),
    ];

    fn judge(name: &str, pairs: &[(&str, &str)], value: &str, now: u64) -> Result<String, Absence> {
        let pair = |(hash, block): &(&str, &str)| KeyPair {
            hash: Secret::new(*hash),
            block: (!block.is_empty()).then(|| Secret::new(*block)),
        };
        let pairs: Vec<_> = pairs.iter().map(pair).collect();
        let gorilla = Gorilla::compile(name, &pairs, Duration::from_secs(30 * 86_400));
        let presented = Presented { now: Duration::from_secs(now), ..presented(value) };
        gorilla.verify(presented).map(|id| id.expose().to_owned())
    }

    #[test]
    fn every_pair_is_tried_and_a_cookie_lives_thirty_days() {
        for (block, cookie) in COOKIES {
            let pairs = [("newer", ""), ("hash-key", block)];
            let judge = |now| judge("go", &pairs, cookie, now);
            assert_eq!(judge(WRITTEN).as_deref(), Ok(ID));
            assert_eq!(judge(WRITTEN + 30 * 86_400).as_deref(), Ok(ID));
            assert_eq!(judge(WRITTEN + 30 * 86_400 + 1), Err(Absence::Lapsed));
            assert_eq!(judge(WRITTEN - 86_400).as_deref(), Ok(ID));
        }
    }

    #[test]
    fn what_securecookie_refuses_is_refused() {
        let [(_, plain), (block, sealed), ..] = COOKIES;
        let judge = |name: &str, key: &str, block: &str, value: &str| judge(name, &[(key, block)], value, WRITTEN);
        assert_eq!(judge("other", "hash-key", "", plain), Err(Absence::BadSignature));
        assert_eq!(judge("go", "other", "", plain), Err(Absence::BadSignature));
        assert_eq!(judge("go", "hash-key", block, plain), Err(Absence::Malformed));
        assert_eq!(judge("go", "hash-key", "", sealed), Err(Absence::Malformed));
        assert_eq!(judge("go", "hash-key", "fedcba9876543210", sealed), Err(Absence::Malformed));
        for value in ["", "a|b|c", sealed.trim_end_matches('='), &plain.replace('_', "/"), &"A".repeat(5000)] {
            assert!(judge("go", "hash-key", "", value).is_err(), "{value}");
        }
        // Signed by the app, but no id: another cookie of its, or an id that would name another key.
        for value in [
            "MTc5NTI2MzEwNHxEQXdBQ1M0dUx5NHVMMlYwWXc9PXyrXgkjdGDiP0sJA6HhrOQbN1k8lULsENcnAU7A6_1nEw==",
            "MTc5NTI2MzEwNHxBd1FBVkE9PXyqVj4UFuhMlb8-rMBdZT3yx0HvEEW8grjyLxbxKY2y1A==",
        ] {
            assert_eq!(judge("go", "hash-key", "", value), Err(Absence::Malformed));
        }
    }
}
