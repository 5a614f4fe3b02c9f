//! Fields as Spring writes them, as JSON for brevity; the recorded session has Java objects.

use super::*;
use crate::session::{format::tests::presented, value::json::write};

const NOW: Duration = Duration::from_secs(1_795_218_400);

fn packed(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    fields.iter().flat_map(|(name, value)| [counted(name.as_bytes()), counted(value)].concat()).collect()
}

/// A session that was just used, and this field.
fn open(name: &str, value: &str) -> Result<Value, Absence> {
    let times: [(&str, &[u8]); 3] = [(CREATED, b"1795218300000"), (USED, b"1795218399999"), (INTERVAL, b"1800")];
    let record = packed(&[&times[..], &[(name, value.as_bytes())]].concat());
    read(&record, NOW).map(|opened| opened.data)
}

fn who(context: &str) -> (String, String) {
    let data = open("sessionAttr:SPRING_SECURITY_CONTEXT", context).unwrap();
    (write(data.member(NAME).unwrap()), write(data.member(AUTHORITIES).unwrap()))
}

#[test]
fn only_a_uuid_is_an_id() {
    let judge = |id: &str| verify(presented(&STANDARD.encode(id)));
    let id = "58d26139-8fbe-4413-b689-6f7650e6ff78";
    assert_eq!(judge(id), Ok(SessionId::new(id)));
    let other = [
        "expires:58d26139-8fbe-4413-b689-6f7650e6ff78",
        &id.to_uppercase(),
        "",
        &id[1..],
        "58d26139-8fbe-4413-b689-6f7650e6ff7*",
    ];
    for id in other.into_iter().chain([&*id.replace('-', "0"), &format!("{id}.node1")]) {
        assert_eq!(judge(id), Err(Absence::Malformed), "{id}");
    }
    for value in [id, "NThkMjYxMzktOGZiZS00NDEzLWI2ODktNmY3NjUwZTZmZjc", "\"NThk\"", "%4e"] {
        assert_eq!(verify(presented(value)), Err(Absence::Malformed), "{value}");
    }
}

#[test]
fn a_session_ends_when_it_was_not_used() {
    let ends = |used: &str, interval: &str| {
        let times = [(CREATED, &b"1795218300000"[..]), (USED, used.as_bytes()), (INTERVAL, interval.as_bytes())];
        read(&packed(&times), NOW).map(|opened| opened.ends)
    };
    assert_eq!(ends("1795218399000", "2"), Ok(Some(Duration::from_secs(1_795_218_401))));
    assert_eq!(ends("1795218399000", "1"), Err(Absence::Lapsed));
    assert_eq!(ends("1795218400000", "0"), Err(Absence::Lapsed));
    assert_eq!(ends("-9", "9"), Err(Absence::Lapsed));
    assert_eq!(ends("1795218399000", "-1"), Ok(None));
    assert!(ends("9223372036854775807", "2147483647").is_ok());
    for (used, interval) in
        [("", "1"), ("1", ""), ("\"1\"", "1"), ("1", "1.5"), ("99999999999999999999", "1"), ("1", "2147483648")]
    {
        assert_eq!(ends(used, interval), Err(TIMES), "{used} {interval}");
    }
    assert_eq!(read(&packed(&[(USED, b"1795218399000"), (INTERVAL, b"-1")]), NOW), Err(TIMES));
    assert_eq!(read(b"", NOW), Err(TIMES));
}

#[test]
fn a_record_that_is_cut_is_unreadable() {
    let record = packed(&[
        ("sessionAttr:a", b"\xac\xed\0\x05p"),
        (CREATED, b"1795218300000"),
        ("lastAccessedTime", b"1795218399999"),
        ("maxInactiveInterval", b"1800"),
    ]);
    assert!(read(&record, NOW).is_ok());
    for length in 0..record.len() {
        assert!(matches!(read(&record[..length], NOW), Err(Absence::Unreadable(_))), "{length}");
    }
    assert!(read(&[&record[..], &u32::MAX.to_be_bytes()].concat(), NOW).is_err());
    assert!(open("sessionAttr:a", "\u{ac}").is_err());
}

#[test]
fn attributes_have_no_prefix_and_removed_ones_are_null() {
    let shown = |name: &str, value: &str| open(name, value).map(|data| write(&data)).unwrap();
    let with = |shown: &str| {
        format!(
            r#"{{"creationTime":1795218300000,"lastAccessedTime":1795218399999,"maxInactiveInterval":1800,{shown}"principal_name":null,"authorities":[]}}"#
        )
    };
    assert_eq!(shown("sessionAttr:cart", ""), with(r#""cart":null,"#));
    assert_eq!(
        shown("sessionAttr:n", r#"["java.util.ArrayList",[["java.lang.Long",7],"x"]]"#),
        with(r#""n":[7,"x"],"#)
    );
    for name in ["sessionAttr:principal_name", "sessionAttr:authorities", "principal_name", CONTEXT, NAME_INDEX] {
        assert_eq!(shown(name, r#""admin""#), with(""), "{name}");
    }
    for name in [CREATED, USED, INTERVAL] {
        assert_eq!(shown(&format!("sessionAttr:{name}"), "-1"), with(""), "{name}");
    }
}

#[test]
fn the_principal_is_who_was_authenticated() {
    let authenticated = |principal: &str| {
        format!(
            r#"{{"authentication":{{"@class":"a.Token","authenticated":true,"principal":{principal},"authorities":["java.util.List",[{{"authority":"ROLE_A"}},{{"role":"ROLE_B"}},"C",7]]}}}}"#
        )
    };
    let roles = r#"["ROLE_A","ROLE_B","C"]"#.to_owned();
    for (principal, name) in [
        (r#""zoe""#, r#""zoe""#),
        (r#"{"username":"zoe"}"#, r#""zoe""#),
        (r#"{"nameAttributeKey":"sub","attributes":{"sub":"42"}}"#, r#""42""#),
        (r#"{"nameAttributeKey":"id","attributes":{"id":42}}"#, r#""42""#),
        (r#"{"attributes":{"sub":"42"}}"#, "null"),
        ("null", "null"),
    ] {
        assert_eq!(who(&authenticated(principal)), (name.to_owned(), roles.clone()), "{principal}");
    }
    let nobody = ("null".to_owned(), "[]".to_owned());
    assert_eq!(who(&authenticated(r#""zoe""#).replace("true", "false")), nobody);
    assert_eq!(who(&authenticated(r#""anonymousUser""#).replace("a.Token", "a.AnonymousAuthenticationToken")), nobody);
    assert_eq!(who("{}"), nobody);
    assert_eq!(who("{\"authentication\":null}"), nobody);
    let data = open(&format!("sessionAttr:{NAME_INDEX}"), r#""max""#).unwrap();
    assert_eq!(data.member(NAME), Some(&Value::Text("max".into())));
}
