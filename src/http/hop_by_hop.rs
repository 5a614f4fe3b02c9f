//! Fields that concern one connection only (RFC 9110 section 7.6.1).

use http::{HeaderMap, HeaderName, header};

/// Always removed. `HTTP2-Settings` belongs to an upgrade that is never passed on.
const FIELDS: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Where `Connection` stands among them.
const CONNECTION: usize = 0;

/// Never removed because `Connection` names them: without them the message would be another one.
static KEPT: [HeaderName; 4] = [header::HOST, header::CONTENT_LENGTH, header::COOKIE, header::SET_COOKIE];

/// Removes the fields of this connection, those named by `Connection` included, from a request or a response.
///
/// Must run before anything is added, so that `Connection` cannot name what the gateway writes.
pub fn strip(headers: &mut HeaderMap) {
    let mut present = [false; FIELDS.len()];
    for field in headers.keys().filter_map(field) {
        present[field] = true;
    }
    if present[CONNECTION] {
        for name in named(headers) {
            headers.remove(name);
        }
    }
    for (name, _) in FIELDS.iter().zip(present).filter(|(_, present)| *present) {
        headers.remove(*name);
    }
}

/// The place of a name among [`FIELDS`]. The first byte is looked at first: most fields of most messages are none.
fn field(name: &HeaderName) -> Option<usize> {
    let name = name.as_str();
    let may_be = matches!(name.as_bytes(), [b'c' | b'h' | b'k' | b'p' | b't' | b'u', ..]);
    if may_be { FIELDS.iter().position(|field| *field == name) } else { None }
}

/// What `Connection` names beyond the fields that are removed anyway; seldom anything.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION);
    let options = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    options
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !KEPT.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn left(fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("the test's value is valid"));
        }
        strip(&mut headers);
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn fields_of_the_connection_are_removed() {
        let fields = FIELDS.map(|name| (name.to_owned(), "x".to_owned()));
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the test's name is valid");
            headers.append(name.clone(), value.parse().expect("the test's value is valid"));
            headers.append(name, value.parse().expect("the test's value is valid"));
        }
        strip(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn fields_that_connection_names_are_removed_in_any_case() {
        let fields =
            [("connection", "close, X-Secret"), ("connection", " x-OTHER ,,"), ("x-secret", "1"), ("x-other", "2")];
        assert_eq!(left(&fields), []);
    }

    #[test]
    fn connection_has_no_power_over_fields_that_make_the_message() {
        let fields = [
            ("connection", "Host, content-length, COOKIE, set-cookie, a b, \u{e9}"),
            ("host", "a"),
            ("content-length", "1"),
            ("cookie", "a=1"),
            ("set-cookie", "b=2"),
        ];
        assert_eq!(left(&fields).len(), 4);
    }

    proptest! {
        #[test]
        fn nothing_named_survives_and_nothing_else_is_lost(named in "[a-z]{1,6}", other in "[A-Z]{1,6}") {
            let mut headers = HeaderMap::new();
            headers.append(header::CONNECTION, named.to_uppercase().parse().expect("a value"));
            headers.append(HeaderName::from_bytes(named.as_bytes()).expect("a name"), "1".parse().expect("a value"));
            let unnamed = HeaderName::from_bytes(format!("x-{other}").as_bytes()).expect("a name");
            headers.append(unnamed.clone(), "2".parse().expect("a value"));
            strip(&mut headers);
            let is_kept = KEPT.iter().any(|name| name.as_str() == named);
            prop_assert_eq!(headers.contains_key(named.as_str()), is_kept);
            prop_assert!(headers.contains_key(unnamed));
        }
    }
}
