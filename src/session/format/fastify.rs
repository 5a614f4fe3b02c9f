//! @fastify/session with connect-redis: express' signature without its mark, and a record that knows when it ends.

use super::{Absence, Opened, Presented, SessionId, Value, express, json};
use crate::{secret::Secret, session::value::json::Author};
use jiff::Timestamp;
use ring::hmac;
use std::time::Duration;

/// Sessions of Fastify apps.
#[derive(Debug)]
pub(super) struct Fastify {
    /// One prepared key per secret, newest first.
    keys: Vec<hmac::Key>,
}

impl Fastify {
    pub(super) fn compile(secrets: &[Secret]) -> Self {
        Self { keys: express::keys(secrets) }
    }

    /// Releases differ in whether they encode the value; quotes were never part of it.
    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        express::unsign(&self.keys, &express::decode_component(cookie.ascii()?))
    }
}

/// Reads a record; the app refuses one whose `cookie.expires` has passed, whatever Redis says.
pub(super) fn read(record: &[u8], now: Duration) -> Result<Opened, Absence> {
    let data = json::read_as(Author::JavaScript, record)?;
    let member = |name: &str| data.member("cookie").and_then(|cookie| cookie.member(name));
    let ends = match member("expires") {
        // It takes these for the time that is left.
        None | Some(Value::Null) => ["originalMaxAge", "maxAge"].into_iter().find_map(|name| match member(name) {
            Some(Value::Integer(left) | Value::Float(left)) if left.starts_with('-') => Some(Duration::ZERO),
            _ => None,
        }),
        Some(Value::Text(text)) => {
            let expires: Timestamp = text.parse().map_err(|_| EXPIRES)?;
            // What ended before 1970 ended.
            Some(Duration::from_millis(expires.as_millisecond().try_into().unwrap_or(0)))
        }
        Some(_) => return Err(EXPIRES),
    };
    Opened { data, ends }.unless_over(now)
}

const EXPIRES: Absence = Absence::Unreadable("`cookie.expires` is not a time");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::format::tests::presented;

    const COOKIE: &str = "WkRYKwylR5K7x0R4_HpdQRjEZsBeiwhP./4F7KSuna6DgIiP2rl1hTLEk32Nag/kRvBOVWpwc3Vs";
    const SECRET: &str = "a secret with minimum length of 32 characters";
    const NOW: Duration = Duration::from_secs(1_795_216_700);

    fn judge(secret: &str, value: &str) -> Result<SessionId, Absence> {
        Fastify::compile(&[Secret::new("a newer secret"), Secret::new(secret)]).verify(presented(value))
    }

    #[test]
    fn the_cookie_may_be_encoded_and_has_no_mark() {
        let id = Ok(SessionId::new("WkRYKwylR5K7x0R4_HpdQRjEZsBeiwhP"));
        assert_eq!(judge(SECRET, COOKIE), id);
        assert_eq!(judge(SECRET, &COOKIE.replace('/', "%2F")), id);
        let refused = [
            format!("s:{COOKIE}"),
            format!("\"{COOKIE}\""),
            format!("{COOKIE}="),
            format!("{COOKIE}%3D"),
            COOKIE.replace('/', "_"),
            COOKIE.replace('/', "%252F"),
            COOKIE.replace('.', ""),
            COOKIE[..COOKIE.len() - 1].to_owned(),
            format!(".{COOKIE}"),
            String::new(),
        ];
        for value in refused {
            assert!(judge(SECRET, &value).is_err(), "{value}");
        }
        assert_eq!(judge("another secret", COOKIE), Err(Absence::BadSignature));
    }

    #[test]
    fn a_record_ends_when_it_says_so() {
        let read = |expires: &str| {
            let record = format!(r#"{{"cookie":{{"expires":{expires}}},"user":{{"id":42}}}}"#);
            read(record.as_bytes(), NOW).map(|opened| opened.ends)
        };
        assert_eq!(read("\"2026-11-20T23:18:21.000Z\""), Ok(Some(Duration::from_secs(1_795_216_701))));
        assert_eq!(read("\"2026-11-20T23:18:20.000Z\""), Err(Absence::Lapsed));
        assert_eq!(read("\"1960-01-01T00:00:00Z\""), Err(Absence::Lapsed));
        assert_eq!(read("null"), Ok(None));
        for left in ["\"originalMaxAge\":-1", "\"maxAge\":-0.5,\"expires\":null"] {
            let record = format!("{{\"cookie\":{{{left}}}}}");
            assert_eq!(super::read(record.as_bytes(), NOW), Err(Absence::Lapsed), "{left}");
        }
        for expires in ["\"soon\"", "7", "[]", "\"\""] {
            assert_eq!(read(expires), Err(EXPIRES), "{expires}");
        }
    }
}
