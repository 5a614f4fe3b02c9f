//! The spelling of paths in rules: as normalised requests have it, so that what is written can match.

use super::Pattern;
use crate::config::{diagnostic::Fault, section::Section};

/// Reads `path`; what is wrong with a pattern is reported, and it is kept.
pub(super) fn read(section: &mut Section<'_>, keeps_encoded_slash: bool) -> Vec<Pattern> {
    let mut paths: Vec<Pattern> = Vec::new();
    for text in section.texts("path") {
        let good = section.reader.parse(&text, |text| check(text, keeps_encoded_slash));
        if let Some((segment, meant)) = good.and_then(|()| placeholder(&text.text)) {
            let message = format!("`{segment}` is matched as it is written");
            section.reader.warning(text.span.clone(), message, format!("any one segment is `*`: \"{meant}\""));
        }
        if paths.iter().any(|known| known.text == text.text) {
            section.reader.warning(text.span.clone(), format!("`{}` stands here twice", text.text), "leave one out");
        }
        paths.push(Pattern { text: text.text, span: text.span });
    }
    paths
}

/// Checks a pattern: `/`, then segments that are literals, `*` or `**`.
///
/// A literal must be spelled as a normalised path is. The remedy then is that spelling.
fn check(text: &str, keeps_encoded_slash: bool) -> Result<(), Fault> {
    if let Some((segment, meant)) = placeholder(text).filter(|(segment, _)| segment.starts_with(['{', '<'])) {
        return Err(Fault::new(
            format!("`{segment}` stands for nothing here"),
            format!("any one segment is `*`: \"{meant}\""),
        ));
    }
    check_path(text, keeps_encoded_slash)?;
    if text.split('/').nth(1) == Some("_onedoor") {
        let remedy = "choose another path";
        return Err(Fault::new("paths under `/_onedoor` never match: they are the gateway's own", remedy));
    }
    let mut before = "";
    for segment in text.split('/') {
        if segment.contains('*') && !matches!(segment, "*" | "**") {
            return Err(Fault::new(
                format!("`*` must be a whole segment, not a part of `{segment}`"),
                star_remedy(text, segment),
            ));
        }
        if segment == "**" && before == "**" {
            return Err(Fault::new("`**` twice in a row", "one `**` already stands for any number of segments"));
        }
        before = segment;
    }
    Ok(())
}

/// The first segment that stands for any segment in other routers (`:id`, `[id]`, `{id}`, `<id>`), and the path with `*`
/// instead.
fn placeholder(text: &str) -> Option<(&str, String)> {
    let is_placeholder = |segment: &&str| {
        let bytes = segment.as_bytes();
        matches!(bytes, [b':', _, ..] | [b'[', .., b']'] | [b'{', .., b'}'] | [b'<', .., b'>'])
    };
    let segment = text.split('/').find(is_placeholder)?;
    let meant = text.split('/').map(|segment| if is_placeholder(&segment) { "*" } else { segment });
    Some((segment, meant.collect::<Vec<_>>().join("/")))
}

/// Checks a prefix: a path without stars that does not end in `/`.
pub(super) fn check_prefix(text: &str) -> Result<String, Fault> {
    if text.contains('*') {
        return Err(Fault::new("a prefix has no `*`", "write the path as it is"));
    }
    if let Some(shorter) = text.strip_suffix('/') {
        let remedy = match shorter {
            "" => "leave the key out: `/` changes nothing".to_owned(),
            _ => format!("write \"{shorter}\""),
        };
        return Err(Fault::new("a prefix does not end in `/`", remedy));
    }
    check_path(text, false)?;
    Ok(text.to_owned())
}

fn check_path(text: &str, keeps_encoded_slash: bool) -> Result<(), Fault> {
    if !text.starts_with('/') {
        return Err(Fault::new(format!("`{text}` is not a path"), format!("it begins with `/`: \"/{text}\"")));
    }
    if let Some(at) = text.find(['?', '#']) {
        let remedy = format!("rules match the path alone: \"{}\"", &text[..at]);
        return Err(Fault::new("a path has no query or fragment", remedy));
    }
    if text.contains("//") {
        let mut merged = text.to_owned();
        while merged.contains("//") {
            merged = merged.replace("//", "/");
        }
        return Err(Fault::new(
            "empty segments never match: rules are chosen with them merged",
            format!("write \"{merged}\""),
        ));
    }
    let spelled = normalised(text)?;
    if let Some(segment) = spelled.split('/').find(|segment| is_dots(segment)) {
        return Err(Fault::new(format!("`{segment}` never matches: dot segments are refused"), "write where it leads"));
    }
    if spelled != text {
        let message = format!("`{text}` never matches: requests are spelled differently");
        return Err(Fault::new(message, format!("write \"{spelled}\"")));
    }
    if spelled.contains("%2F") && !keeps_encoded_slash {
        let remedy = "add `encoded_slash = \"keep\"` to this rule, or write `/`";
        return Err(Fault::new("`%2F` never matches: it is refused", remedy));
    }
    Ok(())
}

/// A segment that is `.` or `..`, also with parameters behind it.
fn is_dots(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

/// The path as requests have it: unreserved octets decoded, others encoded in upper case (RFC 3986 section 6.2.2).
///
/// Fails on what is refused in every request's path; dot segments are not looked for.
pub(crate) fn normalised(text: &str) -> Result<String, Fault> {
    let mut spelled = String::with_capacity(text.len());
    let mut octets = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            return Err(Fault::new("`\\` is refused in paths", "write `/`"));
        }
        let octet = match byte {
            b'%' => decoded(bytes.next(), bytes.next())?,
            _ => byte,
        };
        octets.push(octet);
        let plain = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        // Of what may stand raw, an encoded one is another path to many servers, so both spellings are kept.
        if plain || (byte != b'%' && b"/!$&'()*+,;=:@[]".contains(&octet)) {
            spelled.push(char::from(octet));
        } else {
            spelled.push_str(&format!("%{octet:02X}"));
        }
    }
    if octets.iter().any(|octet| octet.is_ascii_control() || *octet == b'\\') {
        return Err(Fault::new("control characters and `\\` are refused in paths, encoded too", "leave them out"));
    }
    if String::from_utf8(octets).is_err() {
        return Err(Fault::new("the encoded octets are not UTF-8: such paths are refused", "encode the text as UTF-8"));
    }
    let upper = spelled.to_ascii_uppercase();
    if ["%252E", "%252F", "%255C", "%2500"].iter().any(|twice| upper.contains(twice)) {
        return Err(Fault::new("this is encoded twice: such paths are refused", "encode it once"));
    }
    Ok(spelled)
}

fn decoded(high: Option<u8>, low: Option<u8>) -> Result<u8, Fault> {
    let digit = |byte: Option<u8>| {
        byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high * 16 + low),
        _ => Err(Fault::new("`%` must be followed by two hex digits", "write `%25` for the character itself")),
    }
}

/// For stars inside a segment, the nearest pattern that there is.
fn star_remedy(text: &str, segment: &str) -> String {
    let prefix = segment.strip_suffix("**").filter(|prefix| !prefix.contains('*'));
    match prefix.and_then(|prefix| text.strip_suffix(segment).map(|before| format!("{before}{prefix}/**"))) {
        Some(meant) => format!("write \"{meant}\" for `{prefix}` and all below it", prefix = &meant[..meant.len() - 3]),
        None => format!("write \"{}\", or list the paths", text.replacen(segment, "*", 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_that_can_match_pass() {
        for text in [
            "/",
            "/login",
            "/x/",
            "/*",
            "/**",
            "/x/**",
            "/a/*/b",
            "/a/**/b",
            "/.well-known/x",
            "/a.b/..c/...",
            "/%E2%82%AC",
            "/a;v=1/b",
            "/a%20b",
            "/~u",
            "/a+b",
            "/a:b@c",
            "/[x]",
            "/%40",
            "/a%25b",
            "/%7Bx%7D",
        ] {
            assert_eq!(check(text, false), Ok(()), "{text}");
        }
        assert_eq!(check("/a%2Fb", true), Ok(()));
    }

    #[test]
    fn patterns_that_could_never_match_are_refused_with_what_was_meant() {
        for (text, meant) in [
            ("x", "\"/x\""),
            ("/a?b=c", "\"/a\""),
            ("/a#b", "\"/a\""),
            ("//a///b", "\"/a/b\""),
            ("/%41", "\"/A\""),
            ("/%e2%82%ac", "\"/%E2%82%AC\""),
            ("/é", "\"/%C3%A9\""),
            ("/a b", "\"/a%20b\""),
            ("/{id}", "\"/*\""),
            ("/<id>/x", "\"/*/x\""),
            ("/a|b", "\"/a%7Cb\""),
            ("/folder**", "\"/folder/**\""),
            ("/a/img-*", "\"/a/*\""),
            ("/a*b/c", "\"/*/c\""),
            ("/a%2fb", "%2F"),
            ("/a%2Fb", "encoded_slash"),
        ] {
            let fault = check(text, false).expect_err(text);
            assert!(fault.remedy.contains(meant), "{text}: {fault:?}");
        }
    }

    #[test]
    fn paths_that_are_refused_anyway_are_no_patterns() {
        for text in [
            "",
            "/a/../b",
            "/.",
            "/%2e%2E/x",
            "/..;x",
            "/a\\b",
            "/a%5Cb",
            "/%00",
            "/%7f",
            "/a\tb",
            "/%zz",
            "/%2",
            "/%",
            "/%ff",
            "/%252e",
            "/%252F",
            "/**/**",
            "/***",
        ] {
            assert!(check(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes_are_paths_without_an_end() {
        assert_eq!(check_prefix("/api/v1").as_deref(), Ok("/api/v1"));
        for text in ["", "/", "api", "/api/", "/api/*", "/a//b", "/a/..", "/é", "/a%2Fb"] {
            assert!(check_prefix(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_check_panic(text in "\\PC{0,16}") {
            let _ = (check(&text, true), check_prefix(&text));
        }

        #[test]
        fn a_suggested_spelling_passes(text in "/[a-zé %{}|%41%c3%a9]{0,12}") {
            if let Ok(spelled) = normalised(&text) {
                prop_assert_eq!(normalised(&spelled), Ok(spelled.clone()));
            }
        }
    }
}
