//! A request of HTTP/2 in the terms that all steps share: its host in `Host`, its cookies on one
//! line, a WebSocket asked for by `Upgrade`.

use super::{Head, websocket};
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, HOST},
};

/// Puts `:authority` where `Host` is read, and the crumbs of the Cookie field (RFC 9113 section 8.2.3) on one line.
/// A `Host` that is there stays, to be compared.
pub fn translate(head: &mut Head) {
    if let Some(authority) = head.uri.authority().filter(|_| !head.headers.contains_key(HOST))
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host);
    }
    join_cookies(&mut head.headers);
    websocket::translate(head);
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut line = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(crumb.as_bytes());
    }
    // What several values hold, one may hold.
    if let Ok(line) = HeaderValue::from_maybe_shared(bytes::Bytes::from(line)) {
        headers.insert(COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(target: &str, fields: &[(&str, &str)]) -> HeaderMap {
        let mut request = http::Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).expect("the test's request is valid").into_parts();
        translate(&mut head);
        head.headers
    }

    #[test]
    fn the_authority_is_the_host_unless_there_is_one() {
        assert_eq!(translated("https://a.test:8443/x", &[])[HOST], "a.test:8443");
        assert_eq!(translated("https://a.test/x", &[("host", "b.test")])[HOST], "b.test");
        assert!(translated("/x", &[]).is_empty());
    }

    #[test]
    fn crumbs_are_joined_in_their_order() {
        let crumbs = [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=\u{e9}"), ("cookie", "c=3; d=4")];
        let headers = translated("https://a.test/", &crumbs);
        let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(lines, ["a=1; b=\u{e9}; c=3; d=4".as_bytes()]);
        assert_eq!(translated("/", &[("cookie", "a=1")])[COOKIE], "a=1");
    }
}
