//! koa-generic-session and koa-session with an external store: a bare id, its signature in a second cookie.

use super::{Absence, Opened, Presented, SessionId, Value, json};
use crate::{secret::Secret, session::value::json::Author};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq};

/// The longest id that is asked for, in bytes.
const ID_MAX: usize = 512;

/// Sessions of Koa apps.
#[derive(Debug)]
pub(super) struct Koa {
    cookie: Box<str>,
    /// One prepared key per secret, newest first.
    keys: Vec<hmac::Key>,
}

impl Koa {
    pub(super) fn compile(cookie: &str, secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
        Self { cookie: cookie.into(), keys: secrets.iter().map(key).collect() }
    }

    /// Judges as the packages cookies and keygrip do. The signature is compared as the text it is.
    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        let id = cookie.unquoted()?;
        let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
        if id.is_empty() || id.len() > ID_MAX || !printable {
            return Err(Absence::Malformed);
        }
        let companion = cookie.companion.ok_or(Absence::BadSignature)?;
        let tag = Presented { value: companion, ..cookie }.unquoted()?;
        let signed = [&self.cookie, "=", id].concat();
        let compare = |matched: Choice, key: &hmac::Key| {
            let expected = URL_SAFE_NO_PAD.encode(hmac::sign(key, signed.as_bytes()));
            matched | expected.as_bytes().ct_eq(tag.as_bytes())
        };
        let matched = self.keys.iter().fold(Choice::from(0), compare);
        if bool::from(matched) { Ok(SessionId::new(id)) } else { Err(Absence::BadSignature) }
    }
}

/// Reads a record; koa-session refuses one whose `_expire`, in milliseconds, has passed.
pub(super) fn read(record: &[u8], now: Duration) -> Result<Opened, Absence> {
    let data = json::read_as(Author::JavaScript, record)?;
    let ends = match data.member("_expire") {
        None | Some(Value::Null) => None,
        Some(Value::Integer(text)) => {
            let expire: i64 = text.parse().map_err(|_| EXPIRE)?;
            Some(Duration::from_millis(expire.try_into().unwrap_or(0)))
        }
        Some(_) => return Err(EXPIRE),
    };
    Opened { data, ends }.unless_over(now)
}

const EXPIRE: Absence = Absence::Unreadable("`_expire` is not a time");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::format::tests::presented;

    const ID: &str = "gtw81HCzReIIx1XuA2ovipK_tzasDqEZ";
    const TAG: &str = "EofcuBuKCgHUhAvqVs3lCitaS8s";
    const NOW: Duration = Duration::from_secs(1_795_216_700);

    fn judge(cookie: &str, value: &str, tag: Option<&str>) -> Result<SessionId, Absence> {
        let koa = Koa::compile(cookie, &["a newer key", "koa key one"].map(Secret::new));
        koa.verify(Presented { companion: tag.map(str::as_bytes), ..presented(value) })
    }

    #[test]
    fn the_second_cookie_signs_name_and_value_of_the_first() {
        assert_eq!(judge("koa.sid", ID, Some(TAG)), Ok(SessionId::new(ID)));
        assert_eq!(judge("koa.sid", &format!("\"{ID}\""), Some(&format!("\"{TAG}\""))), Ok(SessionId::new(ID)));
        assert_eq!(judge("koa.sess", ID, Some(TAG)), Err(Absence::BadSignature));
        assert_eq!(judge("koa.sid", ID, None), Err(Absence::BadSignature));
        for tag in ["", &TAG[1..], &format!("{TAG}="), &TAG.to_lowercase(), &format!("{TAG}%20"), ID] {
            assert_eq!(judge("koa.sid", ID, Some(tag)), Err(Absence::BadSignature), "{tag}");
        }
        for value in ["", "a b", "a%20\u{7f}", &"x".repeat(513)] {
            assert_eq!(judge("koa.sid", value, Some(TAG)), Err(Absence::Malformed), "{value}");
        }
        assert_eq!(judge("koa.sid", &ID.replace('_', "%5F"), Some(TAG)), Err(Absence::BadSignature));
    }

    #[test]
    fn a_record_ends_when_it_says_so() {
        let read = |expire: &str| {
            let record = format!(r#"{{"_expire":{expire},"user":{{"id":42}}}}"#);
            read(record.as_bytes(), NOW).map(|opened| opened.ends)
        };
        assert_eq!(read("1795216700001"), Ok(Some(NOW + Duration::from_millis(1))));
        assert_eq!((read("1795216700000"), read("-1")), (Err(Absence::Lapsed), Err(Absence::Lapsed)));
        assert_eq!(read("null"), Ok(None));
        for expire in ["\"1\"", "1.5", "{}", "99999999999999999999"] {
            assert_eq!(read(expire), Err(EXPIRE), "{expire}");
        }
    }
}
