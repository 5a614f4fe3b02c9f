//! What igbinary 3.2 wrote, and what nobody should have written.

use super::*;
use crate::session::value::{
    budget::NODES_MAX,
    json,
    php::tests::EVERYTHING_READ,
    tests::{assert_every_cut_is_refused, judge_spoilt},
};

/// The same array as in the tests of `serialize`.
const EVERYTHING: &str = "00000002141311016f170150140311016106011104002a00620602110400500063060311026f3222011101660c3ff800000000000011016e0c7ff80000000000001103626967218000000000000000110165170145271101411102653222021102647417114461746554696d65496d6d757461626c651403110464617465111a323032342d30352d30362030373a30383a30392e313233303030110d74696d657a6f6e655f747970650603110874696d657a6f6e651103555443110362696e1102ff001101740511036e756c0011046c69737414030600060106011101310602140106000602110373706c170b41727261794f626a656374140406000600060114010600060106021400060300110272312506051102723225010911027261251401060006011102726225010a110473616d65010411026f332201";

fn everything() -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    EVERYTHING.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn shown(body: &[u8]) -> Result<String, Fault> {
    read(&[MAGIC[1], body].concat()).map(|value| json::write(&value))
}

#[test]
fn everything_that_igbinary_writes_is_read() {
    let read = read(&everything()).map(|value| json::write(&value));
    assert_eq!(read.as_deref(), Ok(EVERYTHING_READ));
}

#[test]
fn numbers_of_all_widths_are_read() {
    let body = b"\x14\x06\x06\x00\x07\x01\x06\x01\x09\x01\x00\x06\x02\x0b\x01\x00\x00\x00\x06\x03\x20\x7f\xff\xff\xff\xff\xff\xff\xff\x06\x04\x08\x01\x00\x06\x05\x0d";
    assert_eq!(shown(body).as_deref(), Ok(r#"[-1,-256,-16777216,9223372036854775807,256,""]"#));
}

#[test]
fn what_igbinary_does_not_write_is_refused() {
    let refused: [&[u8]; 20] = [
        b"",
        b"\x28",
        b"\x06",
        b"\x0c\0\0",
        b"\x0e\x00",
        b"\x11\x02a",
        b"\x14\x01",
        b"\x14\x01\x06\x00",
        b"\x14\x01\x04\x00",
        b"\x17\x01A",
        b"\x17\x01A\x00",
        b"\x1a\x00\x14\x00",
        b"\x01\x00",
        b"\x25\x25\x00",
        b"\x25",
        b"\x00\x00",
        b"\x20\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x17\x01A\x27\x06\x01",
        b"\x22\x05",
        b"\x14\x02\x11\x01a\x00\x1a\x00\x00",
    ];
    for body in refused {
        assert!(shown(body).is_err(), "{body:x?}");
    }
    assert!(read(b"\0\0\0\x03\x00").is_err());
    assert!(read(b"\0\0\0\x01\x00").is_ok());
}

#[test]
fn a_value_within_itself_is_nothing() {
    assert_eq!(shown(b"\x14\x02\x06\x00\x01\x00\x06\x01\x06\x07").as_deref(), Ok("[null,7]"));
    assert!(shown(b"\x14\x01\x06\x00\x25\x01\x01").is_err());
}

#[test]
fn hostile_records_are_refused_within_bounds() {
    let deep = |levels: usize| [b"\x14\x01\x06\x00".repeat(levels), b"\x00".to_vec()].concat();
    assert!(shown(&deep(64)).is_ok());
    assert_eq!(shown(&deep(65)), Err(Fault("nested too deeply")));
    assert_eq!(shown(&deep(100_000)), Err(Fault("nested too deeply")));
    assert_eq!(shown(&b"\x25".repeat(100_000)), Err(Fault("not an igbinary value")));
    for body in [
        &b"\x13\xff\xff\xff\xffa"[..],
        b"\x16\xff\xff\xff\xff",
        b"\x26\x10\0\0\0\0\0\0\0a",
        b"\x17\x01A\x1f\xff\xff\xff\xff",
    ] {
        assert!(shown(body).is_err(), "{body:x?}");
    }
    // Every level holds the one before it twice.
    let mut doubling = b"\x14\x28\x06\x00\x14\x00".to_vec();
    for level in 1..40 {
        doubling.extend([6, level, 0x14, 2, 6, 0, 1, level, 6, 1, 1, level]);
    }
    assert_eq!(shown(&doubling), Err(Fault("too many values")));
    let text = [&b"\x12\xff\xff"[..], &[b'x'; 65_535]].concat();
    let known: Vec<u8> = (1..=200_u8).flat_map(|index| [6, index, 0x0e, 0]).collect();
    assert_eq!(shown(&[b"\x14\xc9\x06\x00", &text[..], &known].concat()), Err(Fault("too much text")));
    let many = [b"\x16\x00\x03\x00\x00".to_vec(), b"\x06\x00\x00".repeat(NODES_MAX * 2)].concat();
    assert_eq!(shown(&many), Err(Fault("too many values")));
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    assert_every_cut_is_refused(&everything(), read);
}

#[test]
fn a_spoilt_record_is_judged_without_a_panic() {
    judge_spoilt(&everything(), read);
}
