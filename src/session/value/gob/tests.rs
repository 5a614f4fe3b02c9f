//! Streams as Go wrote them, and streams that it would not write.

use super::{super::json, *};
use crate::session::value::budget::{BYTES_MAX, DEPTH_MAX};
use base64::{Engine, engine::general_purpose::STANDARD};

/// What each stream holds, and the stream in base64; written by Go 1.19.
const STREAMS: &str = include_str!("../../../../tests/fixtures/gob_streams.tsv");
/// `[]interface{}` described as type 65, before a value of it.
const LIST: &[u8] = b"\x0c\xff\x81\x02\x01\x02\xff\x82\x00\x01\x10\x00\x00";

fn recorded() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let rows = STREAMS.lines().map(|row| row.split_once('\t').unwrap());
    rows.map(|(expected, stream)| (expected, STANDARD.decode(stream).unwrap()))
}

/// One message.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[0xfc][..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

#[test]
fn streams_are_read_as_go_wrote_them() {
    for (expected, stream) in recorded() {
        assert_eq!(read(&stream).map(|value| json::write(&value)).as_deref(), Ok(expected));
    }
}

#[test]
fn a_stream_that_is_cut_or_continued_is_refused() {
    for (expected, stream) in recorded() {
        for length in 0..stream.len() {
            assert!(read(&stream[..length]).is_err(), "{expected} {length}");
        }
        assert!(read(&[&stream[..], b"\0"].concat()).is_err(), "{expected}");
    }
}

#[test]
fn plain_values_are_read_as_they_are() {
    let rows: [(&[u8], &str); 9] = [
        (b"\x03\x02\x00\x01", "true"),
        (b"\x04\x04\x00\xff\x81", "-65"),
        (b"\x0b\x04\x00\xf8\xff\xff\xff\xff\xff\xff\xff\xff", "-9223372036854775808"),
        (b"\x0b\x06\x00\xf8\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\x05\x08\x00\xfe\xf8\x3f", "1.5"),
        (b"\x05\x0a\x00\x02\x00\xff", "\"AP8=\""),
        (b"\x05\x0c\x00\x02hi", "\"hi\""),
        (b"\x06\x0e\x00\xfe\xf8\x3f\x00", "[1.5,0.0]"),
        (b"\x03\x10\x00\x00", "null"),
    ];
    for (stream, expected) in rows {
        assert_eq!(read(stream).map(|value| json::write(&value)).as_deref(), Ok(expected));
    }
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    // Each level: the name of the type, its id, a length that nobody checks, the mark of a value, one element.
    let level = b"\x01L\xff\x82\x01\x00\x01";
    let nested = |depth: usize| [LIST, &message(&[b"\xff\x82\x00\x01", &level.repeat(depth), b"\x00"])].concat();
    assert!(read(&nested(DEPTH_MAX / 2 - 1)).is_ok());
    for depth in [DEPTH_MAX / 2, 100_000] {
        assert_eq!(read(&nested(depth)), Err(Fault("nested too deeply")));
    }
    // A type that is its own element.
    let itself = b"\x0c\xff\x81\x02\x01\x02\xff\x82\x00\x01\xff\x82\x00\x00";
    let itself = [&[itself.len() as u8 - 1], &itself[1..]].concat();
    let deep = [itself, message(&[b"\xff\x82\x00", &[1; 100_000]])].concat();
    assert_eq!(read(&deep), Err(Fault("nested too deeply")));
}

#[test]
fn a_declared_length_costs_nothing() {
    let huge = b"\xf8\x10\0\0\0\0\0\0\0";
    assert!(read(huge).is_err());
    assert!(read(&[&huge[..], b"x"].concat()).is_err());
    for start in [&b"\x0c\x00"[..], b"\x0a\x00", b"\x10\x00"] {
        assert!(read(&message(&[start, huge])).is_err());
    }
    assert!(read(&[LIST, &message(&[b"\xff\x82\x00", huge, &[0; 9]])].concat()).is_err());
    assert_eq!(
        read(&[LIST, &message(&[b"\xff\x82\x00", huge, &[0; 200_000]])].concat()),
        Err(Fault("too many values"))
    );
    assert!(read(&vec![0; BYTES_MAX + 1]).is_err());
}

#[test]
fn types_that_are_described_wrongly_are_refused() {
    let value = b"\x03\x02\x00\x01";
    let refused: [&[u8]; 9] = [
        b"\x01\x81",
        b"\x02\xff\x81",
        b"\x03\xff\x81\x00",
        b"\x05\xff\x81\x08\x00\x00",
        b"\x05\xff\x81\x02\x05\x00",
        b"\x05\xff\x81\x02\x00\x02",
        b"\x04\x03\x02\x00\x00",
        b"\x09\xf8\x80\0\0\0\0\0\0\x01",
        b"\x0a\xf7\x80\0\0\0\0\0\0\0\x01",
    ];
    for description in refused {
        assert!(read(&[description, &value[..]].concat()).is_err(), "{description:x?}");
    }
    assert!(read(&[LIST, LIST, &value[..]].concat()).is_err(), "described twice");
    assert!(read(b"\x04\xff\x84\x00\x00").is_err(), "not described");
    assert!(read(b"\x03\x02\x01\x01").is_err(), "not where it should be");
}

#[test]
fn a_type_of_the_language_is_written_as_its_name_says() {
    for (name, id) in [("int", 2), ("uint8", 3), ("string", 6), ("main.ID", 2), ("[]uint8", 5), ("User", 64)] {
        assert!(may_be(name.as_bytes(), id), "{name} {id}");
    }
    for (name, id) in [("ynt", 2), ("int", 3), ("string", 64), ("s\u{f4}ring", 6), ("user", 6)] {
        assert!(!may_be(name.as_bytes(), id), "{name} {id}");
    }
}
