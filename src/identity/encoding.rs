//! Values as header text: two different values of one kind never give the same text.

use crate::session::value::{Value, json};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;

/// Text: every byte but `!` to `~` is percent-encoded, `%` too; a space stays between other characters.
pub(super) fn text(text: &str) -> HeaderValue {
    let mut line = String::with_capacity(text.len());
    push(&mut line, text, false);
    header(line)
}

/// Texts separated by commas, a comma inside one encoded. An empty list is no value.
pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Option<HeaderValue> {
    let mut line = String::new();
    let mut count = 0;
    for item in items {
        if count > 0 {
            line.push(',');
        }
        push(&mut line, item, true);
        count += 1;
    }
    (count > 0).then(|| header(line))
}

/// A value of a record; null and empty lists are no value. Maps and lists of several kinds become ASCII JSON.
pub(super) fn value(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::Null => None,
        Value::List(items) => match items.iter().map(plain).collect::<Option<Vec<_>>>() {
            Some(items_as_text) if is_one_kind(items) => list(items_as_text),
            _ => Some(as_json(value)),
        },
        Value::Map(_) => Some(as_json(value)),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) | Value::Shown(_) => {
            plain(value).map(text)
        }
    }
}

/// JSON as base64url without padding.
pub(super) fn base64url(json: &str) -> HeaderValue {
    header(URL_SAFE_NO_PAD.encode(json))
}

fn plain(value: &Value) -> Option<&str> {
    match value {
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Integer(text) | Value::Float(text) | Value::Text(text) | Value::Shown(text) => Some(text),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn is_one_kind(items: &[Value]) -> bool {
    items.windows(2).all(|pair| std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1]))
}

/// `%` is escaped as JSON escapes, so that a reader who percent-decodes every header still reads the same JSON.
fn as_json(value: &Value) -> HeaderValue {
    header(json::write_ascii(value).replace('%', "\\u0025"))
}

fn push(line: &mut String, text: &str, in_list: bool) {
    let inner = text.trim_matches(' ');
    let start = text.len() - text.trim_start_matches(' ').len();
    for (at, byte) in text.bytes().enumerate() {
        let stays = match byte {
            b'%' => false,
            b',' => !in_list,
            b' ' => (start..start + inner.len()).contains(&at),
            _ => byte.is_ascii_graphic(),
        };
        if stays {
            line.push(char::from(byte));
        } else {
            line.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
}

fn header(line: String) -> HeaderValue {
    HeaderValue::try_from(line).expect("printable ASCII is a valid value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(json: &str) -> Option<String> {
        let record = json::read(json.as_bytes()).expect("the test's JSON is readable");
        value(&record).map(|value| value.to_str().expect("the header is text").to_owned())
    }

    #[test]
    fn every_kind_of_value_has_its_text() {
        let cases = [
            (r#""ada""#, "ada"),
            (r#""Ada  Lovelace""#, "Ada  Lovelace"),
            (r#"" a b ""#, "%20a b%20"),
            (r#""  ""#, "%20%20"),
            (r#""""#, ""),
            (r#""50%""#, "50%25"),
            (r#""a,b""#, "a,b"),
            (r#""é\t\u0000\r\n\u007f""#, "%C3%A9%09%00%0D%0A%7F"),
            ("9007199254740993", "9007199254740993"),
            ("-123456789012345678901234567890", "-123456789012345678901234567890"),
            ("1.50", "1.50"),
            ("true", "true"),
            (r#"["a,b"," c","%2C"]"#, "a%2Cb,%20c,%252C"),
            (r#"["",""]"#, ","),
            ("[1,2]", "1,2"),
            (r#"["a",1]"#, r#"["a",1]"#),
            (r#"[["a"],null]"#, r#"[["a"],null]"#),
            (r#"[null,null]"#, "[null,null]"),
            (r#"{"n":"é%\n","x":{}}"#, r#"{"n":"\u00e9\u0025\n","x":{}}"#),
        ];
        for (json, expected) in cases {
            assert_eq!(of(json).as_deref(), Some(expected), "{json}");
        }
        assert_eq!(of("null"), None);
        assert_eq!(of("[]"), None);
    }

    proptest! {
        #[test]
        fn different_texts_never_give_the_same_header(
            one in "[ ,%2C0a\u{e9}\n]{0,5}",
            other in "[ ,%2C0a\u{e9}\n]{0,5}",
        ) {
            prop_assert_eq!(text(&one) == text(&other), one == other);
        }

        #[test]
        fn different_lists_never_give_the_same_header(
            one in proptest::collection::vec("[ ,%2Ca]{0,3}", 1..4),
            other in proptest::collection::vec("[ ,%2Ca]{0,3}", 1..4),
        ) {
            let same = list(one.iter().map(String::as_str)) == list(other.iter().map(String::as_str));
            prop_assert_eq!(same, one == other);
        }

        #[test]
        fn the_text_decodes_to_the_value(original in any::<String>()) {
            let line = text(&original);
            let decoded = percent_encoding::percent_decode(line.as_bytes()).decode_utf8().map(|text| text.into_owned());
            prop_assert_eq!(decoded.ok(), Some(original));
            prop_assert_eq!(line.as_bytes().trim_ascii(), line.as_bytes());
        }
    }
}
