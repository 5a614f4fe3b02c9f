//! What PHP 8.2 wrote, and what nobody should have written.

use super::*;
use crate::session::value::{
    budget::{BYTES_MAX, NODES_MAX},
    json,
    tests::{assert_every_cut_is_refused, judge_spoilt},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// An array of everything: objects met twice, references, an enum, a list met twice.
pub(super) const EVERYTHING: &str = "YToxOTp7czoxOiJvIjtPOjE6IlAiOjM6e3M6MToiYSI7aToxO3M6NDoiACoAYiI7aToyO3M6NDoiAFAAYyI7aTozO31zOjI6Im8yIjtyOjI7czoxOiJmIjtkOjEuNTtzOjE6Im4iO2Q6TkFOO3M6MzoiYmlnIjtpOi05MjIzMzcyMDM2ODU0Nzc1ODA4O3M6MToiZSI7RTozOiJFOkEiO3M6MjoiZTIiO3I6MTA7czoyOiJkdCI7TzoxNzoiRGF0ZVRpbWVJbW11dGFibGUiOjM6e3M6NDoiZGF0ZSI7czoyNjoiMjAyNC0wNS0wNiAwNzowODowOS4xMjMwMDAiO3M6MTM6InRpbWV6b25lX3R5cGUiO2k6MztzOjg6InRpbWV6b25lIjtzOjM6IlVUQyI7fXM6MzoiYmluIjtzOjI6Iv8AIjtzOjE6InQiO2I6MTtzOjM6Im51bCI7TjtzOjQ6Imxpc3QiO2E6Mzp7aTowO2k6MTtpOjE7czoxOiIxIjtpOjI7YToxOntpOjA7aToyO319czozOiJzcGwiO086MTE6IkFycmF5T2JqZWN0Ijo0OntpOjA7aTowO2k6MTthOjE6e2k6MDtpOjE7fWk6MjthOjA6e31pOjM7Tjt9czoyOiJyMSI7aTo1O3M6MjoicjIiO1I6MzA7czoyOiJyYSI7YToxOntpOjA7aToxO31zOjI6InJiIjtSOjMxO3M6NDoic2FtZSI7YTozOntpOjA7aToxO2k6MTtzOjE6IjEiO2k6MjthOjE6e2k6MDtpOjI7fX1zOjI6Im8zIjtyOjI7fQ==";
pub(super) const EVERYTHING_READ: &str = r#"{"o":{"a":1},"o2":{"a":1},"f":1.5,"n":null,"big":-9223372036854775808,"e":"E:A","e2":"E:A","dt":"2024-05-06T07:08:09.123Z","bin":"/wA=","t":true,"nul":null,"list":[1,"1",[2]],"spl":{"0":0,"1":[1],"2":[],"3":null},"r1":5,"r2":5,"ra":[1],"rb":[1],"same":[1,"1",[2]],"o3":{"a":1}}"#;

pub(super) fn everything() -> Vec<u8> {
    STANDARD.decode(EVERYTHING).unwrap()
}

fn shown(bytes: &[u8]) -> Result<String, Fault> {
    read(bytes).map(|value| json::write(&value))
}

#[test]
fn everything_that_php_writes_is_read() {
    assert_eq!(shown(&everything()).as_deref(), Ok(EVERYTHING_READ));
}

#[test]
fn a_session_is_read_name_by_name_and_its_references_count_through() {
    let session =
        b"user|O:1:\"U\":1:{s:2:\"id\";i:42;}again|r:1;n|i:7;m|R:4;empty|a:0:{}key with \xc3\xa9|s:2:\"\xc3\xa9\";";
    let read = read_session(session).map(|value| json::write(&value));
    let wanted = r#"{"user":{"id":42},"again":{"id":42},"n":7,"m":7,"empty":[],"key with é":"é"}"#;
    assert_eq!(read.as_deref(), Ok(wanted));
    assert_eq!(read_session(b""), Ok(Value::Map(vec![])));
    for broken in [&b"user"[..], b"user|", b"user|i:1", b"user|i:1;x", b"!gone|user|i:1;", b"user|i:1;\n"] {
        assert!(read_session(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn numbers_and_texts_are_read_as_php_reads_them() {
    let readable = [
        ("i:+7;", "7"),
        ("i:-0;", "0"),
        ("i:007;", "7"),
        ("d:5;", "5.0"),
        ("d:.5;", "0.5"),
        ("d:-1.0E+300;", "-1e300"),
        ("d:1.0E+400;", "null"),
        ("d:-INF;", "null"),
        ("b:0;", "false"),
        ("s:4:\"a\";b\";", r#""a\";b""#),
        ("S:3:\"a\\41\\0a\";", r#""aA\n""#),
        ("a:2:{i:0;i:1;i:2;i:2;}", r#"{"0":1,"2":2}"#),
        ("a:2:{s:1:\"a\";i:1;s:1:\"a\";i:2;}", r#"{"a":1,"a":2}"#),
        ("O:8:\"stdClass\":0:{}", "{}"),
        ("a:2:{i:0;C:1:\"X\":3:{x;}i:1;i:1;}", "not as PHP writes it"),
        ("a:2:{i:0;C:1:\"X\":3:{x;}}i:1;i:1;}", "[null,1]"),
    ];
    for (written, wanted) in readable {
        let read = shown(written.as_bytes()).unwrap_or_else(|Fault(why)| why.to_owned());
        assert_eq!(read, wanted, "{written}");
    }
}

#[test]
fn a_time_is_shown_as_one_where_its_zone_is_plain() {
    let time = |zone: &str| {
        let object = format!(
            "O:13:\"Carbon\\Carbon\":3:{{s:4:\"date\";s:26:\"2024-05-06 07:08:09.123000\";s:13:\"timezone_type\";i:1;s:8:\"timezone\";s:{}:\"{zone}\";}}",
            zone.len()
        );
        read(object.as_bytes()).unwrap()
    };
    assert_eq!(time("+02:00"), Value::Shown("2024-05-06T05:08:09.123Z".into()));
    assert_eq!(time("Z"), Value::Shown("2024-05-06T07:08:09.123Z".into()));
    assert_eq!(time("Europe/Berlin").member("timezone"), Some(&Value::Text("Europe/Berlin".into())));
    assert_eq!(time("+x").member("timezone"), Some(&Value::Text("+x".into())));
}

#[test]
fn what_php_does_not_write_is_refused() {
    let refused = [
        "",
        "N",
        "X;",
        "s:+2:\"42\";",
        "a:+0:{}",
        "O:+8:\"stdClass\":0:{}",
        "b:2;",
        "b:;",
        "i:;",
        "i:1",
        "i: 1;",
        "i:1.5;",
        "i:9223372036854775808;",
        "d:;",
        "d:nan;",
        "d:inf;",
        "d:0x1;",
        "s:1:\"\";",
        "s:-1:\"\";",
        "s:1:\"a\"",
        "s:2:\"a\";",
        "s:1:'a';",
        "S:1:\"\\4\";",
        "S:1:\"\\zz\";",
        "a:1:{}",
        "a:-1:{}",
        "a:0:{",
        "a:1:{N;N;}",
        "a:1:{a:0:{}N;}",
        "a:0:{}x",
        "i:1;i:2;",
        "r:1;",
        "R:1;",
        "r:2;",
        "R:0;",
        "R:-1;",
        "a:1:{i:0;R:9;}",
        "O:1:\"A\":1:{}",
        "C:1:\"A\":9:{}",
        "E:3:\"A:B\"",
        "a:2:{i:0;C:1:\"X\":0:{}i:1;R:1;}",
    ];
    for written in refused {
        assert!(read(written.as_bytes()).is_err(), "{written}");
    }
}

#[test]
fn a_mention_means_an_object_and_names_are_names() {
    assert_eq!(shown(b"a:2:{i:0;O:1:\"A\":0:{}i:1;r:2;}").as_deref(), Ok("[{},{}]"));
    assert_eq!(shown(b"a:2:{i:0;i:7;i:1;R:2;}").as_deref(), Ok("[7,7]"));
    let refused = [
        &b"a:2:{i:0;i:7;i:1;r:2;}"[..],
        b"a:2:{i:0;a:0:{}i:1;r:2;}",
        b"a:1:{i:0;r:1;}",
        b"O:3:\"A B\":0:{}",
        b"O:1:\"A\":1:{s:2:\"\0a\";i:1;}",
    ];
    for written in refused {
        assert!(read(written).is_err(), "{written:?}");
    }
}

#[test]
fn a_value_within_itself_is_nothing() {
    assert_eq!(shown(b"a:2:{i:0;R:1;i:1;i:7;}").as_deref(), Ok("[null,7]"));
    assert_eq!(shown(b"O:1:\"A\":1:{s:4:\"self\";r:1;}").as_deref(), Ok(r#"{"self":null}"#));
}

#[test]
fn hostile_records_are_refused_within_bounds() {
    let deep = |levels: usize| format!("{}N;{}", "a:1:{i:0;".repeat(levels), "}".repeat(levels));
    assert!(read(deep(64).as_bytes()).is_ok());
    assert_eq!(read(deep(65).as_bytes()), Err(Fault("nested too deeply")));
    assert_eq!(read(deep(100_000).as_bytes()), Err(Fault("nested too deeply")));
    let huge = 1_u64 << 60;
    for written in [
        format!("s:{huge}:\"a\";"),
        format!("S:{huge}:\"a\";"),
        format!("a:{huge}:{{i:0;N;}}"),
        format!("O:{huge}:\"A\":0:{{}}"),
        format!("O:1:\"A\":{huge}:{{}}"),
        format!("C:1:\"A\":{huge}:{{}}"),
        format!("r:{huge};"),
        "a:99999999999999999999:{}".to_owned(),
    ] {
        assert!(read(written.as_bytes()).is_err(), "{written}");
    }
    // Every level holds the one before it twice.
    let level = |level: usize| format!("i:{level};a:2:{{i:0;R:{0};i:1;R:{0};}}", level + 1);
    let doubling = format!("a:40:{{i:0;a:0:{{}}{}}}", (1..40).map(level).collect::<String>());
    assert_eq!(read(doubling.as_bytes()), Err(Fault("too many values")));
    let long = format!(
        "a:9:{{i:0;s:300000:\"{}\";{}}}",
        "x".repeat(300_000),
        (1..9).map(|n| format!("i:{n};R:2;")).collect::<String>()
    );
    assert_eq!(read(long.as_bytes()), Err(Fault("too much text")));
    let many = format!("a:{0}:{{{1}}}", NODES_MAX, "i:0;N;".repeat(NODES_MAX));
    assert_eq!(read(many.as_bytes()), Err(Fault("too many values")));
    assert!(read(&vec![b'N'; BYTES_MAX + 1]).is_err());
    let chain: String = (1..1000).map(|n| format!("i:{n};r:{};", n + 1)).collect();
    let chain = format!("a:1000:{{i:0;O:1:\"A\":0:{{}}{chain}}}");
    assert_eq!(read(chain.as_bytes()), Err(Fault("nested too deeply")));
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    assert_every_cut_is_refused(&everything(), read);
}

#[test]
fn a_spoilt_record_is_judged_without_a_panic() {
    judge_spoilt(&everything(), |record| {
        let _ = read_session(record);
        read(record)
    });
}
