//! Who may set a session's cookie, and how it leaves: a guard over the `Set-Cookie` lines of a response.

use crate::{
    clock,
    config::session::{self, SameSite, SetBy},
    session::{Sessions, id::SessionId},
};
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use jiff::fmt::rfc2822;
use std::{str, sync::Arc};

/// The guard of all sessions' cookies.
#[derive(Debug, Default)]
pub struct CookieGuard(Vec<Guarded>);

#[derive(Debug)]
struct Guarded {
    sessions: Arc<Sessions>,
    set_by: SetBy,
    harden: bool,
    same_site: Option<SameSite>,
}

/// The exchange that a response ends.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The name of the upstream that answers.
    pub upstream: &'a str,
    /// The id that the request carried.
    pub presented: Option<&'a SessionId>,
    /// The request passed as anonymous only because the store could not be asked: no session's cookie may be set.
    pub waived: bool,
    /// The client came over https.
    pub https: bool,
}

impl CookieGuard {
    /// Takes each `[session]` with what it was compiled to.
    pub fn compile<'a>(sessions: impl IntoIterator<Item = (&'a session::Session, Arc<Sessions>)>) -> Self {
        let guarded = sessions.into_iter().map(|(config, sessions)| Guarded {
            sessions,
            set_by: config.set_by.clone(),
            harden: config.harden,
            same_site: config.same_site,
        });
        Self(guarded.collect())
    }

    /// Judges an upstream's `Set-Cookie` lines, before the gateway adds its own: of those with a session's name it
    /// removes what may not be set and adds the attributes that are missing. All others stay byte for byte. Returns
    /// how many were removed.
    pub fn apply(&self, headers: &mut HeaderMap, exchange: Exchange<'_>) -> usize {
        if !headers.get_all(SET_COOKIE).iter().any(|line| self.guards(line)) {
            return 0;
        }
        let lines: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        headers.remove(SET_COOKIE);
        let mut removed = 0;
        for line in &lines {
            match self.judge(line.clone(), &lines, exchange) {
                Some(line) => _ = headers.append(SET_COOKIE, line),
                None => removed += 1,
            }
        }
        removed
    }

    /// Whether a `Set-Cookie` line is a session's.
    pub fn guards(&self, line: &HeaderValue) -> bool {
        self.owner(&SetCookie::parse(line.as_bytes())).is_some()
    }

    fn owner(&self, cookie: &SetCookie<'_>) -> Option<&Guarded> {
        self.0.iter().find(|guarded| guarded.sessions.owns_cookie(cookie.name))
    }

    fn judge(&self, line: HeaderValue, lines: &[HeaderValue], exchange: Exchange<'_>) -> Option<HeaderValue> {
        let mut cookie = SetCookie::parse(line.as_bytes());
        let Some(guarded) = self.owner(&cookie) else {
            return Some(line);
        };
        cookie.companion = guarded.sessions.companion().and_then(|name| {
            let mut others = lines.iter().map(|line| SetCookie::parse(line.as_bytes()));
            others.find(|other| other.name == name.as_bytes()).map(|other| other.value)
        });
        let proven = guarded.sessions.verify(cookie.value, cookie.companion);
        if !guarded.permits(&cookie, proven.as_ref(), exchange) {
            return None;
        }
        if guarded.only_deletes(&cookie, proven.as_ref()) {
            // Browsers read dates and ages in their own ways: what one of them keeps must say nothing.
            let emptied = [cookie.name, b"=; ", cookie.attributes].concat();
            let emptied = HeaderValue::from_bytes(&emptied).ok()?;
            let missing = guarded.missing(&cookie, exchange.https);
            return HeaderValue::from_bytes(&[emptied.as_bytes(), missing.as_bytes()].concat()).ok();
        }
        if let Some(id) = proven.filter(|id| Some(id) != exchange.presented && !cookie.deletes()) {
            guarded.sessions.expect(&id);
        }
        let missing = guarded.missing(&cookie, exchange.https);
        if missing.is_empty() {
            return Some(line);
        }
        HeaderValue::from_bytes(&[line.as_bytes(), missing.as_bytes()].concat()).ok()
    }
}

impl Guarded {
    fn permits(&self, cookie: &SetCookie<'_>, proven: Option<&SessionId>, exchange: Exchange<'_>) -> bool {
        if self.sessions.are_the_gateways_own() || exchange.waived {
            return false;
        }
        match &self.set_by {
            SetBy::Any => true,
            SetBy::Verified => cookie.deletes() || proven.is_some(),
            SetBy::Upstreams(names) => {
                let renews = exchange.presented.is_some() && proven == exchange.presented;
                names.iter().any(|name| name == exchange.upstream) || renews
            }
        }
    }

    /// Whether the cookie passes for nothing but that it deletes.
    fn only_deletes(&self, cookie: &SetCookie<'_>, proven: Option<&SessionId>) -> bool {
        matches!(self.set_by, SetBy::Verified) && !cookie.says_nothing() && proven.is_none()
    }

    fn missing(&self, cookie: &SetCookie<'_>, https: bool) -> String {
        let mut missing = String::new();
        if self.harden && !cookie.has("httponly") {
            missing += "; HttpOnly";
        }
        if self.harden && https && !cookie.has("secure") {
            missing += "; Secure";
        }
        match self.same_site.filter(|_| !cookie.has("samesite")) {
            Some(SameSite::Lax) => missing += "; SameSite=Lax",
            Some(SameSite::Strict) => missing += "; SameSite=Strict",
            None => {}
        }
        missing
    }
}

/// A `Set-Cookie` line as browsers read it (RFC 6265 section 5.2).
struct SetCookie<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// The value of the cookie that proves this one, if the format has such a cookie and it is set, too.
    companion: Option<&'a [u8]>,
    attributes: &'a [u8],
}

impl<'a> SetCookie<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let (pair, attributes) = split(line, b';');
        let (mut name, mut value) = split(pair, b'=');
        // A cookie without a name is sent back as its value alone, which may then look like a pair.
        if name.is_empty() {
            (name, value) = split(value, b'=');
        } else if !pair.contains(&b'=') {
            name = b"";
        }
        Self { name, value, companion: None, attributes }
    }

    fn attributes(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.attributes.split(|byte| *byte == b';').map(|attribute| split(attribute, b'='))
    }

    fn has(&self, name: &str) -> bool {
        self.attributes().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
    }

    fn says_nothing(&self) -> bool {
        matches!(self.value, b"" | b"\"\"")
    }

    /// Whether browsers forget the cookie on reading this, or keep one that says nothing.
    fn deletes(&self) -> bool {
        if self.says_nothing() {
            return true;
        }
        let last = |name: &str, judge: fn(&[u8]) -> Option<bool>| {
            let named = self.attributes().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
            named.filter_map(|(_, value)| judge(value)).last()
        };
        last("max-age", ends_by_age).or_else(|| last("expires", ends_by_date)).unwrap_or(false)
    }
}

/// `None` = not an age, and ignored.
fn ends_by_age(value: &[u8]) -> Option<bool> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_age = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_age.then(|| digits.len() < value.len() || digits.iter().all(|digit| *digit == b'0'))
}

/// `None` = not a date, and ignored.
fn ends_by_date(value: &[u8]) -> Option<bool> {
    const DATE: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let date = str::from_utf8(value).ok()?.replace('-', " ");
    let date = DATE.parse_timestamp(date).ok()?;
    Some(i128::from(date.as_second()) <= i128::from(clock::since_epoch().as_secs()))
}

/// What is before and after the first `at`, both trimmed; all before it if there is none.
fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let place = bytes.iter().position(|byte| *byte == at).unwrap_or(bytes.len());
    (bytes[..place].trim_ascii(), bytes.get(place + 1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests;
