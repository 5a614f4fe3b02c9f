//! Where a request was started, as browsers tell it: Fetch Metadata, `Origin`, `Referer`.

use super::{
    host::{self, Host},
    site::PublicUrl,
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ORIGIN, REFERER},
};

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Scheme, host and port: who a page belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    /// Lower case.
    host: String,
    port: u16,
}

/// What `Origin` may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initiator {
    /// A page that does not say whose it is, such as one in a sandbox.
    Null,
    /// A page of this origin.
    Page(Origin),
}

impl Origin {
    /// The origin of these parts.
    pub fn new(https: bool, host: &str, port: u16) -> Self {
        Self { https, host: host.to_ascii_lowercase(), port }
    }

    /// The origin of an http or https URL, whatever follows its authority.
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (name, port) = host::split(&rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())])?;
        Some(Self::new(https, name, port.unwrap_or(default_port(https))))
    }

    /// Whether it is the request's own host and port; the scheme counts where the site has a public URL.
    fn is_ours(&self, host: &Host, public_url: Option<&PublicUrl>) -> bool {
        let has = |name: &str, port: u16| self.port == port && self.host.eq_ignore_ascii_case(name);
        let is_called = has(host.name(), host.port().unwrap_or(default_port(self.https)));
        match public_url {
            Some(url) => self.https == url.https && (is_called || has(&url.host, url.port)),
            None => is_called,
        }
    }
}

/// Whether another site started the request; what none of the three fields is said of was started by no browser.
/// Requests of `listed` initiators count as ours.
pub fn is_foreign(headers: &HeaderMap, host: &Host, public_url: Option<&PublicUrl>, listed: &[Initiator]) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (origin, referer) = (text(&ORIGIN), text(&REFERER));
    let named = origin.filter(|origin| *origin != "null");
    let started_here = match headers.get(&FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(site) => matches!(site, b"same-origin" | b"none"),
        None => match named.or(referer) {
            Some(url) => Origin::of(url).is_some_and(|origin| origin.is_ours(host, public_url)),
            None => origin.is_none(),
        },
    };
    let is_listed = || match origin {
        Some("null") => listed.contains(&Initiator::Null),
        _ => origin.or(referer).and_then(Origin::of).is_some_and(|page| listed.contains(&Initiator::Page(page))),
    };
    !started_here && !is_listed()
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "sec-fetch-site";

    fn foreign(public: bool, host: &'static str, fields: &[(&'static str, &'static str)]) -> bool {
        let public_url = public.then(|| PublicUrl { https: true, host: "example.test".to_owned(), port: 443 });
        let headers =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let host = Host::parse(&HeaderValue::from_static(host)).expect("the test's host is valid");
        let listed = [Initiator::Null, Initiator::Page(Origin::new(true, "Partner.test", 443))];
        is_foreign(&headers.collect(), &host, public_url.as_ref(), if public { &listed[1..] } else { &[] })
    }

    #[test]
    fn what_this_site_or_no_browser_started_is_ours() {
        for fields in [
            &[][..],
            &[(SITE, "same-origin")],
            &[(SITE, "none"), ("origin", "https://evil.test")],
            &[("origin", "https://example.test")],
            &[("origin", "https://EXAMPLE.test:443"), ("referer", "https://evil.test/")],
            &[("referer", "https://example.test/page?x=https://evil.test")],
            &[("origin", "null"), ("referer", "https://example.test")],
            &[(SITE, "cross-site"), ("origin", "https://partner.test")],
            &[("referer", "https://partner.test/x")],
        ] {
            assert!(!foreign(true, "example.test", fields), "{fields:?}");
        }
        assert!(!foreign(false, "a.test:8080", &[("origin", "http://a.test:8080")]));
        assert!(!foreign(false, "a.test", &[("origin", "https://a.test")]), "a proxy ends TLS, and nobody says so");
        assert!(!foreign(true, "10.0.0.1:3000", &[("origin", "https://example.test")]), "the public URL is ours");
    }

    #[test]
    fn everything_else_is_foreign() {
        for fields in [
            &[(SITE, "cross-site")][..],
            &[(SITE, "same-site")],
            &[(SITE, "Same-Origin")],
            &[(SITE, "")],
            &[(SITE, "cross-site"), ("origin", "https://example.test")],
            &[("origin", "https://evil.test")],
            &[("origin", "http://example.test")],
            &[("origin", "https://example.test:444")],
            &[("origin", "https://example.test.evil.test")],
            &[("origin", "https://evil.test/example.test")],
            &[("origin", "https://u@example.test")],
            &[("origin", "ftp://example.test")],
            &[("origin", "")],
            &[("origin", "example.test")],
            &[("origin", "null")],
            &[("origin", "null"), ("referer", "https://evil.test/")],
            &[("origin", "null"), ("referer", "https://partner.test/")],
            &[("origin", "https://evil.test"), ("referer", "https://example.test/")],
            &[("referer", "https://evil.test/example.test")],
            &[("referer", "about:blank")],
        ] {
            assert!(foreign(true, "example.test", fields), "{fields:?}");
        }
        assert!(foreign(false, "a.test:8080", &[("origin", "http://a.test")]));
    }
}
