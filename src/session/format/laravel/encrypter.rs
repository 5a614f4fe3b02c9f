//! Laravel's Encrypter: a JSON envelope around AES in CBC mode with an HMAC, or in GCM mode.

use super::{Absence, Value, hex, json, spellings};
use crate::secret::Secret;
use aes::{Aes128, Aes256, cipher::KeyIvInit};
use cbc::{
    Decryptor,
    cipher::{BlockModeDecrypt, block_padding::Pkcs7},
};
use ring::{aead, hmac};
use std::fmt;
use subtle::ConstantTimeEq;

/// All keys, newest first.
#[derive(Debug)]
pub(super) struct Encrypter(Vec<Key>);

/// One APP_KEY, ready for each of its uses.
pub(super) struct Key {
    cipher: Box<[u8]>,
    gcm: aead::LessSafeKey,
    sha256: hmac::Key,
    sha1: hmac::Key,
}

/// An envelope, taken apart. Which of the two checks holds for it is decided here, by its form, and never again.
enum Envelope<'a> {
    /// The MAC is that of the texts of the IV and the value.
    Cbc { signed: String, mac: &'a str, iv: [u8; 16], value: Vec<u8> },
    /// The tag stands behind the value.
    Gcm { iv: [u8; 12], sealed: Vec<u8> },
}

impl Encrypter {
    /// Takes keys whose form the configuration has checked.
    pub(super) fn compile(secrets: &[Secret]) -> Self {
        Self(secrets.iter().filter_map(Key::compile).collect())
    }

    /// What an envelope holds, and the key that opened it. It may be spelled as carelessly as Laravel allows: what is
    /// judged otherwise there and here could come back after its session was ended.
    pub(super) fn open(&self, envelope: &[u8]) -> Result<(Vec<u8>, &Key), Absence> {
        let payload = json::read(&spellings::php(envelope)).map_err(|_| Absence::Malformed)?;
        let envelope = Envelope::parse(&payload).ok_or(Absence::Malformed)?;
        let opened = self.0.iter().find_map(|key| envelope.open(key).map(|opened| (opened, key)));
        let (opened, key) = opened.ok_or(Absence::BadSignature)?;
        Ok((opened.ok_or(Absence::Malformed)?, key))
    }
}

impl Key {
    /// `None` = the key has neither 16 nor 32 bytes.
    fn compile(secret: &Secret) -> Option<Self> {
        let cipher = secret.bytes()?;
        let gcm = if cipher.len() == 16 { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        Some(Self {
            gcm: aead::LessSafeKey::new(aead::UnboundKey::new(gcm, &cipher).ok()?),
            sha256: hmac::Key::new(hmac::HMAC_SHA256, &cipher),
            sha1: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &cipher),
            cipher: cipher.into(),
        })
    }

    pub(super) fn sha1_hex(&self, text: &str) -> String {
        hex(hmac::sign(&self.sha1, text.as_bytes()).as_ref())
    }

    /// `None` = bad padding.
    fn decrypt_cbc(&self, iv: &[u8; 16], value: &[u8]) -> Option<Vec<u8>> {
        let opened = if self.cipher.len() == 16 {
            Decryptor::<Aes128>::new_from_slices(&self.cipher, iv).ok()?.decrypt_padded_vec::<Pkcs7>(value)
        } else {
            Decryptor::<Aes256>::new_from_slices(&self.cipher, iv).ok()?.decrypt_padded_vec::<Pkcs7>(value)
        };
        opened.ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl<'a> Envelope<'a> {
    /// A tag makes it GCM; without one the MAC must hold.
    fn parse(payload: &'a Value) -> Option<Self> {
        let text = |name: &str| match payload.member(name) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let (iv, value, mac) = (text("iv")?, text("value")?, text("mac")?);
        let iv_bytes = spellings::strict_php(iv.as_bytes())?;
        let mut sealed = spellings::php(value.as_bytes());
        match payload.member("tag") {
            None | Some(Value::Null) => {}
            Some(Value::Text(tag)) if tag.is_empty() => {}
            Some(Value::Text(tag)) => {
                let tag: [u8; 16] = spellings::php(tag.as_bytes()).try_into().ok()?;
                sealed.extend(tag);
                return Some(Self::Gcm { iv: iv_bytes.try_into().ok()?, sealed });
            }
            Some(_) => return None,
        }
        Some(Self::Cbc { signed: [iv, value].concat(), mac, iv: iv_bytes.try_into().ok()?, value: sealed })
    }

    /// `None` = this key does not verify it; within, `None` = it verifies and makes no sense all the same.
    fn open(&self, key: &Key) -> Option<Option<Vec<u8>>> {
        match self {
            Self::Cbc { signed, mac, iv, value } => {
                let known = hex(hmac::sign(&key.sha256, signed.as_bytes()).as_ref());
                let matches = bool::from(known.as_bytes().ct_eq(mac.as_bytes()));
                matches.then(|| key.decrypt_cbc(iv, value))
            }
            Self::Gcm { iv, sealed } => {
                let mut sealed = sealed.clone();
                let nonce = aead::Nonce::assume_unique_for_key(*iv);
                let length = key.gcm.open_in_place(nonce, aead::Aad::empty(), &mut sealed).ok()?.len();
                sealed.truncate(length);
                Some(Some(sealed))
            }
        }
    }
}
