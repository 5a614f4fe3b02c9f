//! express-session with connect-redis: a signed cookie, a JSON record that the app itself keeps alive.

use super::{Absence, Fault, Opened, Selection, SessionId, Value, json, own::same_site};
use crate::{
    config::{path::RecordPath, session},
    secret::Secret,
    session::value::json::Author,
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use cookie::{Cookie, time::OffsetDateTime};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use std::{borrow::Cow, fmt, sync::Arc, time::Duration};
use subtle::{Choice, ConstantTimeEq};

/// The longest id that is asked for, in bytes.
const ID_MAX: usize = 512;
/// A SHA-256 in base64 without padding.
const TAG_LEN: usize = 43;
/// How long a record lives whose cookie has no `maxAge`: connect-redis' default.
const TTL: Duration = Duration::from_secs(86_400);
/// The record's member that belongs to express-session itself.
const COOKIE: &str = "cookie";
/// What that says of its lifetime, in milliseconds.
const AGES: [&str; 2] = ["originalMaxAge", "maxAge"];
/// What `encodeURIComponent` leaves alone, besides letters and digits.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Sessions of Express apps.
pub(in crate::session) struct Express {
    cookie: Arc<str>,
    prefix: String,
    /// One prepared key per secret, newest first.
    keys: Vec<hmac::Key>,
    own: Own,
}

/// The cookie of sessions that the gateway itself begins, as the app has it.
pub(super) struct Own {
    pub(super) path: String,
    pub(super) domain: Option<String>,
    pub(super) max_age: Option<Duration>,
    pub(super) same_site: Option<session::SameSite>,
}

impl Express {
    pub(super) fn compile(config: &session::Session, secrets: &[Secret], own: Own) -> Self {
        Self {
            cookie: config.cookie.as_deref().unwrap_or("connect.sid").into(),
            prefix: config.prefix.clone(),
            keys: keys(secrets),
            own,
        }
    }

    pub(super) fn cookie_name(&self) -> &Arc<str> {
        &self.cookie
    }

    /// Judges as the packages cookie 0.7, express-session 1.19 and cookie-signature 1.0 do; raw bytes beyond ASCII,
    /// which no such app ever sent, are refused.
    pub(super) fn verify(&self, value: &[u8]) -> Result<SessionId, Absence> {
        let value = std::str::from_utf8(value).ok().filter(|value| value.is_ascii()).ok_or(Absence::Malformed)?;
        let value = decode_component(unquote(value));
        let signed = value.strip_prefix("s:").ok_or(Absence::Malformed)?;
        unsign(&self.keys, signed)
    }

    pub(super) fn sign(&self, id: &SessionId) -> String {
        let id = id.expose();
        let key = self.keys.first().expect("a configuration without a secret is refused");
        let tag = encode_tag(key, id);
        utf8_percent_encode(&format!("s:{id}.{}", String::from_utf8_lossy(&tag)), COMPONENT).to_string()
    }

    pub(super) fn key(&self, id: &SessionId) -> String {
        [&self.prefix, id.expose()].concat()
    }

    pub(super) fn begin(&self, data: Value, https: bool, now: Duration) -> (Value, Duration) {
        let mut record = vec![(COOKIE.into(), self.stored_cookie(https, now))];
        if let Value::Map(entries) = data {
            record.extend(entries.into_iter().filter(|(key, _)| &**key != COOKIE));
        }
        // Redis and the app count in whole seconds, rounded up.
        let ttl = self.own.max_age.map_or(TTL, |max_age| Duration::from_millis(millis(max_age)));
        (Value::Map(record), Duration::from_secs(ttl.as_millis().div_ceil(1000) as u64))
    }

    pub(super) fn dress(&self, cookie: &mut Cookie<'static>, begins: Option<Duration>) {
        cookie.set_path(self.own.path.clone());
        if let Some(domain) = &self.own.domain {
            cookie.set_domain(domain.clone());
        }
        cookie.set_same_site(self.own.same_site.map(same_site));
        let ends = begins.zip(self.own.max_age).map(|(begins, max_age)| (begins + max_age).as_secs());
        let ends = ends.and_then(|ends| OffsetDateTime::from_unix_timestamp(ends.try_into().ok()?).ok());
        if let Some(ends) = ends {
            cookie.set_expires(ends);
        }
    }

    /// The member `cookie`: the app obeys it rather than its own options, so both limits are written or neither.
    fn stored_cookie(&self, https: bool, now: Duration) -> Value {
        let text = |text: &str| Value::Text(text.into());
        let expires = self.own.max_age.and_then(|max_age| timestamp(now + max_age));
        let limit = self.own.max_age.map_or(Value::Null, |max_age| Value::Integer(millis(max_age).to_string().into()));
        let mut cookie = vec![
            ("originalMaxAge".into(), limit),
            ("expires".into(), expires.map_or(Value::Null, |expires| text(&format!("{expires:.3}")))),
        ];
        if https {
            cookie.push(("secure".into(), Value::Bool(true)));
        }
        cookie.push(("httpOnly".into(), Value::Bool(true)));
        if let Some(domain) = &self.own.domain {
            cookie.push(("domain".into(), text(domain)));
        }
        cookie.push(("path".into(), text(&self.own.path)));
        match self.own.same_site {
            Some(session::SameSite::Lax) => cookie.push(("sameSite".into(), text("lax"))),
            Some(session::SameSite::Strict) => cookie.push(("sameSite".into(), text("strict"))),
            None => {}
        }
        Value::Map(cookie)
    }
}

impl fmt::Debug for Express {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Express").field("cookie", &self.cookie).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Reads what is selected of a record: `null` is no session to connect-redis, and what makes the app fail is none.
pub(super) fn open(record: &[u8], selection: &Selection) -> Result<Opened, Absence> {
    open_as(Author::JavaScript, record, selection)
}

fn open_as(author: Author, record: &[u8], selection: &Selection) -> Result<Opened, Absence> {
    match json::read_selected(author, record, selection) {
        Ok(data @ Value::Map(_)) => match data.member(COOKIE) {
            Some(cookie @ Value::Map(_)) if has_usable_ages(cookie) => Ok(Opened { data, ends: None }),
            Some(Value::Map(_)) => Err(Absence::Unreadable("its `cookie` has an age that is not a number")),
            Some(_) => Err(Absence::Unreadable("its `cookie` is not an object")),
            None => Err(Absence::Unreadable("it has no `cookie`, as all that express-session writes have")),
        },
        Ok(Value::Null) => Err(Absence::NotFound),
        Ok(_) => Err(Absence::Unreadable("not an object")),
        Err(Fault(why)) => Err(Absence::Unreadable(why)),
    }
}

/// Whether the app can use the ages of a record's cookie: what JavaScript takes for false is no age.
fn has_usable_ages(cookie: &Value) -> bool {
    AGES.iter().all(|name| match cookie.member(name) {
        None | Some(Value::Null | Value::Bool(false) | Value::Integer(_) | Value::Float(_)) => true,
        Some(Value::Text(text)) => text.is_empty(),
        Some(_) => false,
    })
}

/// Leads to what of a record tells whether the app can use it.
pub(super) fn judged_by() -> [RecordPath; 2] {
    AGES.map(|name| RecordPath([COOKIE, name].map(str::to_owned).into()))
}

/// Changes everything but the member `cookie`. A record that could not be written again as it was is left alone.
pub(super) fn rewrite<E>(record: &[u8], change: impl FnOnce(&mut Value) -> Result<(), E>) -> Result<Option<Value>, E> {
    let Ok(Opened { data: Value::Map(entries), .. }) = open_as(Author::Anyone, record, &Selection::whole()) else {
        return Ok(None);
    };
    let (mut own, entries) = entries.into_iter().partition::<Vec<_>, _>(|(key, _)| &**key == COOKIE);
    let mut data = Value::Map(entries);
    change(&mut data)?;
    if let Value::Map(entries) = data {
        own.extend(entries.into_iter().filter(|(key, _)| &**key != COOKIE));
    }
    Ok(Some(Value::Map(own)))
}

/// One prepared key per secret.
pub(super) fn keys(secrets: &[Secret]) -> Vec<hmac::Key> {
    let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    secrets.iter().map(key).collect()
}

/// The id of `id.signature`, if one of the keys made the signature.
pub(super) fn unsign(keys: &[hmac::Key], signed: &str) -> Result<SessionId, Absence> {
    let (id, tag) = signed.rsplit_once('.').ok_or(Absence::Malformed)?;
    let printable = !id.bytes().any(|byte| byte.is_ascii_control());
    if id.is_empty() || id.len() > ID_MAX || !printable {
        return Err(Absence::Malformed);
    }
    // The signature is compared as the text it is: decoding it would accept other spellings.
    let compare = |matched: Choice, key| matched | encode_tag(key, id).as_slice().ct_eq(tag.as_bytes());
    let matched = keys.iter().fold(Choice::from(0), compare);
    if bool::from(matched) { Ok(SessionId::new(id)) } else { Err(Absence::BadSignature) }
}

pub(super) fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value)
}

/// `decodeURIComponent`; where that fails, the text as it came.
pub(super) fn decode_component(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return value.into();
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return value.into() };
        decoded.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    String::from_utf8(decoded).map_or(value.into(), Cow::Owned)
}

fn encode_tag(key: &hmac::Key, id: &str) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    let written = STANDARD_NO_PAD.encode_slice(hmac::sign(key, id.as_bytes()), &mut tag);
    written.expect("43 characters hold 32 bytes");
    tag
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn timestamp(since_epoch: Duration) -> Option<Timestamp> {
    Timestamp::from_millisecond(since_epoch.as_millis().try_into().ok()?).ok()
}

#[cfg(test)]
mod tests;
