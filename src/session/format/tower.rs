//! tower-sessions with its Redis store: an id of 128 bits, bare, signed or encrypted; MessagePack in the store.

use super::{
    Absence, Presented, SessionId, Value,
    jar::{Jar, decode},
    msgpack::{self, Keys},
};
use crate::redis::Outline;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// An id in base64url.
const ID_LEN: usize = 22;
/// Every id.
pub(super) const KEYS: Outline =
    Outline { length: ID_LEN, letters: &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z'), (b'-', b'-'), (b'_', b'_')] };

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

/// A record is the id, the data, and when it ends, which the app does not look at: it reads it all the same, and no
/// bytes in the data.
pub(super) fn read(record: &[u8]) -> Result<Value, Absence> {
    match msgpack::read_with(record, Keys::TextAlone)? {
        Value::List(parts) => match <[Value; 3]>::try_from(parts) {
            Ok([id, data, end]) if is_id(&id) && is_plain(&data) && is_time(&end) => Ok(data),
            _ => Err(SHAPE),
        },
        _ => Err(SHAPE),
    }
}

const SHAPE: Absence = Absence::Unreadable("not an id, data and a time");

/// 16 bytes, or a number.
fn is_id(value: &Value) -> bool {
    match value {
        Value::Shown(bytes) => bytes.len() == 24 && bytes.ends_with("==") && !bytes.ends_with("==="),
        value => matches!(value, Value::Integer(_)),
    }
}

/// Whether there is nothing but what JSON has.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Shown(_) => false,
        Value::List(items) => items.iter().all(is_plain),
        Value::Map(entries) => entries.iter().all(|(_, value)| is_plain(value)),
        _ => true,
    }
}

/// Year, day of the year, hour, minute, second, nanosecond, and the three parts of an offset.
fn is_time(value: &Value) -> bool {
    const RANGES: [(i64, i64); 9] =
        [(-9999, 9999), (1, 366), (0, 23), (0, 59), (0, 59), (0, 999_999_999), (-25, 25), (-59, 59), (-59, 59)];
    let Value::List(parts) = value else { return false };
    let fits = |(part, (least, most)): (&Value, (i64, i64))| match part {
        Value::Integer(text) => text.parse().is_ok_and(|number| (least..=most).contains(&number)),
        _ => false,
    };
    let in_range = parts.len() == RANGES.len() && parts.iter().zip(RANGES).all(fits);
    in_range && (parts[1] != Value::Integer("366".into()) || is_leap(&parts[0]))
}

fn is_leap(year: &Value) -> bool {
    let Value::Integer(text) = year else { return false };
    text.parse::<i64>().is_ok_and(|year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
}

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
        let id = [&b"\x93\xc4\x10"[..], &[7; 16]].concat();
        let with = |data: &[u8], time: &[u8]| [&id, data, time].concat();
        let time = b"\x99\xcd\x07\xea\xcd\x01R\x17(9\xce\x01\x02\x03\x04\x00\x00\x00";
        assert_eq!(read(&with(b"\x81\xa1a\x01", time)).as_deref(), Ok(r#"{"a":1}"#));
        for data in [&b"\x81\x01\x01"[..], b"\x81\xc4\x01a\x01", b"\x81\xa1a\xc4\x01a", b"\x81\xa1a\xd4\x05a"] {
            assert!(read(&with(data, time)).is_err(), "{data:x?}");
        }
        let late = [&time[..7], b"\x18", &time[8..]].concat();
        for time in [&b"\x90"[..], b"\xc0", b"\x99\x00\x00\x00\x00\x00\x00\x00\x00\x00", &late] {
            assert!(read(&with(b"\x80", time)).is_err(), "{time:x?}");
        }
        for record in [&b""[..], b"\x92\xc0\x80", b"\x94\xc0\x80\xc0\xc0", b"\x80", b"\x93\xc0\x80", b"{}"] {
            assert!(matches!(read(record), Err(Absence::Unreadable(_))), "{record:x?}");
        }
    }

    #[test]
    fn only_a_leap_year_has_a_366th_day() {
        let is_day =
            |year: i64, day: i64| is_time(&Value::List([year, day, 0, 0, 0, 0, 0, 0, 0].map(Value::integer).into()));
        assert!(is_day(2028, 366) && is_day(2000, 366) && is_day(2026, 365));
        assert!(!is_day(2026, 366) && !is_day(1900, 366) && !is_day(2028, 367));
    }
}
