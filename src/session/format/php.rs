//! PHP's own sessions with phpredis: a bare id in the cookie, in the store what one of three handlers wrote.

use super::{Absence, Presented, SessionId, Value};
use crate::{
    config::session::Serializer,
    session::value::php::{self, igbinary},
};

/// The lengths that `session.sid_length` may have.
const ID_LEN: std::ops::RangeInclusive<usize> = 22..=256;

/// Nothing is signed: what PHP itself would never have given out is not asked for. That keeps a client from naming
/// any key below the prefix, such as that of a lock.
pub(super) fn verify(cookie: Presented<'_>) -> Result<SessionId, Absence> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'-');
    cookie.decoded_id(|id| ID_LEN.contains(&id.len()) && id.iter().all(fits))
}

/// Reads a record as the configured handler wrote it. An empty one is the session of a visitor.
pub(super) fn read(record: &[u8], serializer: Serializer) -> Result<Value, Absence> {
    if record.is_empty() {
        return Ok(Value::Map(Vec::new()));
    }
    let value = match serializer {
        Serializer::Php => php::read_session(record),
        Serializer::PhpSerialize => php::read(record),
        Serializer::Igbinary => igbinary::read(record),
        Serializer::Auto if igbinary::MAGIC.iter().any(|magic| record.starts_with(magic)) => igbinary::read(record),
        Serializer::Auto if is_array(record) => php::read(record),
        Serializer::Auto => php::read_session(record),
    };
    Ok(into_record(value?))
}

/// PHP's arrays are lists and maps at once; a session is taken for a map.
pub(super) fn into_record(value: Value) -> Value {
    match value {
        Value::List(items) => {
            let numbered = items.into_iter().enumerate();
            Value::Map(numbered.map(|(index, item)| (Value::integer(index).into_key(), item)).collect())
        }
        other => other,
    }
}

/// `a:` and a number and `:{`, with which no name of a session's variable begins in earnest.
fn is_array(record: &[u8]) -> bool {
    let Some(rest) = record.strip_prefix(b"a:") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(b":{")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::value::json;

    fn judge(value: &str) -> Result<String, Absence> {
        verify(Presented { value: value.as_bytes(), ..Presented::default() }).map(|id| id.expose().to_owned())
    }

    fn shown(record: &[u8], serializer: Serializer) -> Result<String, Absence> {
        read(record, serializer).map(|value| json::write(&value))
    }

    #[test]
    fn only_ids_that_php_gives_out_are_asked_for() {
        let id = "tguhmhqrj7vmmerqqf19q0fpin";
        let every_byte: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(judge(id).as_deref(), Ok(id));
        assert_eq!(judge(&every_byte).as_deref(), Ok(id));
        for id in ["A,-".repeat(8), "a".repeat(22), "Z".repeat(256)] {
            assert_eq!(judge(&id).as_deref(), Ok(&*id));
        }
        let longest = "a".repeat(257);
        for value in [
            "",
            &id[..21],
            &longest,
            "tguhmhqrj7vmmerqqf19q0fpin_LOCK",
            "tguhmhqrj7vmmerqqf19q0fpi*",
            "../tguhmhqrj7vmmerqqf19q0fpin",
            "tguhmhqrj7vmmerqqf19q0fpin%00",
            "tguhmhqrj7vmmerqqf19q0fpin%0a",
            "tguhmhqrj7vmmerqqf19q0fpin%2",
            "tguhmhqrj7vmmerqqf19q0fpin+a",
            "\"tguhmhqrj7vmmerqqf19q0fpin\"",
            "tguhmhqrj7vmmerqqf19q0fpin%252D",
            "tguhmhqrj7vmmerqqf19q0fpiné",
        ] {
            assert_eq!(judge(value), Err(Absence::Malformed), "{value}");
        }
    }

    #[test]
    fn the_handler_is_told_by_the_first_bytes() {
        let igbinary = b"\0\0\0\x02\x14\x01\x11\x04user\x06\x2a";
        let records: [(&[u8], Serializer); 3] = [
            (b"user|i:42;", Serializer::Php),
            (b"a:1:{s:4:\"user\";i:42;}", Serializer::PhpSerialize),
            (igbinary, Serializer::Igbinary),
        ];
        for (record, serializer) in records {
            assert_eq!(shown(record, Serializer::Auto).as_deref(), Ok(r#"{"user":42}"#));
            assert_eq!(shown(record, serializer).as_deref(), Ok(r#"{"user":42}"#));
            let others = [Serializer::Php, Serializer::PhpSerialize, Serializer::Igbinary];
            for other in others.into_iter().filter(|other| *other != serializer) {
                assert!(shown(record, other).is_err(), "{serializer:?} {other:?}");
            }
        }
        assert_eq!(shown(b"a:b|i:1;", Serializer::Auto).as_deref(), Ok(r#"{"a:b":1}"#));
    }

    #[test]
    fn a_session_is_a_map_even_where_it_is_empty_or_numbered() {
        for serializer in [Serializer::Auto, Serializer::Php, Serializer::PhpSerialize, Serializer::Igbinary] {
            assert_eq!(shown(b"", serializer).as_deref(), Ok("{}"));
        }
        assert_eq!(shown(b"a:0:{}", Serializer::Auto).as_deref(), Ok("{}"));
        assert_eq!(shown(b"a:1:{i:0;i:7;}", Serializer::Auto).as_deref(), Ok(r#"{"0":7}"#));
    }
}
