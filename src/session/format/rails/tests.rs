//! Ids, keys and records as Rails writes them.

use super::*;
use crate::session::value::json;
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::ZlibEncoder};
use std::io::Write;

/// `{"user_id" => 42}`
const MARSHAL: &[u8] = b"\x04\x08{\x06I\"\x0cuser_id\x06:\x06ETi/";
/// Entries of Rails 6.1: with an end, packed (the user and 2000 characters), and without an end.
const ENTRY: &str = "BAhvOiBBY3RpdmVTdXBwb3J0OjpDYWNoZTo6RW50cnkJOgtAdmFsdWV7BkkiDHVzZXJfaWQGOgZFVGkvOg1AdmVyc2lvbjA6EEBjcmVhdGVkX2F0ZhYxNzk1MjYxOTU1LjI1Njc0MjoQQGV4cGlyZXNfaW5mCDZlMQ==";
const PACKED_ENTRY: &str = "BAhvOiBBY3RpdmVTdXBwb3J0OjpDYWNoZTo6RW50cnkKOgtAdmFsdWUiQnicY+GoZvdU4iktTi2Kz0xhs2JzDcnU91TiKEhMYbNmCPFUYrrAXjEKRsEoGAWjYBSMgiEPQBU7ANeKsys6DUB2ZXJzaW9uMDoQQGNyZWF0ZWRfYXRmFzE3OTUyNjE5NTUuMjU2ODE3NjoQQGV4cGlyZXNfaW5mCDZlMToQQGNvbXByZXNzZWRU";
const ENDLESS_ENTRY: &str = "BAhvOiBBY3RpdmVTdXBwb3J0OjpDYWNoZTo6RW50cnkJOgtAdmFsdWV7BkkiDHVzZXJfaWQGOgZFVGkvOg1AdmVyc2lvbjA6EEBjcmVhdGVkX2F0ZhcxNzk1MjYxOTU1LjI2MDIwMzE6EEBleHBpcmVzX2luMA==";
const CREATED: Duration = Duration::from_millis(1_795_261_955_257);
const MINUTE: Duration = Duration::from_secs(60);

fn user(record: &[u8], now: Duration) -> Result<String, Absence> {
    let data = read(record, now)?.data;
    Ok(data.member("user_id").map(json::write).unwrap_or_default())
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An entry as Rails 7.1 writes it.
fn headed(kind: u8, ends: f64, version: &[u8], value: &[u8]) -> Vec<u8> {
    let length = if version.is_empty() { -1 } else { version.len() as i32 };
    [b"\x00\x11", &[kind][..], &ends.to_le_bytes(), &length.to_le_bytes(), version, value].concat()
}

#[test]
fn only_ids_that_rails_gives_out_are_asked_for_and_never_by_their_private_name() {
    let judge = |value: &str| verify(Presented { value: value.as_bytes(), ..Presented::default() });
    let id = judge("87d465d7f900a9b42cb62df635eea4c4").unwrap();
    assert_eq!(judge("%38%377d465d7f900a9b42cb62df635eea4c4"), Err(Absence::Malformed));
    assert_eq!(judge("%387d465d7f900a9b42cb62df635eea4c4").as_ref(), Ok(&id));
    assert_eq!(private_id(&id), "2::fc7764dee390fcfc5e242d8a4edba1f8319047f576f73844556959601be388a5");
    let private = private_id(&id);
    for value in [
        "",
        &id.expose()[1..],
        "87D465D7F900A9B42CB62DF635EEA4C4",
        "87d465d7f900a9b42cb62df635eea4c4 ",
        "87d465d7f900a9b42cb62df635eea4c4+",
        &private,
        &private[3..],
        "\"87d465d7f900a9b42cb62df635eea4c4\"",
        "87d465d7f900a9b42cb62df635eea4c%",
    ] {
        assert_eq!(judge(value), Err(Absence::Malformed), "{value}");
    }
}

#[test]
fn records_of_every_store_and_serializer_are_read() {
    for record in [MARSHAL, br#"{"user_id":42}"#, br#"{"x":1,"user_id":42}"#] {
        assert_eq!(user(record, CREATED).as_deref(), Ok("42"), "{record:?}");
    }
    assert_eq!(user(b"\x04\x08{\x00", CREATED).as_deref(), Ok(""));
    for record in [&b""[..], b"\x04", b"\x04\x08", b"{", b"x", b"\x00", b"\x01", b"\x00\x11", &MARSHAL[..9]] {
        assert!(matches!(user(record, CREATED), Err(Absence::Unreadable(_))), "{record:?}");
    }
}

#[test]
fn cache_entries_are_opened_and_end_when_they_say() {
    let ends = (CREATED + MINUTE).as_secs_f64();
    let parts = |ends: &str| [&b"\x04\x08[\x07"[..], &MARSHAL[2..], ends.as_bytes()].concat();
    let timed = parts("f\x161795262015.256742");
    let entries = [
        STANDARD.decode(ENTRY).unwrap(),
        STANDARD.decode(PACKED_ENTRY).unwrap(),
        [b"\x00", &timed[..]].concat(),
        [b"\x01", &packed(&timed)[..]].concat(),
        headed(0x01, ends, b"", MARSHAL),
        headed(0x81, ends, b"v1", &packed(MARSHAL)),
    ];
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(user(entry, CREATED).as_deref(), Ok("42"), "{at}");
        assert_eq!(user(entry, CREATED + MINUTE - Duration::from_millis(2)).as_deref(), Ok("42"), "{at}");
        assert_eq!(user(entry, CREATED + MINUTE), Err(Absence::Lapsed), "{at}");
        for length in 0..entry.len() {
            assert!(user(&entry[..length], CREATED).is_err(), "{at} {length}");
        }
    }
    let endless = [
        STANDARD.decode(ENDLESS_ENTRY).unwrap(),
        [&b"\x00\x04\x08[\x06"[..], &MARSHAL[2..]].concat(),
        [b"\x00", &parts("0")[..]].concat(),
        headed(0x01, -1.0, b"", MARSHAL),
    ];
    for entry in endless {
        assert_eq!(user(&entry, CREATED + MINUTE * 1_000_000).as_deref(), Ok("42"));
    }
}

#[test]
fn entries_that_rails_does_not_write_are_refused() {
    let bomb = packed(&vec![b'0'; 64 << 20]);
    let refused = [
        headed(0x02, -1.0, b"", b"text"),
        headed(0x00, -1.0, b"", MARSHAL),
        headed(0x81, -1.0, b"", MARSHAL),
        headed(0x01, f64::INFINITY, b"", MARSHAL),
        headed(0x81, -1.0, b"", &bomb),
        [b"\x01", &bomb[..]].concat(),
        [b"\x00\x11\x01", &[0; 8][..], &i32::MAX.to_le_bytes(), MARSHAL].concat(),
        b"\x00\x04\x08[\x00".to_vec(),
        b"\x00\x04\x08{\x00".to_vec(),
        b"\x00\x04\x08[\x07{\x00T".to_vec(),
        b"\x04\x08o: ActiveSupport::Cache::Entry\x00".to_vec(),
        b"\x04\x08o: ActiveSupport::Cache::Entry\x07:\x0b@value{\x00:\x10@expires_in\"\x061".to_vec(),
        b"\x04\x08o: ActiveSupport::Cache::Entry\x07:\x0b@valuei\x06:\x10@compressedT".to_vec(),
    ];
    for entry in refused {
        let read = user(&entry, CREATED);
        assert!(matches!(read, Err(Absence::Unreadable(_))), "{read:?}");
    }
    // What is no time is over, never endless.
    assert_eq!(user(&headed(0x01, f64::NAN, b"", MARSHAL), CREATED), Err(Absence::Lapsed));
}
