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
    /// The request passed as anonymous only because the store could not be asked: no session's cookie may be set.
    pub waived: bool,
    /// The client came over https.
    pub https: bool,
}

/// What a response does to a browser's session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Nothing, or it deletes it.
    Nothing,
    /// It sets one.
    Set,
    /// It sets one that browsers neither keep nor send: `Secure`, over http.
    SecureOverHttp,
    /// It would have set one, but the guard removed it.
    Removed,
}

/// The id that the request carried in the `[session]` of a name.
pub type Carried<'a> = dyn Fn(&str) -> Option<&'a SessionId> + 'a;

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
    pub fn apply(&self, headers: &mut HeaderMap, exchange: Exchange<'_>, carried: &Carried<'_>) -> usize {
        if !headers.get_all(SET_COOKIE).iter().any(|line| self.guards(line)) {
            return 0;
        }
        let lines: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        headers.remove(SET_COOKIE);
        let mut removed = 0;
        for line in &lines {
            match self.judge(line.clone(), &lines, exchange, carried) {
                Some(line) => _ = headers.append(SET_COOKIE, line),
                None => removed += 1,
            }
        }
        removed
    }

    /// What the lines that are left do.
    pub fn given(&self, headers: &HeaderMap, https: bool) -> Given {
        let lines = headers.get_all(SET_COOKIE).iter().filter(|line| self.guards(line));
        let cookies = lines.map(|line| SetCookie::parse(line.as_bytes())).filter(|cookie| !cookie.deletes());
        cookies.fold(Given::Nothing, |given, cookie| match given {
            Given::Set => Given::Set,
            _ if cookie.has("secure") && !https => Given::SecureOverHttp,
            _ => Given::Set,
        })
    }

    /// Whether a `Set-Cookie` line is a session's.
    pub fn guards(&self, line: &HeaderValue) -> bool {
        self.owners(&SetCookie::parse(line.as_bytes())).next().is_some()
    }

    fn owners(&self, cookie: &SetCookie<'_>) -> impl Iterator<Item = &Guarded> {
        self.0.iter().filter(|guarded| {
            let sessions = &guarded.sessions;
            sessions.owns_cookie(cookie.name) || sessions.owns_companion(cookie.name)
        })
    }

    /// Sessions may share a cookie's name: then the one that the cookie proves has the word, else any that lets it pass.
    fn judge(
        &self,
        line: HeaderValue,
        lines: &[HeaderValue],
        exchange: Exchange<'_>,
        carried: &Carried<'_>,
    ) -> Option<HeaderValue> {
        let cookie = SetCookie::parse(line.as_bytes());
        if !self.guards(&line) {
            return Some(line);
        }
        if exchange.waived || self.owners(&cookie).any(|guarded| guarded.sessions.are_the_gateways_own()) {
            return None;
        }
        let judge = |guarded: &Guarded| guarded.judge(&line, lines, exchange, carried(guarded.sessions.name()));
        let passed = self.owners(&cookie).filter_map(judge);
        passed.max_by_key(|(proven, _)| *proven).map(|(_, line)| line)
    }
}

impl Guarded {
    /// The line as it may pass, and whether it proves a session.
    fn judge(
        &self,
        line: &HeaderValue,
        lines: &[HeaderValue],
        exchange: Exchange<'_>,
        carried: Option<&SessionId>,
    ) -> Option<(bool, HeaderValue)> {
        let cookie = SetCookie::parse(line.as_bytes());
        let proven = self.prove(&cookie, lines, carried);
        if !self.permits(&cookie, proven.as_ref(), exchange.upstream, carried) {
            return None;
        }
        let missing = self.missing(&cookie, exchange.https);
        if self.only_deletes(&cookie, proven.as_ref()) {
            // Browsers read dates and ages in their own ways: what one of them keeps must say nothing.
            let emptied = [cookie.name, b"=; ", cookie.attributes, missing.as_bytes()].concat();
            return HeaderValue::from_bytes(&emptied).ok().map(|line| (false, line));
        }
        let is_proven = proven.is_some();
        if let Some(id) = proven.filter(|id| Some(id) != carried && !cookie.deletes()) {
            self.sessions.expect(&id);
        }
        if missing.is_empty() {
            return Some((is_proven, line.clone()));
        }
        HeaderValue::from_bytes(&[line.as_bytes(), missing.as_bytes()].concat()).ok().map(|line| (is_proven, line))
    }

    /// The id that a cookie proves: by itself, or together with another that is set, too. A signature alone may also
    /// renew that of the cookie that the request carried.
    fn prove(&self, cookie: &SetCookie<'_>, lines: &[HeaderValue], carried: Option<&SessionId>) -> Option<SessionId> {
        let mut others = lines.iter().map(|line| SetCookie::parse(line.as_bytes()));
        if self.sessions.owns_cookie(cookie.name) {
            let alone = self.sessions.verify(cookie.value, None);
            let mut signatures = others.filter(|other| self.sessions.owns_companion(other.name));
            return alone
                .or_else(|| signatures.find_map(|other| self.sessions.verify(cookie.value, Some(other.value))));
        }
        let signs = |value: &[u8]| self.sessions.verify(value, Some(cookie.value));
        let of_others = others.find_map(|other| signs(other.value).filter(|_| self.sessions.owns_cookie(other.name)));
        of_others.or_else(|| signs(carried?.expose().as_bytes()))
    }

    fn permits(
        &self,
        cookie: &SetCookie<'_>,
        proven: Option<&SessionId>,
        upstream: &str,
        carried: Option<&SessionId>,
    ) -> bool {
        match &self.set_by {
            SetBy::Any => true,
            SetBy::Verified => cookie.deletes() || proven.is_some(),
            SetBy::Upstreams(names) => {
                let renews = carried.is_some() && proven == carried;
                names.iter().any(|name| name == upstream) || renews
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
        Self { name, value, attributes }
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
