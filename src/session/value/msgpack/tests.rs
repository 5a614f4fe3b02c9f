//! MessagePack: every kind, and what is refused.

use super::*;
use crate::session::value::{
    budget::{DEPTH_MAX, NODES_MAX},
    json,
    tests::assert_every_cut_is_refused,
};
use proptest::prelude::*;

fn shown(bytes: &[u8]) -> Result<String, Fault> {
    read(bytes).map(|value| json::write(&value))
}

#[test]
fn every_kind_is_read() {
    let cases: [(&[u8], &str); 30] = [
        (b"\x00", "0"),
        (b"\x7f", "127"),
        (b"\xff", "-1"),
        (b"\xe0", "-32"),
        (b"\xcc\xff", "255"),
        (b"\xcd\x01\x00", "256"),
        (b"\xce\xff\xff\xff\xff", "4294967295"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\xff\x7f", "-129"),
        (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xc0", "null"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\xa2\xc3\xa9", "\"\u{e9}\""),
        (b"\xd9\x01a", "\"a\""),
        (b"\xda\x00\x01a", "\"a\""),
        (b"\xdb\x00\x00\x00\x01a", "\"a\""),
        (b"\xc4\x02\x00\xff", "\"AP8=\""),
        (b"\x92\x01\xa1a", "[1,\"a\"]"),
        (b"\xdc\x00\x01\xc0", "[null]"),
        (b"\x82\xa1a\x01\x07\xc4\x01\xff", r#"{"a":1,"7":"/w=="}"#),
        (b"\xde\x00\x01\xc3\x90", r#"{"true":[]}"#),
        (b"\xdf\x00\x00\x00\x00", "{}"),
        (b"\xd6\xff\x66\x38\x7c\x89", "\"2024-05-06T06:45:29Z\""),
        (b"\xd7\xff\x1d\x6f\x34\x54\x66\x38\x7c\x89", "\"2024-05-06T06:45:29.123456789Z\""),
        (b"\xd4\x05x", "\"eA==\""),
    ];
    for (bytes, expected) in cases {
        assert_eq!(shown(bytes).as_deref(), Ok(expected), "{bytes:02x?}");
    }
    let early = b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(shown(early).as_deref(), Ok("\"1969-12-31T23:59:59Z\""));
}

#[test]
fn what_is_cut_followed_or_broken_is_refused() {
    let whole = b"\x82\xa4user\x81\xa2id\x2a\xa1x\x93\xc0\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xd9\x03abc";
    assert!(read(whole).is_ok());
    assert_every_cut_is_refused(whole, read);
    for bytes in [&b"\x01\x01"[..], b"\xc1", b"\xa1\xff", b"\x81\x80\x01", b"\xd4\xff\x00", b"\xc7\x00\xff"] {
        assert!(read(bytes).is_err(), "{bytes:02x?}");
    }
    for (bytes, fits) in [
        (&b"\x81\xa1a\x01"[..], true),
        (b"\x81\xc4\x01a\x01", true),
        (b"\x81\x01\x01", false),
        (b"\x81\xc0\x01", false),
    ] {
        assert_eq!(read_with(bytes, Keys::Texts).is_ok(), fits, "{bytes:02x?}");
    }
    let late = b"\xd7\xff\xff\xff\xff\xff\x66\x38\x7c\x89";
    assert_eq!(read(late), Err(NO_TIME));
}

#[test]
fn depth_number_and_claims_are_bounded() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(read(&nested(DEPTH_MAX + 1)), Err(Fault("nested too deeply")));
    assert_eq!(read(&nested(100_000)), Err(Fault("nested too deeply")));
    let many = [&b"\xdd\x00\x0f\xff\xff"[..], &vec![0xc0; NODES_MAX]].concat();
    assert_eq!(read(&many), Err(Fault("too many values")));
    for claim in [
        &b"\xdb\xff\xff\xff\xff"[..],
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
    ] {
        assert!(read(claim).is_err(), "{claim:02x?}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&bytes);
    }
}
