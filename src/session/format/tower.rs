//! tower-sessions with its Redis store: an id of 128 bits, bare, signed or encrypted; MessagePack in the store.

use super::{
    Absence, Presented, SessionId, Value,
    jar::{Jar, decode},
    msgpack,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// An id in base64url.
const ID_LEN: usize = 22;

/// `jar` is none where the cookie is the bare id.
pub(super) fn verify(jar: Option<&Jar>, cookie: Presented<'_>) -> Result<SessionId, Absence> {
    let value = decode(cookie.value)?;
    let id = match jar {
        Some(jar) => jar.open(&value)?,
        None => value,
    };
    // The one spelling of 16 bytes: no key is asked for that the app would not ask for.
    let bytes = URL_SAFE_NO_PAD.decode(&id).map_err(|_| Absence::Malformed)?;
    if id.len() == ID_LEN && bytes.len() == 16 { Ok(SessionId::new(id)) } else { Err(Absence::Malformed) }
}

/// A record is the id, the data, and when it ends, which the app does not look at.
pub(super) fn read(record: &[u8]) -> Result<Value, Absence> {
    match msgpack::read(record)? {
        Value::List(parts) => match <[Value; 3]>::try_from(parts) {
            Ok([_, data, _]) => Ok(data),
            Err(_) => Err(SHAPE),
        },
        _ => Err(SHAPE),
    }
}

const SHAPE: Absence = Absence::Unreadable("not a list of three");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::format::{jar::tests::jar, tests::presented};
    use crate::session::value::json::write;

    const ID: &str = "YbbECenFIK-dxYQznsFfzA";
    const SIGNED: &str = "KUkk5nJaX0UrM+sLB+d8a69upW5IWZzXade3BpzbYRY=YbbECenFIK-dxYQznsFfzA";

    #[test]
    fn a_bare_id_is_the_one_spelling_of_128_bits() {
        assert_eq!(verify(None, presented(ID)), Ok(SessionId::new(ID)));
        assert_eq!(verify(None, presented(&ID.replace('-', "%2D"))), Ok(SessionId::new(ID)));
        let other =
            ["", &ID[1..], &ID.replace('A', "B"), &ID.replace('-', "+"), &format!("{ID}=="), &format!("{ID}AA")];
        for value in other.into_iter().chain([&*format!("\"{ID}\""), SIGNED, "sess:1234567890123456"]) {
            assert_eq!(verify(None, presented(value)), Err(Absence::Malformed), "{value}");
        }
    }

    #[test]
    fn a_signed_id_is_an_id_with_its_tag() {
        let judge = |value: &str| verify(Some(&jar("id", "signed")), presented(value));
        assert_eq!(judge(SIGNED), Ok(SessionId::new(ID)));
        assert_eq!(judge(ID), Err(Absence::BadSignature));
        assert!(judge(&format!("\"{SIGNED}\"")).is_err());
        assert_eq!(verify(Some(&jar("id", "private")), presented(SIGNED)), Err(Absence::BadSignature));
    }

    #[test]
    fn a_record_is_a_list_of_three() {
        let read = |record: &[u8]| read(record).map(|value| write(&value));
        assert_eq!(read(b"\x93\xc4\x00\x81\xa1a\x01\x90").as_deref(), Ok(r#"{"a":1}"#));
        for record in [&b""[..], b"\x92\xc0\x80", b"\x94\xc0\x80\xc0\xc0", b"\x80", b"\x93\xc0\x80", b"{}"] {
            assert!(matches!(read(record), Err(Absence::Unreadable(_))), "{record:x?}");
        }
    }
}
