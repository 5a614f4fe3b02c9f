//! `rewrite_location`: where an upstream points at its own paths, the client gets them as it knows them.

use super::rewrite::Rewrite;
use http::{HeaderMap, HeaderValue, Uri, header::LOCATION, header::SET_COOKIE};

/// What the names of cookies begin with that have no path but `/`.
const HOST_PREFIX: &str = "__Host-";

impl Rewrite {
    /// Gives the path of `Location`, and of cookies but those that `spares`, the prefix back. A `Location` with a host
    /// is followed by our own clients only if `is_ours`.
    pub fn restore(
        &self,
        headers: &mut HeaderMap,
        is_ours: impl Fn(&str) -> bool,
        spares: impl Fn(&HeaderValue) -> bool,
    ) {
        if !self.restores {
            return;
        }
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        if let Some(location) = location.and_then(|location| self.location(location, is_ours)) {
            headers.insert(LOCATION, location);
        }
        if headers.contains_key(SET_COOKIE) {
            let lines: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
            headers.remove(SET_COOKIE);
            for line in lines {
                let restored = if spares(&line) { None } else { self.cookie(&line) };
                headers.append(SET_COOKIE, restored.unwrap_or(line));
            }
        }
    }

    fn location(&self, location: &str, is_ours: impl Fn(&str) -> bool) -> Option<HeaderValue> {
        if location.starts_with('/') {
            return HeaderValue::try_from(self.back(location)?).ok();
        }
        let uri: Uri = location.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        let port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        if !is_ours(authority) && !authority.strip_suffix(port).is_some_and(is_ours) {
            return None;
        }
        // What stands behind the authority, fragment included, which a Uri does not keep.
        let behind = location.get(scheme.len() + "://".len() + authority.len()..)?;
        HeaderValue::try_from(self.back(if behind.is_empty() { "/" } else { behind })?).ok()
    }

    fn cookie(&self, line: &HeaderValue) -> Option<HeaderValue> {
        let text = line.to_str().ok()?;
        // Browsers take such a cookie for the whole site alone.
        if text.get(..HOST_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(HOST_PREFIX)) {
            return None;
        }
        let mut restored = String::with_capacity(text.len() + 32);
        for (place, part) in text.split(';').enumerate() {
            restored.push_str(if place == 0 { "" } else { ";" });
            let path = part.split_once('=').filter(|(name, _)| place > 0 && name.trim().eq_ignore_ascii_case("path"));
            match path.and_then(|(name, path)| Some((name, self.back(path.trim())?))) {
                Some((name, path)) => {
                    let path = if path.len() > 1 { path.trim_end_matches('/') } else { &path };
                    restored.push_str(name);
                    restored.push('=');
                    restored.push_str(path);
                }
                None => restored.push_str(part),
            }
        }
        HeaderValue::try_from(restored).ok()
    }

    /// A path of the upstream as clients know it; `None` if it is none, or no path that clients can reach, or one that
    /// has the prefix already.
    fn back(&self, path: &str) -> Option<String> {
        let begins = |path: &str, prefix: &str| {
            let head = path.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
            head && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/' | b'?' | b'#'))
        };
        let strip = self.strip.as_deref().unwrap_or_default();
        let rest = match self.add.as_deref() {
            Some(add) => begins(path, add).then(|| &path[add.len()..])?,
            None if begins(path, strip) => return None,
            None => path,
        };
        let slash = if strip.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        let restored = format!("{strip}{slash}{rest}");
        (path.starts_with('/') && !begins_host(path) && !begins_host(&restored)).then_some(restored)
    }
}

/// Whether a browser finds a host in what should be a path: a backslash is a slash to it, and tabs are nothing.
fn begins_host(path: &str) -> bool {
    let mut bytes = path.bytes().filter(|byte| *byte != b'\t');
    bytes.next() == Some(b'/') && matches!(bytes.next(), Some(b'/' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(strip: Option<&str>, add: Option<&str>) -> Rewrite {
        Rewrite { strip: strip.map(Into::into), add: add.map(Into::into), prefix: None, restores: true }
    }

    fn restored(rewrite: &Rewrite, name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("the test's value is valid"));
        let is_session = |line: &HeaderValue| line.as_bytes().starts_with(b"sid=");
        rewrite.restore(&mut headers, |authority| authority == "door.test" || authority == "app:81", is_session);
        headers[name].to_str().expect("it is text").to_owned()
    }

    #[test]
    fn the_prefix_comes_back() {
        let (app, both, added) =
            (rewrite(Some("/app"), None), rewrite(Some("/app"), Some("/v1")), rewrite(None, Some("/v1")));
        for (rewrite, location, wanted) in [
            (&app, "/", "/app/"),
            (&app, "/x?a=/y#z", "/app/x?a=/y#z"),
            (&app, "/app/x", "/app/x"),
            (&app, "/application", "/app/application"),
            (&app, "x/../y", "x/../y"),
            (&app, "?page=2", "?page=2"),
            (&app, "//evil.test/x", "//evil.test/x"),
            (&app, "https://evil.test/x", "https://evil.test/x"),
            (&app, "http://door.test/x#y", "/app/x#y"),
            (&app, "http://app:81", "/app/"),
            (&both, "/v1/x", "/app/x"),
            (&both, "/v1", "/app"),
            (&both, "/v1?a", "/app?a"),
            (&both, "/v10/x", "/v10/x"),
            (&added, "/v1/x", "/x"),
            (&added, "/v1", "/"),
            (&added, "/v1//evil.test", "/v1//evil.test"),
            (&added, "/v1/\\evil.test", "/v1/\\evil.test"),
            (&added, "/v1/\t/evil.test", "/v1/\t/evil.test"),
            (&app, "/\\evil.test", "/\\evil.test"),
            (&app, "http://door.test:80/x", "/app/x"),
            (&app, "https://door.test:443", "/app/"),
            (&app, "http://door.test:443/x", "http://door.test:443/x"),
        ] {
            assert_eq!(restored(rewrite, "location", location), wanted, "{location}");
        }
        for (cookie, wanted) in [
            ("a=1; Path=/; HttpOnly", "a=1; Path=/app; HttpOnly"),
            ("a=/x;path=/x/; Secure", "a=/x;path=/app/x; Secure"),
            ("path=/x; Secure", "path=/x; Secure"),
            ("sid=1; Path=/", "sid=1; Path=/"),
            ("__Host-a=1; Secure; Path=/", "__Host-a=1; Secure; Path=/"),
            ("__host-a=1; Secure; Path=/", "__host-a=1; Secure; Path=/"),
        ] {
            assert_eq!(restored(&app, "set-cookie", cookie), wanted, "{cookie}");
        }
    }
}
