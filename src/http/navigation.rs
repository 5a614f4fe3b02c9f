//! Whether a browser wants to show the answer as a page.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::ACCEPT};

static FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Browser navigation: by Fetch Metadata where the browser sends it, else by what a GET or HEAD accepts.
pub fn is_one(method: &Method, headers: &HeaderMap) -> bool {
    let (mode, dest) = (headers.get(&FETCH_MODE), headers.get(&FETCH_DEST));
    if mode.is_some() || dest.is_some() {
        let shows = |dest: &HeaderValue| dest == "document" || dest == "iframe" || dest == "frame";
        return mode.is_some_and(|mode| mode == "navigate") && dest.is_some_and(shows);
    }
    let accepts_html = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.windows(9).any(|window| window.eq_ignore_ascii_case(b"text/html"))
    };
    matches!(*method, Method::GET | Method::HEAD) && headers.get_all(ACCEPT).iter().any(accepts_html)
}
