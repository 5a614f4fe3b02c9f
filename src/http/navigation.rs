//! Whether a browser wants to show the answer as a page.

use http::{HeaderMap, HeaderValue, Method};

/// Browser navigation: by Fetch Metadata where the browser sends it, else by what a GET or HEAD accepts.
pub fn is_one(method: &Method, headers: &HeaderMap) -> bool {
    let is_html = |range: &[u8]| {
        let media_type = range.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
    };
    let accepts_html = |value: &[u8]| value.split(|byte| *byte == b',').any(is_html);
    let (mut mode, mut dest, mut html) = (None, None, false);
    for (name, value) in headers {
        match name.as_str() {
            "sec-fetch-mode" => _ = mode.get_or_insert(value),
            "sec-fetch-dest" => _ = dest.get_or_insert(value),
            "accept" => html = html || accepts_html(value.as_bytes()),
            _ => {}
        }
    }
    if mode.is_some() || dest.is_some() {
        let shows = |dest: &HeaderValue| dest == "document" || dest == "iframe" || dest == "frame";
        return mode.is_some_and(|mode| mode == "navigate") && dest.is_some_and(shows);
    }
    html && matches!(*method, Method::GET | Method::HEAD)
}
