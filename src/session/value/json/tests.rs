//! JSON: what is read, what is refused, and what comes back out.

use super::*;
use crate::session::value::budget::{BYTES_MAX, DEPTH_MAX, NODES_MAX};
use proptest::prelude::*;

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn integer(value: &str) -> Value {
    Value::Integer(value.into())
}

#[test]
fn whole_numbers_stay_exact_at_any_size() {
    for number in ["0", "42", "-7", "9007199254740993", "123456789012345678901234567890"] {
        assert_eq!(read(number.as_bytes()), Ok(integer(number)));
    }
    assert_eq!(read(b"-0"), Ok(integer("0")));
    let long = "9".repeat(10_000);
    assert_eq!(read(long.as_bytes()), Ok(integer(&long)));
}

#[test]
fn a_fraction_or_an_exponent_makes_a_float() {
    for number in ["1.0", "1e3", "-2.5E-7", "0.1", "1e999999"] {
        assert_eq!(read(number.as_bytes()), Ok(Value::Float(number.into())));
    }
}

#[test]
fn escapes_are_decoded() {
    let read_text = |json: &str| read(json.as_bytes());
    assert_eq!(read_text(r#""a\"\\\/\b\f\n\r\tz""#), Ok(text("a\"\\/\u{8}\u{c}\n\r\tz")));
    assert_eq!(read_text(r#""\u0000\u001f\u00e9\uD83D\uDE00é漢""#), Ok(text("\0\u{1f}é😀é漢")));
}

#[test]
fn maps_keep_their_order_and_the_last_of_equal_keys_counts() {
    let Ok(value) = read(b" { \"a\" : 1 , \"b\":[true,false,null], \"a\":2, \"__proto__\":{} } ") else {
        panic!("readable");
    };
    let Value::Map(entries) = &value else { panic!("a map") };
    assert_eq!(entries.len(), 4);
    assert_eq!(value.member("a"), Some(&integer("2")));
    assert_eq!(value.member("__proto__"), Some(&Value::Map(vec![])));
    assert_eq!(value.member("toString"), None);
}

#[test]
fn what_json_parse_refuses_is_refused() {
    let refused: &[&[u8]] = &[
        b"",
        b" ",
        b"{",
        b"[",
        b"]",
        b"[1,]",
        b"{\"a\":1,}",
        b"{a:1}",
        b"{'a':1}",
        b"{\"a\" 1}",
        b"[1 2]",
        b"01",
        b"-",
        b"-01",
        b"+1",
        b".5",
        b"1.",
        b"1e",
        b"1e+",
        b"0x1",
        b"NaN",
        b"Infinity",
        b"nul",
        b"truex",
        b"tru",
        b"\"",
        b"\"\\",
        b"\"\\x\"",
        b"\"\\u12\"",
        b"\"\\u12g4\"",
        b"\"\t\"",
        b"\"\n\"",
        b"{} {}",
        b"null,",
        b"\xef\xbb\xbf{}",
        b"\"\xff\"",
        b"\"\xed\xa0\x80\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\ud800\\ud800\"",
        b"// x\n1",
        b"\x0b1",
        b"\xc2\xa01",
        b"{\"a\":}",
        b"{,}",
        b"[,]",
        b"{\"a\":1 \"b\":2}",
    ];
    for json in refused {
        assert!(read(json).is_err(), "{:?} was read", String::from_utf8_lossy(json));
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
    assert!(read(nested(DEPTH_MAX + 1).as_bytes()).is_err());
    assert!(read("[".repeat(100_000).as_bytes()).is_err());
    assert!(read("{\"a\":".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn size_and_number_of_values_are_bounded() {
    let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    assert!(read(zeros(NODES_MAX - 1).as_bytes()).is_ok());
    assert_eq!(read(zeros(NODES_MAX).as_bytes()), Err(Fault("too many values")));
    let long = format!("\"{}\"", "x".repeat(BYTES_MAX - 2));
    assert!(read(long.as_bytes()).is_ok());
    assert!(read(format!("{long} ").as_bytes()).is_err());
}

#[test]
fn a_text_cut_anywhere_is_refused() {
    let whole = r#"{"cookie":{"a":null},"user":{"id":42,"n":"Zo\u00eb 漢 \ud83d\ude00"},"l":[1,2.5e3,true,false]}"#;
    assert!(read(whole.as_bytes()).is_ok());
    for end in 0..whole.len() {
        assert!(read(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn ascii_output_holds_ascii_alone() {
    let value = Value::Map(vec![("é".into(), text("a\"\\\n\0\u{7f}漢😀"))]);
    assert_eq!(write_ascii(&value), r#"{"\u00e9":"a\"\\\n\u0000\u007f\u6f22\ud83d\ude00"}"#);
    assert_eq!(write(&value), "{\"é\":\"a\\\"\\\\\\n\\u0000\u{7f}漢😀\"}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(|number| integer(&number.to_string())),
        any::<String>().prop_map(|string| Value::Text(string.into())),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let key = any::<String>().prop_map(SmolStr::from);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((key, inner), 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn json_like_noise_is_judged_as_serde_json_judges_it(noise in r#"[\[\]{}",:0-9eE.+\\untrfals -]{0,30}"#) {
        let judged = serde_json::from_str::<serde_json::Value>(&noise).is_ok();
        prop_assert_eq!(read(noise.as_bytes()).is_ok(), judged, "{}", noise);
    }

    #[test]
    fn what_is_written_reads_back(value in any_value()) {
        prop_assert_eq!(read(write(&value).as_bytes()), Ok(value.clone()));
        let ascii = write_ascii(&value);
        prop_assert!(ascii.is_ascii());
        prop_assert_eq!(read(ascii.as_bytes()), Ok(value));
    }
}

#[test]
fn half_a_surrogate_pair_is_shown_and_no_name() {
    let read = |author, text: &str| read_as(author, text.as_bytes());
    for text in [r#""ab\ud83d""#, r#""ab\ude00""#, r#""ab\ud83d\ud83dx""#, r#""ab\ud83d\u0041""#] {
        for author in [Author::JavaScript, Author::Python] {
            assert!(matches!(read(author, text), Ok(Value::Shown(shown)) if shown.starts_with("ab\u{fffd}")), "{text}");
        }
        assert_eq!(read(Author::Anyone, text), Err(LONE_SURROGATE), "{text}");
    }
    assert_eq!(read(Author::JavaScript, r#""\ud83d\ud83d\ude00""#), Ok(Value::Shown("\u{fffd}\u{1f600}".into())));
    assert_eq!(
        read(Author::JavaScript, r#"["\ud83d","a"]"#).map(|list| list.member("1").cloned()),
        Ok(Some(Value::Text("a".into())))
    );
    assert_eq!(read(Author::JavaScript, r#"{"\ud83d":1}"#), Err(LONE_SURROGATE));
    assert!(read(Author::JavaScript, r#""\ud83d\u12""#).is_err());
}

#[test]
fn what_is_no_finite_number_is_null_where_python_wrote_it() {
    let read = |author, text: &str| read_as(author, text.as_bytes()).map(|value| write(&value));
    for word in ["NaN", "Infinity", "-Infinity"] {
        let text = format!("[{word},-1]");
        assert_eq!(read(Author::Python, &text).as_deref(), Ok("[null,-1]"));
        assert!(read(Author::Anyone, &text).is_err() && read(Author::JavaScript, &text).is_err(), "{word}");
    }
    for text in ["nan", "Nan", "-NaN", "+Infinity", "Inf", "NaNx", "-", "{NaN:1}"] {
        assert!(read(Author::Python, text).is_err(), "{text}");
    }
}
