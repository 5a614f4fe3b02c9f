//! Where a browser may be sent: a path of this site, or an absolute URL.

use crate::config::{diagnostic::Fault, origin::parse_host, origin::split_port};

/// Reads a redirect's target: a path that begins with a single `/`, or an absolute URL with one of these schemes
/// (separated by spaces). What comes out is safe in a header and cannot lead to another site by surprise.
pub(in crate::config) fn parse_target(text: &str, schemes: &str) -> Result<String, Fault> {
    let fault = |remedy: String| Fault::new(format!("`{text}` is not a place to send a browser to"), remedy);
    let wanted = schemes.replace(' ', "` or `");
    if text.bytes().any(|byte| !(0x21..0x7f).contains(&byte) || byte == b'\\') {
        return Err(fault("percent-encode everything but plain ASCII, and write `/` for `\\`".to_owned()));
    }
    if text.starts_with("//") {
        return Err(fault("browsers read `//` as another site: begin with a single `/`".to_owned()));
    }
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(fault(format!("begin with `/`, or write a whole URL with `{wanted}`")));
    };
    if !schemes.split(' ').any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(fault(format!("an absolute URL must be `{wanted}`")));
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') {
        return Err(fault("leave the user before the `@` out".to_owned()));
    }
    parse_host(split_port(authority)?.0)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_absolute_urls_of_the_scheme_pass() {
        for text in [
            "/login",
            "/",
            "/a?b=c",
            "/a%20b",
            "https://id.example.com/login",
            "https://id.example.com",
            "HTTPS://x:8443/?a",
        ] {
            assert_eq!(parse_target(text, "https").as_deref(), Ok(text));
        }
        assert!(parse_target("http://x/", "https http").is_ok());
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for text in [
            "",
            "login",
            "//evil.test",
            "/\\evil.test",
            "http://x/",
            "https:/x",
            "https://",
            "https:///x",
            "https://u@x/",
            "javascript://x",
            "/a b",
            "/é",
            "/a\nb",
            "\t/x",
            "https://[x]/",
            "https://x:y/",
        ] {
            assert!(parse_target(text, "https").is_err(), "{text}");
        }
    }
}
