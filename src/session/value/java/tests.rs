//! Objects as a JVM wrote them, and streams that none would write.

use super::{super::json, *};
use crate::session::value::budget::{BYTES_MAX, DEPTH_MAX};
use base64::{Engine, engine::general_purpose::STANDARD};

/// What each object stands for, and its stream in base64; written by OpenJDK 17.
const OBJECTS: &str = include_str!("../../../../tests/fixtures/java_objects.tsv");
/// A class without fields, its name `X`, after its mark.
const CLASS_X: &[u8] = b"\x00\x01X\0\0\0\0\0\0\0\0\x02\0\0\x78\x70";
/// An array of objects, its class described.
const ARRAY: &[u8] = b"\x75\x72\x00\x02[L\0\0\0\0\0\0\0\0\x02\0\0\x78\x70";

fn objects() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let rows = OBJECTS.lines().map(|row| row.split_once('\t').unwrap());
    rows.map(|(expected, stream)| (expected, STANDARD.decode(stream).unwrap()))
}

fn stream(parts: &[&[u8]]) -> Vec<u8> {
    [&HEADER[..], &parts.concat()].concat()
}

fn read_json(stream: &[u8]) -> Result<String, Fault> {
    read(stream).map(|value| json::write(&value))
}

#[test]
fn objects_become_what_they_stand_for() {
    for (expected, stream) in objects() {
        assert_eq!(read_json(&stream).as_deref(), Ok(expected));
    }
}

#[test]
fn a_stream_that_is_cut_or_continued_is_refused() {
    for (expected, stream) in objects() {
        for length in 0..stream.len() {
            assert!(read(&stream[..length]).is_err(), "{expected} {length}");
        }
        assert!(read(&[&stream[..], b"p"].concat()).is_err(), "{expected}");
    }
}

#[test]
fn long_text_is_read() {
    let text = "x".repeat(70_000);
    let long = stream(&[b"\x7c\0\0\0\0", &70_000_u32.to_be_bytes(), text.as_bytes()]);
    assert_eq!(read(&long), Ok(Value::Text(text.into())));
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    let nested = |depth: usize| {
        let array = b"\x75\x71\x00\x7e\x00\x00\0\0\0\x01";
        stream(&[ARRAY, b"\0\0\0\x01", &array.repeat(depth - 2), b"\x75\x71\x00\x7e\x00\x00\0\0\0\0"])
    };
    assert!(read(&nested(DEPTH_MAX - 1)).is_ok());
    for depth in [DEPTH_MAX + 1, 100_000] {
        assert_eq!(read(&nested(depth)), Err(Fault("nested too deeply")));
    }
    // Classes without end: each is derived from the next one.
    let lineage = b"\x72\x00\x01X\0\0\0\0\0\0\0\0\x02\0\0\x78".repeat(50_000);
    assert_eq!(read(&stream(&[b"\x73", &lineage])), Err(Fault("nested too deeply")));
    // Wrappers cost depth, too.
    let wrapper = b"\x73\x72\x00\x1ajava.util.Arrays$ArrayList\0\0\0\0\0\0\0\0\x02\0\x01L\0\x01a\x74\x00\x01L\x78\x70";
    assert_eq!(read(&stream(&[&wrapper.repeat(10_000)])), Err(Fault("nested too deeply")));
}

#[test]
fn a_declared_length_costs_nothing() {
    for length in [u32::MAX, 1 << 30] {
        let length = length.to_be_bytes();
        assert!(read(&stream(&[ARRAY, &length])).is_err());
        assert!(read(&stream(&[b"\x75\x72\x00\x02[B\0\0\0\0\0\0\0\0\x02\0\0\x78\x70", &length])).is_err());
        assert!(read(&stream(&[b"\x7d", &length])).is_err());
        assert!(read(&stream(&[b"\x7c", &length, &length])).is_err());
    }
    assert!(read(&stream(&[b"\x7c\x10\0\0\0\0\0\0\0x"])).is_err());
    assert!(read(&stream(&[b"\x73\x72\x00\x01X\0\0\0\0\0\0\0\0\x02\xff\xff"])).is_err());
}

/// An array of two that refers twice to the array before it, and so on: 2^n values in a few bytes.
#[test]
fn references_are_paid_for_wherever_they_are_met() {
    let mut bomb = vec![ARRAY.to_vec(), 41_u32.to_be_bytes().to_vec(), b"\x74\x00\x01x".to_vec()];
    for number in 0..40_u32 {
        let before = (FIRST_HANDLE + 2 + number).to_be_bytes();
        bomb.push([b"\x75\x71\x00\x7e\x00\x00\0\0\0\x02\x71", &before[..], b"\x71", &before[..]].concat());
    }
    let bomb: Vec<_> = bomb.iter().map(Vec::as_slice).collect();
    assert_eq!(read(&stream(&bomb)), Err(Fault("too many values")));
    // One long text, met again and again.
    let text = "x".repeat(BYTES_MAX / 2);
    let again = b"\x71\x00\x7e\x00\x02".repeat(2);
    let long = [&b"\x7c\0\0\0\0"[..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    assert_eq!(read(&stream(&[ARRAY, b"\0\0\0\x03", &long, &again])), Err(Fault("too much text")));
}

#[test]
fn what_no_jvm_writes_is_refused() {
    let refused: [&[u8]; 14] = [
        b"",
        b"\x77\x01x",
        b"\x78",
        b"\x79\x70",
        b"\x7b\x70",
        b"\x71\x00\x7e\x00\x00",
        b"\x71\x00\x00\x00\x00",
        b"\x73\x70",
        b"\x73\x74\x00\x01x",
        b"\x7e\x70",
        b"\x73\x72\x00\x01X\0\0\0\0\0\0\0\0\x02\0\x01?\0\x01a\x78\x70\0",
        b"\x73\x72\x00\x01X\0\0\0\0\0\0\0\0\x04\0\0\x78\x70\x78",
        b"\x73\x72\x00\x01X\0\0\0\0\0\0\0\0\x06\0\0\x78\x70\x78",
        b"\x74\x00\x01\xff",
    ];
    for bytes in refused {
        assert!(read(&stream(&[bytes])).is_err(), "{bytes:x?}");
    }
    assert!(read(b"\xac\xed\x00\x04p").is_err());
    assert!(read(&vec![b'p'; BYTES_MAX + 1]).is_err());
    assert_eq!(read_json(&stream(&[b"\x73\x72", CLASS_X])).as_deref(), Ok(r#"{"@class":"X"}"#));
}
