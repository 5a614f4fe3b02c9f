//! Fields that concern one connection only (RFC 9110 section 7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Never removed because `Connection` names them: without them the message would be another one.
static KEPT: [HeaderName; 4] = [header::HOST, header::CONTENT_LENGTH, header::COOKIE, header::SET_COOKIE];

/// Removes the fields of this connection, those named by `Connection` included, from a request or a response; and
/// those that `also` tells, on the same walk.
///
/// Must run before anything is added, so that `Connection` cannot name what the gateway writes.
pub fn strip(headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
    let mut found = Vec::new();
    for (name, value) in &*headers {
        if is_of_connection(name) || also(name) {
            if *name == header::CONNECTION {
                found.extend(named(value));
            }
            found.push(name.clone());
        }
    }
    for name in found {
        headers.remove(name);
    }
}

/// Fields that are always removed. `HTTP2-Settings` belongs to an upgrade that is never passed on.
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// What a line of `Connection` names beyond the fields that are removed anyway; seldom anything.
fn named(line: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let options = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !KEPT.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    fn left(fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("the test's value is valid"));
        }
        strip(&mut headers, |_| false);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
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
        strip(&mut headers, |_| false);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn fields_that_connection_names_are_removed_in_any_case() {
        let fields =
            [("connection", "close, X-Secret"), ("connection", " x-OTHER ,,"), ("x-secret", "1"), ("x-other", "2")];
        assert_eq!(left(&fields), []);
    }

    #[test]
    fn what_else_is_told_goes_too_and_connection_may_name_anything_of_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "x-one"), ("x-one", "1"), ("x-two", "2"), ("x-two", "3"), ("x-three", "4")]
        {
            headers.append(name, value.parse().expect("the test's value is valid"));
        }
        strip(&mut headers, |name| matches!(name.as_str(), "x-one" | "x-two"));
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-three"]);
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
            strip(&mut headers, |_| false);
            let is_kept = KEPT.iter().any(|name| name.as_str() == named);
            prop_assert_eq!(headers.contains_key(named.as_str()), is_kept);
            prop_assert!(headers.contains_key(unnamed));
        }
    }
}
