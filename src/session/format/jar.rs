//! Signed and encrypted cookies as the Rust crate `cookie` makes them.

use super::Absence;
use crate::{config::session::CookieSecurity, secret::Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};

/// A master key's parts: one to sign with, one to encrypt with.
const PART: usize = 32;
/// A SHA-256 in base64, padded.
const TAG_LEN: usize = 44;

/// Opens the values of one cookie.
#[derive(Debug)]
pub(super) struct Jar {
    cookie: Box<str>,
    keys: Vec<(hmac::Key, LessSafeKey)>,
    security: CookieSecurity,
}

impl Jar {
    /// Takes master keys, newest first.
    pub(super) fn compile(cookie: &str, secrets: &[Secret], security: CookieSecurity) -> Self {
        let parts = |secret: &Secret| {
            let master = secret.bytes()?;
            let (signing, rest) = master.split_at_checked(PART)?;
            let encryption = UnboundKey::new(&AES_256_GCM, rest.get(..PART)?).ok()?;
            Some((hmac::Key::new(hmac::HMAC_SHA256, signing), LessSafeKey::new(encryption)))
        };
        let keys = secrets.iter().map(|secret| parts(secret).expect("a master key under 64 bytes is refused"));
        Self { cookie: cookie.into(), keys: keys.collect(), security }
    }

    /// The text that a value holds.
    pub(super) fn open(&self, value: &str) -> Result<String, Absence> {
        let mut opened = self.keys.iter().filter_map(|(signing, encryption)| match self.security {
            CookieSecurity::Signed => unsign(signing, value),
            CookieSecurity::Private => self.decrypt(encryption, value),
        });
        opened.next().ok_or(Absence::BadSignature)
    }

    /// A nonce, the text encrypted, and a tag that covers the cookie's name, too.
    fn decrypt(&self, key: &LessSafeKey, value: &str) -> Option<String> {
        let mut sealed = STANDARD.decode(value).ok()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = key.open_in_place(nonce, Aad::from(self.cookie.as_bytes()), sealed).ok()?;
        str::from_utf8(text).ok().map(str::to_owned)
    }
}

/// The value without its percent-encoding; what is no escape stays.
pub(super) fn decode(value: &[u8]) -> Result<String, Absence> {
    percent_decode(value).decode_utf8().map(String::from).map_err(|_| Absence::Malformed)
}

/// The tag stands before the text, with nothing between.
fn unsign(key: &hmac::Key, value: &str) -> Option<String> {
    let (tag, text) = value.split_at_checked(TAG_LEN)?;
    let tag = STANDARD.decode(tag).ok()?;
    hmac::verify(key, text.as_bytes(), &tag).ok().map(|()| text.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const ID: &str = "qXBtl8v1F6yy1nBMFVzTxStfoYydTYcxMvneMVmcNVP1SFauzVDiecu63zeZ5vfK";
    const SIGNED: &str =
        "A3Q6f9aAdL7m6oBel1zmdPoVVYRrCOiWnH8Bo6m86C4=qXBtl8v1F6yy1nBMFVzTxStfoYydTYcxMvneMVmcNVP1SFauzVDiecu63zeZ5vfK";

    /// As the recorded apps have it, with a newer key before their own.
    pub(in crate::session::format) fn jar(cookie: &str, security: &str) -> Jar {
        let security = if security == "signed" { CookieSecurity::Signed } else { CookieSecurity::Private };
        Jar::compile(cookie, &["newer ".repeat(12), "k".repeat(64)].map(Secret::new), security)
    }

    #[test]
    fn a_tag_stands_before_the_text() {
        let open = |value: &str| jar("id", "signed").open(value);
        assert_eq!(open(SIGNED).as_deref(), Ok(ID));
        let refused = [
            ID.to_owned(),
            SIGNED.replacen('A', "B", 1),
            SIGNED.replacen('=', "", 1),
            format!("{SIGNED}x"),
            // The same bits, spelled otherwise.
            SIGNED.replacen("C4=", "C5=", 1),
            "é".repeat(40),
        ];
        for value in refused {
            assert_eq!(open(&value), Err(Absence::BadSignature), "{value}");
        }
        assert_eq!(jar("id", "private").open(SIGNED), Err(Absence::BadSignature));
    }
}
