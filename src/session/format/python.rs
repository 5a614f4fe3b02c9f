//! What the frameworks of Python share: signatures, and records told apart by their first bytes.

use super::{Absence, Fault, Value, json, spellings};
use crate::session::value::{
    json::Author,
    msgpack::{self, Keys},
    pickle,
};
use ring::hmac;
use std::borrow::Cow;

/// Reads a record that was pickled, or written as JSON (of such an `author`) or MessagePack (with such `keys`): each
/// begins in a way of its own.
pub(super) fn read(record: &[u8], keys: Keys, author: Author) -> Result<Value, Fault> {
    match record {
        // A map of MessagePack that begins so is empty, and nothing can follow it.
        [0x80, 2..=5, ..] | [b'(' | b'}', ..] => pickle::read(record),
        [0x80..=0x8f | 0xde | 0xdf, ..] => msgpack::read_with(record, keys),
        [b'{' | b' ' | b'\t' | b'\r' | b'\n', ..] => json::read_as(author, record),
        _ => Err(Fault("neither pickle nor JSON nor MessagePack")),
    }
}

/// A cookie's value as `http.cookies` and Werkzeug have it: in quotes a backslash stands before three octal digits, or
/// before what means itself.
pub(super) fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut rest) = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")) else {
        return value.into();
    };
    let mut text = Vec::with_capacity(rest.len());
    while let [byte, after @ ..] = rest {
        let (byte, after) = match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            (b'\\', [escaped, after @ ..]) => (*escaped, after),
            _ => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
    text.into()
}

/// What stands before the last dot, if a key signs it as itsdangerous does, in whatever spelling of the signature that
/// it forgives.
pub(super) fn unsign<'a>(signed: &'a str, keys: &[hmac::Key]) -> Result<&'a str, Absence> {
    let (text, signature) = signed.rsplit_once('.').ok_or(Absence::Malformed)?;
    let signature = spellings::python(signature.as_bytes()).ok_or(Absence::BadSignature)?;
    let signs = keys.iter().any(|key| hmac::verify(key, text.as_bytes(), &signature).is_ok());
    if signs { Ok(text) } else { Err(Absence::BadSignature) }
}

/// Whether a text is what `uuid.uuid4()` prints.
pub(super) fn is_uuid4(text: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        14 => *byte == b'4',
        19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 36 && text.iter().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart_by_their_first_bytes() {
        let read = |record: &[u8]| read(record, Keys::Any, Author::Anyone).map(|value| json::write(&value));
        for record in
            [&b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."[..], b"\x81\xa1a\x01", b" {\"a\":1}", b"(dV\x61\nI1\ns."]
        {
            assert_eq!(read(record).as_deref(), Ok(r#"{"a":1}"#), "{record:?}");
        }
        assert_eq!(read(b"\x80").as_deref(), Ok("{}"));
        for record in [&b""[..], b"\x80\x02", b"\x80\x06}.", b"[]", b"x\x9c", b"\xc0", b"cos\nsystem\n)R."] {
            assert!(read(record).is_err(), "{record:?}");
        }
    }

    #[test]
    fn quotes_are_taken_off_as_python_does() {
        for (value, text) in [
            (&b"abc"[..], &b"abc"[..]),
            (b"\"abc\"", b"abc"),
            (b"\"\\141\\b\\\"\\\\\\400\"", b"ab\"\\400"),
            (b"\"\"", b""),
            (b"\"", b"\""),
            (b"\"abc", b"\"abc"),
            (b"\"a\\\"", b"a\\"),
        ] {
            assert_eq!(unquote(value), text, "{value:?}");
        }
    }

    #[test]
    fn a_uuid_is_as_python_prints_it() {
        assert!(is_uuid4(b"b4d3a3c1-1180-4e1b-b67d-a8f26ea5cc19"));
        for text in [
            "b4d3a3c1-1180-1e1b-b67d-a8f26ea5cc19",
            "B4d3a3c1-1180-4e1b-b67d-a8f26ea5cc19",
            "b4d3a3c1-1180-4e1b-c67d-a8f26ea5cc19",
            "b4d3a3c111804e1bb67da8f26ea5cc19",
            "",
        ] {
            assert!(!is_uuid4(text.as_bytes()), "{text}");
        }
    }
}
