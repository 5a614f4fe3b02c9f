//! Cookies and records as Laravel judges them.

use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;

const KEY: &str = "base64:a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
/// Laravel 8 made them with the key above, in CBC and in GCM mode.
const CBC: &str = "eyJpdiI6IkhLdHRiS2FHS2thcG5CSXZqODVFckE9PSIsInZhbHVlIjoibk5tbHlFUGxmbDEyWHlEV3c5TDBJeldITHAybWVYYTllRXJ4bDVPZFRmaGpTN1B1SkZDVzIwODVZbVRTQWliMkMyeE1BZGdqMnVobloxWHRJVklXOGgyNEtmdXZqQ1pnL0xETm1VWVlKZk9Qcy9HZ0F6VVNjYVFtREF1TERuK1UiLCJtYWMiOiI0MDcwODBhNmEyNjc3YmRmZmY2OWQwZWIzYzdmMTJhNGU4Mjg5NjY2YTZiY2UzNmY1YWQ3OWI0NDRlNDc5ZTk5IiwidGFnIjoiIn0%3D";
const CBC_ID: &str = "GLqaQ3gu4fAi67WGHbFyKFSyQNit4FINghTaOhfx";
const GCM: &str = "eyJpdiI6Ikd3bFA5T2FsSDRHU2dKRlYiLCJ2YWx1ZSI6Imlycnc1UDVCK1grQkozdkpRVlJOeG9CTXl6OUcyMjNCeU5ONkRMbXRxMjFScVArME9GTkp3RVlqVXRSemNQYm1OSkhHOWhoa1c0R0g4U3E1YUR6dUVOUFJ0ZS9PbVRLUjVXSjV4a09yU3JnTiIsIm1hYyI6IiIsInRhZyI6IkYrTTZTUmQzNFJsOUYwN1o0OTZMUGc9PSJ9";
const GCM_ID: &str = "6MprgZMPgxbwP7nOyKwdgiivIV1mSMNLBeG4waMI";

fn laravel(keys: &[&str]) -> Laravel {
    let keys: Vec<_> = keys.iter().map(|key| Secret::new(*key)).collect();
    Laravel::compile("laravel_session", &keys)
}

fn judge_with(laravel: &Laravel, value: &str) -> Result<String, Absence> {
    laravel.verify(Presented { value: value.as_bytes(), ..Presented::default() }).map(|id| id.expose().to_owned())
}

fn judge(value: &str) -> Result<String, Absence> {
    judge_with(&laravel(&[KEY]), value)
}

/// The members of a cookie's envelope.
fn parts(cookie: &str) -> [String; 4] {
    let text = STANDARD.decode(cookie.replace("%3D", "=")).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&text).unwrap();
    ["iv", "value", "mac", "tag"].map(|name| payload[name].as_str().unwrap().to_owned())
}

fn envelope([iv, value, mac, tag]: &[String; 4]) -> String {
    let payload = serde_json::json!({ "iv": iv, "value": value, "mac": mac, "tag": tag });
    STANDARD.encode(payload.to_string())
}

/// A cookie that holds `text`, encrypted and signed as Laravel does, with a 16-byte or 32-byte key.
fn sealed(key: &[u8], text: &[u8]) -> String {
    use aes::{Aes128, Aes256, cipher::KeyIvInit};
    use cbc::{
        Encryptor,
        cipher::{BlockModeEncrypt, block_padding::Pkcs7},
    };
    let iv = [7; 16];
    let value = if key.len() == 16 {
        Encryptor::<Aes128>::new_from_slices(key, &iv).unwrap().encrypt_padded_vec::<Pkcs7>(text)
    } else {
        Encryptor::<Aes256>::new_from_slices(key, &iv).unwrap().encrypt_padded_vec::<Pkcs7>(text)
    };
    let (iv, value) = (STANDARD.encode(iv), STANDARD.encode(value));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), [&*iv, &*value].concat().as_bytes());
    envelope(&[iv, value, hex(mac.as_ref()), String::new()])
}

fn marked(key: &[u8], name: &str, id: &str) -> Vec<u8> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), [name, "v2"].concat().as_bytes());
    format!("{}|{id}", hex(tag.as_ref())).into_bytes()
}

#[test]
fn what_laravel_encrypts_is_accepted() {
    assert_eq!(judge(CBC).as_deref(), Ok(CBC_ID));
    assert_eq!(judge(&CBC.replace("%3D", "=")).as_deref(), Ok(CBC_ID));
    assert_eq!(judge(&CBC.replace("%3D", "%3d")).as_deref(), Ok(CBC_ID));
    assert_eq!(judge(GCM).as_deref(), Ok(GCM_ID));
    let key: &[u8] = b"sixteen bytes...";
    let cookie = sealed(key, &marked(key, "laravel_session", CBC_ID));
    let short = laravel(&["sixteen bytes..."]);
    assert_eq!(judge_with(&short, &cookie).as_deref(), Ok(CBC_ID));
}

#[test]
fn previous_keys_open_and_others_do_not() {
    let other = "base64:b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28=";
    for cookie in [CBC, GCM] {
        assert!(judge_with(&laravel(&[other, KEY]), cookie).is_ok());
        assert_eq!(judge_with(&laravel(&[other]), cookie), Err(Absence::BadSignature));
    }
}

#[test]
fn a_cookie_changed_anywhere_is_refused() {
    for (cookie, id) in [(CBC, CBC_ID), (GCM, GCM_ID)] {
        let whole = cookie.replace("%3D", "=");
        for length in 0..whole.len() {
            // PHP completes what is missing of the last letters.
            let judged = judge(&whole[..length]);
            assert!(judged.is_err() || length + 4 > whole.len() && judged.as_deref() == Ok(id), "{length}");
        }
        // Nobody signs the names of the parts, and in GCM mode Laravel ignores the MAC: what is left is the same id.
        let harmless = (0..whole.len()).filter(|at| {
            let mut changed = whole.clone().into_bytes();
            changed[*at] = if changed[*at] == b'A' { b'B' } else { b'A' };
            let judged = judge(&String::from_utf8(changed).unwrap());
            assert!(judged.is_err() || judged.as_deref() == Ok(id), "{at}");
            judged.is_ok()
        });
        assert!(harmless.count() < 16);
    }
}

#[test]
fn one_check_never_stands_in_for_the_other() {
    let [iv, value, mac, tag] = parts(CBC);
    // With a tag of whatever length the MAC no longer counts …
    for tag in ["AAAAAAAAAAAAAAAAAAAAAA==", "AA==", "x", "!"] {
        let judged = judge(&envelope(&[iv.clone(), value.clone(), mac.clone(), tag.to_owned()]));
        assert!(judged.is_err(), "{tag}");
    }
    // … and without one the MAC must hold, whatever the IV looks like.
    for mac in [String::new(), mac.to_uppercase(), mac[1..].to_owned(), "0".repeat(64)] {
        let judged = judge(&envelope(&[iv.clone(), value.clone(), mac, tag.clone()]));
        assert_eq!(judged, Err(Absence::BadSignature));
    }
    let [iv, value, mac, tag] = parts(GCM);
    assert!(judge(&envelope(&[iv.clone(), value.clone(), mac.clone(), String::new()])).is_err());
    // A shortened tag is easier to guess.
    let bytes = STANDARD.decode(tag).unwrap();
    for length in 1..16 {
        assert!(
            judge(&envelope(&[iv.clone(), value.clone(), mac.clone(), STANDARD.encode(&bytes[..length])])).is_err()
        );
    }
}

#[test]
fn an_envelope_of_another_shape_is_refused() {
    let whole = |json: &str| judge(&STANDARD.encode(json));
    for json in [
        "",
        "[]",
        "{}",
        "null",
        "\"x\"",
        r#"{"iv":"a","value":"b"}"#,
        r#"{"iv":1,"value":"b","mac":"c"}"#,
        r#"{"iv":"AAAA","value":"AAAA","mac":"AAAA","tag":[]}"#,
        r#"{"iv":"AAAA","value":"AAAA","mac":"AAAA","tag":{"0":1}}"#,
    ] {
        assert_eq!(whole(json), Err(Absence::Malformed), "{json}");
    }
    for value in ["", "x", "é", "%ff%fe", CBC_ID, "GLqaQ3gu4fAi67WGHbFyKFSyQNit4FINghTaOhfx|x"] {
        assert_eq!(judge(value), Err(Absence::Malformed), "{value}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(whole(&deep), Err(Absence::Malformed));
}

#[test]
fn another_encrypted_cookie_names_no_session() {
    let key = [b'k'; 32];
    let cookie = |text: &[u8]| judge(&sealed(&key, text));
    assert_eq!(cookie(&marked(&key, "laravel_session", CBC_ID)).as_deref(), Ok(CBC_ID));
    assert_eq!(cookie(CBC_ID.as_bytes()), Err(Absence::BadSignature));
    assert_eq!(cookie(&marked(&key, "XSRF-TOKEN", CBC_ID)), Err(Absence::BadSignature));
    assert_eq!(cookie(&marked(b"another key", "laravel_session", CBC_ID)), Err(Absence::BadSignature));
    assert_eq!(cookie(b""), Err(Absence::BadSignature));
    for id in ["", "short", "GLqaQ3gu4fAi67WGHbFyKFSyQNit4FINghTaOhf*", "GLqaQ3gu4fAi67WGHbFyKFSyQNit4FINghTaOhfxx"] {
        assert_eq!(cookie(&marked(&key, "laravel_session", id)), Err(Absence::Malformed), "{id}");
    }
}

#[test]
fn records_are_read_whatever_the_settings() {
    let key = [b'k'; 32];
    let outer = |inner: &[u8]| [format!("s:{}:\"", inner.len()).as_bytes(), inner, b"\";"].concat();
    let read = |record: &[u8]| laravel(&[KEY]).read(record).map(|value| json::write(&value));
    let array = br#"a:2:{s:5:"login";i:42;s:3:"bin";s:1:"X";}"#.map(|byte| if byte == b'X' { 0xff } else { byte });
    let text = br#"{"login":42,"bin":"x"}"#;
    let wanted = r#"{"login":42,"bin":"/w=="}"#;
    assert_eq!(read(&outer(&array)).as_deref(), Ok(wanted));
    assert_eq!(read(&outer(text)).as_deref(), Ok(r#"{"login":42,"bin":"x"}"#));
    assert_eq!(read(&outer(sealed(&key, &outer(&array)).as_bytes())).as_deref(), Ok(wanted));
    assert_eq!(read(&outer(sealed(&key, &outer(text)).as_bytes())).as_deref(), Ok(r#"{"login":42,"bin":"x"}"#));
    assert_eq!(read(&outer(b"a:0:{}")).as_deref(), Ok("{}"));
    assert_eq!(read(&outer(b"[]")).as_deref(), Ok("{}"));
    let foreign = outer(sealed(b"another key of thirty-two bytes.", &outer(&array)).as_bytes());
    for record in [
        &b""[..],
        &array,
        text,
        b"s:0:\"\";",
        b"s:5:\"a:0:{};",
        b"i:5;",
        &foreign,
        &outer(b"eyJ"),
        &outer(&outer(&array)),
    ] {
        assert!(
            matches!(read(record), Err(Absence::Unreadable(_)) | Ok(_)) && read(record).as_deref() != Ok(wanted),
            "{record:?}"
        );
    }
    for length in 0..outer(&array).len() {
        assert!(read(&outer(&array)[..length]).is_err(), "{length}");
    }
}
