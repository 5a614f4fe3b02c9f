//! Pickles that Python wrote, and pickles that nobody should.

use super::*;
use crate::session::value::{
    budget::{BYTES_MAX, DEPTH_MAX},
    json,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use std::time::Duration;

const ROWS: &str = include_str!("../../../../tests/fixtures/pickles.jsonl");

fn rows() -> Vec<(String, Vec<u8>, serde_json::Value)> {
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap();
        (text("name").to_owned(), STANDARD.decode(text("pickle_b64")).unwrap(), row["json"].clone())
    };
    ROWS.lines().map(row).collect()
}

/// Equal to what Python says, floats in any spelling.
fn shown(value: &Value) -> serde_json::Value {
    let text = json::write(value).replace("1e300", "1e+300");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_python_writes_is_read_in_every_protocol_and_what_runs_code_is_not() {
    let rows = rows();
    assert!(rows.len() >= 25);
    for (name, pickle, expected) in rows {
        match read(&pickle) {
            Ok(value) => assert_eq!(shown(&value), expected, "{name}"),
            Err(fault) => assert!(expected.is_null(), "{name}: {fault:?}"),
        }
    }
}

#[test]
fn a_pickle_cut_anywhere_is_refused() {
    for (name, pickle, _) in rows() {
        for length in 0..pickle.len() {
            assert!(read(&pickle[..length]).is_err(), "{name} at {length}");
        }
        assert!(read(&[&pickle[..], b"."].concat()).is_err(), "{name}");
    }
}

#[test]
fn only_text_and_numbers_are_there_and_never_bytes_or_objects() {
    let value = read(b"}(X\x01\x00\x00\x00aU\x0242X\x01\x00\x00\x00bC\x0242X\x01\x00\x00\x00cK\x2au.").unwrap();
    let kinds: Vec<_> = ["a", "b", "c"].iter().filter_map(|key| value.member(key)).collect();
    let expected = [&Value::Text("42".into()), &Value::bytes(b"42"), &Value::integer(42)];
    assert_eq!(kinds, expected);
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [vec![b']'; depth], vec![b'a'; depth - 1], vec![b'.']].concat();
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(read(&nested(DEPTH_MAX + 1)), Err(Fault("nested too deeply")));
    assert_eq!(read(&nested(100_000)), Err(Fault("nested too deeply")));
    let tuples = [&b"N"[..], &vec![0x85; 100_000], b"."].concat();
    assert_eq!(read(&tuples), Err(Fault("nested too deeply")));
}

/// A program that is small and asks for much: refused, and at once.
fn refused_at_once(what: &str, pickle: &[u8]) {
    let begun = crate::clock::now();
    let read = read(pickle);
    assert!(read.is_err(), "{what}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {:?}", begun.elapsed());
}

#[test]
fn a_little_that_asks_for_much_is_refused_at_once() {
    let text = |length: usize| [&b"X"[..], &u32::try_from(length).unwrap().to_le_bytes(), &vec![b'x'; length]].concat();
    let filled = |start: Vec<u8>, more: &[u8], end: &[u8]| {
        let times = (BYTES_MAX - start.len() - end.len()) / more.len();
        [start, more.repeat(times), end.to_vec()].concat()
    };
    refused_at_once("a claim of 2^60 bytes", b"\x80\x04\x8d\x00\x00\x00\x00\x00\x00\x00\x10.");
    refused_at_once("a frame of 2^60 bytes", b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x10N.");
    refused_at_once("a number of 2^31 bytes", b"\x8b\xff\xff\xff\x7f.");
    refused_at_once("a long number", &[&b"\x8b\xff\xff\x0f\x00"[..], &vec![1; 0xfffff], b"."].concat());
    let doubled: Vec<u8> = (0..40).flat_map(|_| *b"2\x86").collect();
    refused_at_once("a tuple of two of the tuple before", &[&b"N"[..], &doubled, b"."].concat());
    refused_at_once(
        "one text many times",
        &filled([&b"(l"[..], b"(", &text(500_000), b"q\x00"].concat(), b"h\x00", b"e."),
    );
    let decode = [b"c_codecs\nencode\nq\x00", &text(500_000)[..], b"q\x01X\x06\x00\x00\x00latin1q\x02"].concat();
    refused_at_once("one text decoded many times", &filled(decode, b"h\x00h\x01h\x02\x86R", b"."));
    let named = [&text(250_000)[..], b"q\x00", &text(250_000), b"q\x01"].concat();
    refused_at_once("one long name many times", &filled(named, b"h\x00h\x01\x93", b"."));
    let hidden = b"X\x02\x00\x00\x00_aN".repeat(40_000);
    let object = [&b"capp\nUser\n)\x81}("[..], &hidden, b"ubq\x000(l("].concat();
    refused_at_once("one object with much to hide many times", &filled(object, b"h\x00", b"e."));
    let arguments = [&b"capp\nUser\nq\x00("[..], &b"N".repeat(200_000), b"tq\x010(l("].concat();
    refused_at_once("many objects of many arguments", &filled(arguments, b"h\x00h\x01R", b"e."));
}

#[test]
fn programs_that_make_no_sense_are_refused() {
    let programs: [&[u8]; 20] = [
        b"",
        b".",
        b"(.",
        b"N0.",
        b"(N1.",
        b"a.",
        b"]a.",
        b"N]a.",
        b"})s.",
        b"}(Nu.",
        b"(NNu.",
        b")(Ne.",
        b"h\x00.",
        b"g0\n.",
        b"NNR.",
        b"capp\nUser\nNR.",
        b"N}b.",
        b"\x80\x06N.",
        b"\x82\x01.",
        b"I1_0\n.",
    ];
    for program in programs {
        assert!(read(program).is_err(), "{program:?}");
    }
    assert_eq!(read(b"I-7\n."), Ok(Value::integer(-7)));
    // Octal to Python, or nothing.
    assert!([&b"I042\n."[..], b"I-007\n.", b"L042L\n."].iter().all(|pickle| read(pickle).is_err()));
    assert_eq!(read(b"\x8a\x02\x00\x80."), Ok(Value::integer(-32_768)));
    assert_eq!(read(b"V\\U0001f600\\\\u\n."), Ok(Value::Text("\u{1f600}\\\\u".into())));
}

proptest! {
    #[test]
    fn random_programs_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = read(&bytes);
    }

    #[test]
    fn changed_pickles_never_panic(row in 0..14_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (_, mut pickle, _) = rows().swap_remove(row);
        let at = at.index(pickle.len());
        pickle[at] = byte;
        let _ = read(&pickle);
    }
}
