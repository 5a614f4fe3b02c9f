//! What Ruby 3.1 and Rails 6.1 wrote, and what nobody should have written.

use super::*;
use crate::session::value::{
    budget::NODES_MAX,
    json,
    tests::{assert_every_cut_is_refused, judge_spoilt},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// A hash of everything: symbols, times, numbers of all sizes, objects, encodings, and values met twice.
const EVERYTHING: &str = "BAh7KkkiCHN5bQY6BkVUOgphZG1pbjoGazsGSSIHw6kGOwBUSToHw6kGOwBUSSIJdGltZQY7AFRJdToJVGltZQ3HEB/AQOKRIAk6DW5hbm9fbnVtaQIVAzoNbmFub19kZW5pBjoNc3VibWljcm8iB3iQOgl6b25lSSIIVVRDBjsARkkiCmxvY2FsBjsAVEl1OwkNxRAfgAAAkCAHOw0wOgtvZmZzZXRpAiAcSSIIYmlnBjsAVGwrCgAAAAAAAAAAQABJIghuZWcGOwBUbC0IAAAAAAABSSIGaQY7AFRbFWkAaQZp+ml/aQF7aYBp/4RpAf9pAgABaf8Aaf7//mkC//9pAwAAAWkE////P2n8AAAAwGwrBwAAAEBJIgdiZAY7AFR1Og9CaWdEZWNpbWFsDjE4OjAuMTVlMUkiCHNldAY7AFRvOghTZXQGOgpAaGFzaH0IaQZUSSIGYQY7AFRUSSILc2hhcmVkBjsAVFRGSSIIb2JqBjsAVG86CE9iagc6CEBpZGkvOgdAblsGaQZJIgdwdAY7AFRTOgdQdAc6BnhpBjoGeUkiC3NoYXJlZAY7AFRJIghiaW4GOwBUIgf//kkiCmJpbm9rBjsAVCIHNDJJIglzamlzBjsAVEkiB4KgBjoNZW5jb2RpbmciDlNoaWZ0X0pJU0kiCmFzY2lpBjsAVEkiBngGOwBGSSIGZgY7AFRbCmYIMS41ZgoxZTMwMGYHLTBmCG5hbmYIaW5mSSIIcmF0BjsAVFU6DVJhdGlvbmFsWwdpCGkJSSIIY2xzBjsAVGMLU3RyaW5nSSIIbW9kBjsAVG0LS2VybmVsSSIKcmFuZ2UGOwBUbzoKUmFuZ2UIOglleGNsRjoKYmVnaW5pBjoIZW5kaQhJIgdyZQY7AFRJLwhhYisBBjsARkkiB3MxBjsAVEAhSSIHczIGOwBUQCFJIgdkaAY7AFR9BkAaaQZpCkkiCWRhdGUGOwBUVToJRGF0ZVsLaQBpAxWLJWkAaQBpAGYMMjI5OTE2MUkiB2R0BjsAVFU6DURhdGVUaW1lWwtpAGkDFYslaQJZZGkEAGXNHWkAQERpBkkiCG9uZQY7AFQwSSIIbmlsBjsAVFsGaQZJIglsaXN0BjsAVEkiCG5pbAY7AFQwSSIGdAY7AFRbB1RGSSIIYXJyBjsAVFsHaQZAIUkiCWFycjIGOwBUQFBJIghlbmQGOwBUSSIHw6kGOwBUSSIIY3ljBjsAVFsHaQZAVUkiCWxhc3QGOwBUQCE=";
const EVERYTHING_READ: &str = concat!(
    r#"{"sym":"admin","k":"admin","é":"é","time":"2024-05-06T07:08:09.123456789Z","local":"2024-05-06T05:08:09Z","#,
    r#""big":1180591620717411303424,"neg":-1099511627776,"#,
    r#""i":[0,1,-1,122,123,-123,-124,255,256,-256,-257,65535,65536,1073741823,-1073741824,1073741824],"#,
    r#""bd":"0.15e1","set":[1,"a","shared"],"obj":{"id":42,"n":[1]},"pt":{"x":1,"y":"shared"},"#,
    r#""bin":"//4=","binok":"42","sjis":"gqA=","ascii":"x","f":[1.5,1e300,-0.0,null,null],"rat":"3/4","#,
    r#""cls":"String","mod":"Kernel","range":{"excl":false,"begin":1,"end":3},"re":"ab+","s1":"shared","s2":"shared","#,
    r#""dh":{"a":1},"date":"2024-05-06","dt":"2024-05-06T07:08:09.5Z","1":"one","null":"nil","[1]":"list","#,
    r#""nil":null,"t":[true,false],"arr":[1,"shared"],"arr2":[1,"shared"],"end":"é","cyc":[1,null],"last":"shared"}"#,
);
const RAILS: &str = "BAh7CEkiB3R6BjoGRVRVOiBBY3RpdmVTdXBwb3J0OjpUaW1lV2l0aFpvbmVbCEl1OglUaW1lDccQH8AAAJAgBjoJem9uZUkiCFVUQwY7AEZJIgpUb2t5bwY7AFRJdTsHDdAQH8AAAJAgBjsIQAlJIglod2lhBjsAVEM6LUFjdGl2ZVN1cHBvcnQ6Okhhc2hXaXRoSW5kaWZmZXJlbnRBY2Nlc3N7BkkiBmEGOwBUaQZJIgphZnRlcgY7AFRbB0kiBnEGOwBUQBI=";

fn everything() -> Vec<u8> {
    STANDARD.decode(EVERYTHING).unwrap()
}

fn shown(body: &[u8]) -> Result<String, Fault> {
    read(&[MAGIC, body].concat()).map(|value| json::write(&value))
}

#[test]
fn everything_that_ruby_writes_is_read() {
    let read_all = read(&everything()).map(|value| json::write(&value));
    assert_eq!(read_all.as_deref(), Ok(EVERYTHING_READ));
    let rails = read(&STANDARD.decode(RAILS).unwrap()).map(|value| json::write(&value));
    assert_eq!(rails.as_deref(), Ok(r#"{"tz":"2024-05-06T07:08:09Z","hwia":{"a":1},"after":["q","q"]}"#));
}

#[test]
fn what_ruby_does_not_write_is_refused() {
    let refused: [&[u8]; 29] = [
        b"",
        b"x",
        b"00",
        b"i",
        b"i\x02\x01",
        b"\"\x06",
        b"\"\xfa",
        b"[\x06",
        b"[\xfa",
        b"{\x06i\x06",
        b":\x06",
        b";\x00",
        b"@\x00",
        b"I\"\x06a",
        b"I\"\x06a\x06i\x06T",
        b"II\"\x00\x00",
        b"Ii\x2f\x06:\x06ET",
        b"IT\x00",
        b"l+\x06\x01",
        b"f\x08nah",
        b"f\x06x",
        b"f\x08inF",
        b"o:\x06A",
        b"oi\x06\x00",
        b"S:\x06A\x06",
        b"u:\x06A\x06",
        b"U:\x06A",
        b"C:\x06A",
        b"/\x06a",
    ];
    for body in refused {
        assert!(shown(body).is_err(), "{body:x?}");
    }
    assert!(read(b"\x04\x090").is_err());
    assert!(read(b"").is_err());
}

#[test]
fn times_that_are_none_are_nothing() {
    assert_eq!(shown(b"u:\x09Time\x0d\xff\xff\xff\xff\xff\xff\xff\xff").as_deref(), Ok("null"));
    assert_eq!(shown(b"u:\x09Time\x06\x00").as_deref(), Ok("null"));
    assert_eq!(shown(b"u:\x09Time\x0d\x00\x00\x00\x01\x00\x00\x00\x00").as_deref(), Ok("\"1970-07-14T04:20:16Z\""));
    assert_eq!(
        shown(b"U:\x09Date[\x07i\x00l+\x09\xff\xff\xff\xff\xff\xff\xff\x7f").as_deref(),
        Ok("[0,9223372036854775807]")
    );
    assert_eq!(shown(b"U:\x06A[\x06i\x06").as_deref(), Ok("[1]"));
    assert_eq!(shown(b"u:\x06A\x07\x04\x08").as_deref(), Ok("null"));
}

#[test]
fn hostile_records_are_refused_within_bounds() {
    let deep = |levels: usize| [b"[\x06".repeat(levels), b"0".to_vec()].concat();
    assert!(shown(&deep(64)).is_ok());
    assert_eq!(shown(&deep(65)), Err(Fault("nested too deeply")));
    assert_eq!(shown(&deep(100_000)), Err(Fault("nested too deeply")));
    for prefix in [
        &b"C:\x06A"[..],
        b"IC:\x06A",
        b"e;\x00",
        b"U:\x06A",
        b"d:\x06A",
        b"o:\x06A\x06:\x06@",
        b"S:\x06A\x06:\x06x",
        b"}\x000",
        b"I:\x06A\x06:\x06E",
    ] {
        assert!(shown(&prefix.repeat(10_000)).is_err(), "{prefix:x?}");
    }
    for body in [
        &b"[\x04\xff\xff\xff\x7f"[..],
        b"{\x04\xff\xff\xff\x7f",
        b"\"\x04\xff\xff\xff\x7f",
        b"l+\x04\xff\xff\xff\x7f",
        b"o:\x06A\x04\xff\xff\xff\x7f",
        b":\x04\xff\xff\xff\x7f",
        b"@\x04\xff\xff\xff\x7f",
        b"[\xfc\x00\x00\x00\x80",
    ] {
        assert!(shown(body).is_err(), "{body:x?}");
    }
    // Every level holds the one before it twice.
    let mut doubling = b"[\x2d[\x00".to_vec();
    for level in 1..40_u8 {
        let inner = if level == 1 { 6 } else { level + 5 };
        doubling.extend([b'[', 7, b'@', inner, b'@', inner]);
    }
    assert_eq!(shown(&doubling), Err(Fault("too many values")));
    let text = [&b"\"\x03\x40\x42\x0f"[..], &[b'x'; 1_000_000]].concat();
    assert_eq!(shown(&[b"[\x08", &text[..], b"@\x06@\x06"].concat()), Err(Fault("too much text")));
    let symbol = [&b":\x03\x40\x42\x0f"[..], &[b'x'; 1_000_000]].concat();
    assert_eq!(shown(&[b"[\x08", &symbol[..], b";\x00;\x00"].concat()), Err(Fault("too much text")));
    let many = [b"[\x03\x40\x0d\x03".to_vec(), b"0".repeat(NODES_MAX * 2)].concat();
    assert_eq!(shown(&many), Err(Fault("too many values")));
    let digits = [&b"l+\x02\xff\x7f"[..], &[1; 65_534]].concat();
    assert_eq!(shown(&digits), Err(Fault("a number of too many digits")));
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    assert_every_cut_is_refused(&everything(), read);
}

#[test]
fn a_spoilt_record_is_judged_without_a_panic() {
    judge_spoilt(&everything(), read);
}
