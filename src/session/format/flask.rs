//! Flask-Session: a bare or a signed id in the cookie; MessagePack, JSON or a pickle in the store.

use super::{
    Absence, Presented, SessionId,
    python::{is_uuid4, unquote, unsign},
};
use crate::secret::Secret;
use ring::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};

/// 256 bits in base64url; older releases use a UUID.
const ID_LEN: usize = 43;
/// What Flask-Session derives its key with.
const SALT: &[u8] = b"flask-session";

/// Sessions of Flask apps; without keys nothing is signed.
#[derive(Debug)]
pub(in crate::session) struct Flask(Vec<hmac::Key>);

impl Flask {
    pub(super) fn compile(secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| {
            let secret = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
            hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, hmac::sign(&secret, SALT).as_ref())
        };
        Self(secrets.iter().map(key).collect())
    }

    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        let value = unquote(cookie.value);
        let mut id = str::from_utf8(&value).map_err(|_| Absence::Malformed)?;
        if !self.0.is_empty() {
            id = unsign(id, &self.0)?;
        }
        Presented { value: id.as_bytes(), ..cookie }.bare_id(|id| is_uuid4(id) || is_token(id))
    }
}

fn is_token(id: &[u8]) -> bool {
    id.len() == ID_LEN && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ZbyrGE1xQSTROhm7zDWdu2keZYo98y_UeAN3ogUCPNs";
    const SIGNED: &str = "ZbyrGE1xQSTROhm7zDWdu2keZYo98y_UeAN3ogUCPNs.HHFLFmo_Qe1cZq5C7QLsI9Oya1s";

    fn judge(secrets: &[&str], value: &str) -> Result<String, Absence> {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        let cookie = Presented { value: value.as_bytes(), ..Presented::default() };
        Flask::compile(&secrets).verify(cookie).map(|id| id.expose().to_owned())
    }

    #[test]
    fn an_id_is_signed_or_it_is_not_as_the_configuration_says() {
        let secrets = ["newest", "flask secret key"];
        assert_eq!(judge(&secrets, SIGNED).as_deref(), Ok(ID));
        assert_eq!(judge(&[], ID).as_deref(), Ok(ID));
        let uuid = "b4d3a3c1-1180-4e1b-b67d-a8f26ea5cc19";
        assert_eq!(judge(&[], uuid).as_deref(), Ok(uuid));
        assert_eq!(judge(&[], &format!("\"{ID}\"")).as_deref(), Ok(ID));
        assert_eq!(judge(&[], SIGNED), Err(Absence::Malformed));
        assert_eq!(judge(&secrets, ID), Err(Absence::Malformed));
        assert_eq!(judge(&["other"], SIGNED), Err(Absence::BadSignature));
        for same in [&format!("{SIGNED}="), &SIGNED.replace("a1s", "a1t"), &SIGNED.replace("mo_Qe", "mo/Q!!!!e")] {
            assert_eq!(judge(&secrets, same).as_deref(), Ok(ID), "{same}");
        }
        for value in [&SIGNED[1..], &SIGNED[..SIGNED.len() - 1], &format!("{ID}."), &SIGNED.replace("Oya", "Oyb")] {
            assert_eq!(judge(&secrets, value), Err(Absence::BadSignature), "{value}");
        }
    }

    #[test]
    fn only_the_two_shapes_of_an_id_are_asked_for() {
        for id in [
            "",
            "a",
            "*",
            &"A".repeat(42),
            &"A".repeat(44),
            &format!("{}:", &ID[1..]),
            &format!("\"{ID}"),
            &format!("{}\u{e9}", &ID[2..]),
        ] {
            assert_eq!(judge(&[], id), Err(Absence::Malformed), "{id}");
        }
    }
}
