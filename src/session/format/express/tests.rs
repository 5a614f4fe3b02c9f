//! Cookies as Express judges them, and as the gateway writes them.

use super::*;
use crate::session::tests::{SECRET, config, express as format};
use proptest::prelude::*;

const ID: &str = "jPOoc3wVQR_NytJ5knzmEHu1x08o0m-M";
const TAG: &str = "ANYcl+0DzbIl9+LZRASjDsAqogVop6AJzR27Z+2pfuw";
const NOW: Duration = Duration::from_millis(1_795_216_518_665);

fn own() -> Own {
    Own { path: "/".to_owned(), domain: None, max_age: None, same_site: None }
}

fn express(secrets: &[&str], own: Own) -> Express {
    let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    Express::compile(&config(format(&[SECRET])), &secrets, own)
}

fn judge(value: &str) -> Result<String, Absence> {
    let verified = express(&["newest secret", SECRET], own()).verify(value.as_bytes());
    verified.map(|id| id.expose().to_owned())
}

fn signed(id: &str) -> String {
    let tag = encode_tag(&express(&[SECRET], own()).keys[0], id);
    format!("s:{id}.{}", str::from_utf8(&tag).unwrap())
}

#[test]
fn what_express_accepts_is_accepted() {
    let raw = format!("s:{ID}.{TAG}");
    let every_byte: String = raw.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let accepted = [
        raw.clone(),
        raw.replace(':', "%3A").replace('+', "%2B"),
        raw.replace(':', "%3a"),
        every_byte,
        format!("\"{raw}\""),
        format!("\"{}\"", raw.replace(':', "%3A")),
    ];
    for value in accepted {
        assert_eq!(judge(&value).as_deref(), Ok(ID), "{value}");
    }
}

#[test]
fn an_id_may_hold_dots_and_anything_printable() {
    for id in ["a.b.c", ".", "a b", "../x", "user:42", "é漢", "100%"] {
        let encoded = utf8_percent_encode(&signed(id), COMPONENT).to_string();
        assert_eq!(judge(&encoded).as_deref(), Ok(id), "{encoded}");
    }
}

#[test]
fn what_express_rejects_is_rejected() {
    let raw = format!("s:{ID}.{TAG}");
    let other_last = TAG.replace("fuw", "fux");
    let malformed = [
        ID.to_owned(),
        format!("{ID}.{TAG}"),
        raw.replace("s:", "S:"),
        raw.replace(':', "%253A").replace('+', "%252B"),
        raw.replace("s:", "%ZZs:"),
        format!("s%3A{ID}.{TAG}%FF"),
        format!("s%3A{ID}.{TAG}%"),
        format!("s%3A{ID}.{TAG}%2"),
        format!("\"{raw}"),
        String::new(),
        "\"".to_owned(),
        "s:".to_owned(),
        "s:nodot".to_owned(),
        signed(""),
        signed(&"x".repeat(513)),
        signed("a\u{1}b").replace('\u{1}', "%01"),
        "s:é.x".to_owned(),
    ];
    for value in malformed {
        assert_eq!(judge(&value), Err(Absence::Malformed), "{value}");
    }
    let unsigned = [
        format!("{raw}="),
        raw.replace('+', "-"),
        format!("s:{ID}.{other_last}"),
        raw.replace(':', "%3A") + "%20",
        format!("{raw}%FF"),
        format!("s:{ID}.%ZZ{TAG}"),
        format!("s:{ID}."),
        format!("s:{ID}x.{TAG}"),
        format!("s:{ID}.{TAG},x"),
        format!("{raw}\""),
        format!("s:{ID}.{TAG}.{TAG}"),
        format!("s:{ID} .{TAG}"),
    ];
    for value in unsigned {
        assert_eq!(judge(&value), Err(Absence::BadSignature), "{value}");
    }
    assert_eq!(express(&["other"], own()).verify(raw.as_bytes()), Err(Absence::BadSignature));
    assert_eq!(express(&[SECRET], own()).verify(b"s:\xff\xfe.x"), Err(Absence::Malformed));
}

#[test]
fn the_newest_secret_signs() {
    let express = express(&["newest", SECRET], own());
    let value = express.sign(&SessionId::new(ID));
    assert_ne!(value, utf8_percent_encode(&signed(ID), COMPONENT).to_string());
    assert_eq!(express.verify(value.as_bytes()), Ok(SessionId::new(ID)));
}

#[test]
fn a_new_record_and_its_cookie_are_as_the_app_would_write_them() {
    let data = json::read(br#"{"cookie":"mine","user":{"id":42}}"#).unwrap();
    let session_cookie = express(&[SECRET], own());
    let (record, ttl) = session_cookie.begin(data.clone(), false, NOW);
    let expected = r#"{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"user":{"id":42}}"#;
    assert_eq!((json::write(&record).as_str(), ttl), (expected, TTL));
    let mut cookie = Cookie::new("connect.sid", "x");
    session_cookie.dress(&mut cookie, Some(NOW));
    assert_eq!(cookie.to_string(), "connect.sid=x; Path=/");
    let own = Own {
        path: "/app".to_owned(),
        domain: Some("example.com".to_owned()),
        max_age: Some(Duration::from_millis(90_500)),
        same_site: Some(session::SameSite::Lax),
    };
    let limited = express(&[SECRET], own);
    let (record, ttl) = limited.begin(data, true, NOW);
    let expected = r#"{"cookie":{"originalMaxAge":90500,"expires":"2026-11-20T23:16:49.165Z","secure":true,"httpOnly":true,"domain":"example.com","path":"/app","sameSite":"lax"},"user":{"id":42}}"#;
    assert_eq!((json::write(&record).as_str(), ttl), (expected, Duration::from_secs(91)));
    let mut cookie = Cookie::new("connect.sid", "x");
    limited.dress(&mut cookie, Some(NOW));
    let line = "connect.sid=x; SameSite=Lax; Path=/app; Domain=example.com; Expires=Fri, 20 Nov 2026 23:16:49 GMT";
    assert_eq!(cookie.to_string(), line);
}

#[test]
fn a_change_leaves_the_apps_cookie_alone() {
    let record = br#"{"n":1,"cookie":{"originalMaxAge":5}}"#;
    let change = |data: &mut Value| {
        *data = json::read(br#"{"n":2,"cookie":{}}"#).unwrap();
        Ok::<_, ()>(())
    };
    let changed = rewrite(record, change).unwrap().unwrap();
    assert_eq!(json::write(&changed), r#"{"cookie":{"originalMaxAge":5},"n":2}"#);
    assert_eq!(rewrite(b"[]", |_| Ok::<_, ()>(())), Ok(None));
}

proptest! {
    #[test]
    fn random_values_are_judged_without_a_panic(value in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(express(&[SECRET], own()).verify(&value).is_err());
    }

    #[test]
    fn what_is_signed_verifies(id in "[!-~é漢😀 ]{1,60}") {
        let express = express(&[SECRET], own());
        let id = SessionId::new(id);
        let value = express.sign(&id);
        prop_assert!(value.is_ascii());
        prop_assert_eq!(express.verify(value.as_bytes()), Ok(id));
    }
}

#[test]
fn a_record_that_the_app_fails_on_is_none() {
    let mut selection = Selection::default();
    selection.extend(&judged_by());
    for selection in [Selection::whole(), selection] {
        let open = |record: &str| open(record.as_bytes(), &selection).is_ok();
        assert!(!open(r#"{"user":1}"#) && !open("{}"));
        for cookie in ["null", "7", "\"x\"", "true", "[]"] {
            assert!(!open(&format!(r#"{{"cookie":{cookie},"user":1}}"#)), "{cookie}");
        }
        assert!(open(r#"{"cookie":{},"user":1}"#) && open(r#"{"cookie":7,"cookie":{"path":"/"}}"#));
        for name in ["maxAge", "originalMaxAge"] {
            let open = |age: &str| open(&format!(r#"{{"cookie":{{"{name}":{age}}},"user":1}}"#));
            assert!(["null", "false", "\"\"", "0", "-5", "90000.5"].into_iter().all(open), "{name}");
            assert!(!["\"x\"", "\"90000\"", "true", "{}", "[]"].into_iter().any(open), "{name}");
        }
    }
}
