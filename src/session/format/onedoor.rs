//! The gateway's own sessions: a random id in the cookie, its hash in the store.

use super::{Absence, Fault, Opened, SessionId, Value, json, own::same_site};
use crate::config::session;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cookie::Cookie;
use ring::digest::{SHA256, digest};
use std::{sync::Arc, time::Duration};

/// 256 bits in base64url.
const ID_LEN: usize = 43;
/// The longest that a renewal is put off; a tenth of a short `ttl`.
const RENEWAL_LAG_MAX: Duration = Duration::from_secs(60);

/// Sessions that the gateway writes itself.
#[derive(Debug)]
pub(in crate::session) struct Onedoor {
    cookie_http: Arc<str>,
    cookie_https: Arc<str>,
    prefix: String,
    ttl: Duration,
    max_age: Duration,
    same_site: session::SameSite,
}

impl Onedoor {
    pub(super) fn compile(config: &session::Session, ttl: Duration, max_age: Duration) -> Self {
        let named = |default: &str| config.cookie.as_deref().unwrap_or(default).into();
        Self {
            cookie_http: named("onedoor"),
            cookie_https: named("__Host-onedoor"),
            prefix: config.prefix.clone(),
            ttl,
            max_age,
            same_site: config.same_site.unwrap_or(session::SameSite::Lax),
        }
    }

    pub(super) fn cookie_name(&self, https: bool) -> &Arc<str> {
        if https { &self.cookie_https } else { &self.cookie_http }
    }

    /// Nothing is signed: an id that nobody was given has no record.
    pub(super) fn verify(&self, value: &[u8]) -> Result<SessionId, Absence> {
        let fits = value.len() == ID_LEN
            && value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let id = std::str::from_utf8(value).ok().filter(|_| fits);
        id.map(SessionId::new).ok_or(Absence::Malformed)
    }

    /// Who can read the store learns no id from it.
    pub(super) fn key(&self, id: &SessionId) -> String {
        let mut key = self.prefix.clone();
        URL_SAFE_NO_PAD.encode_string(digest(&SHA256, id.expose().as_bytes()), &mut key);
        key
    }

    pub(super) fn open(&self, record: &[u8], now: Duration) -> Result<Opened, Absence> {
        let (created, data) = self.read(record).map_err(Absence::Unreadable)?;
        let ends = created + self.max_age;
        if ends <= now { Err(Absence::Expired) } else { Ok(Opened { data, ends: Some(ends) }) }
    }

    /// How long a session may live.
    pub(in crate::session) fn max_age(&self) -> Duration {
        self.max_age
    }

    /// When a session began that ends then.
    pub(in crate::session) fn begun(&self, ends: Duration) -> Duration {
        ends.saturating_sub(self.max_age)
    }

    pub(super) fn begin(&self, data: Value, now: Duration) -> (Value, Duration) {
        (envelope(now, data), self.ttl.min(self.max_age))
    }

    pub(super) fn rewrite<E>(
        &self,
        record: &[u8],
        now: Duration,
        change: impl FnOnce(&mut Value) -> Result<(), E>,
    ) -> Result<Option<Value>, E> {
        let Ok((created, mut data)) = self.read(record) else {
            return Ok(None);
        };
        if created + self.max_age <= now {
            return Ok(None);
        }
        change(&mut data)?;
        Ok(Some(envelope(created, data)))
    }

    /// How long a record that is being used should live on, if that is worth telling the store: never beyond its end,
    /// and not for every request anew. `remaining` is what the store has left for it, `None` = for ever.
    pub(in crate::session) fn renewal(
        &self,
        ends: Duration,
        remaining: Option<Duration>,
        now: Duration,
    ) -> Option<Duration> {
        let wanted = self.ttl.min(ends.saturating_sub(now));
        let due = remaining.is_none_or(|remaining| remaining + self.renewal_lag() < wanted);
        due.then_some(wanted)
    }

    /// How long a renewal may be put off.
    pub(in crate::session) fn renewal_lag(&self) -> Duration {
        RENEWAL_LAG_MAX.min(self.ttl / 10)
    }

    pub(super) fn dress(&self, cookie: &mut Cookie<'static>) {
        cookie.set_path("/");
        cookie.set_same_site(same_site(self.same_site));
    }

    fn read(&self, record: &[u8]) -> Result<(Duration, Value), &'static str> {
        let Value::Map(mut entries) = json::read(record).map_err(|Fault(why)| why)? else {
            return Err("not an object");
        };
        let mut take = |name: &str| {
            let at = entries.iter().position(|(key, _)| &**key == name)?;
            Some(entries.swap_remove(at).1)
        };
        let created = match take("created") {
            Some(Value::Integer(text)) => text.parse().ok().map(Duration::from_millis),
            _ => None,
        };
        let data = take("data").filter(|data| matches!(data, Value::Map(_)));
        created.zip(data).ok_or("no record of the gateway's own")
    }
}

fn envelope(created: Duration, data: Value) -> Value {
    let created = Value::Integer(created.as_millis().to_string().into());
    Value::Map(vec![("created".into(), created), ("data".into(), data)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW: Duration = Duration::from_secs(1_795_216_700);

    fn onedoor(ttl: Duration, max_age: Duration) -> Onedoor {
        let config = crate::session::tests::config(session::Format::Onedoor { ttl, max_age });
        Onedoor::compile(&config, ttl, max_age)
    }

    #[test]
    fn an_id_is_43_base64url_characters() {
        let onedoor = onedoor(HOUR, HOUR);
        let id = "A".repeat(41) + "-_";
        assert_eq!(onedoor.verify(id.as_bytes()).as_ref().map(SessionId::expose), Ok(id.as_str()));
        for value in
            ["", &"A".repeat(42), &"A".repeat(44), &("A".repeat(42) + "="), &("A".repeat(42) + "."), &"é".repeat(43)]
        {
            assert_eq!(onedoor.verify(value.as_bytes()), Err(Absence::Malformed), "{value}");
        }
    }

    #[test]
    fn the_key_does_not_hold_the_id() {
        let id = SessionId::new("A".repeat(43));
        let key = onedoor(HOUR, HOUR).key(&id);
        assert!(key.starts_with("sess:") && key.len() == "sess:".len() + 43 && !key.contains("AAAA"), "{key}");
    }

    #[test]
    fn a_record_ends_with_max_age_whatever_the_store_says() {
        let onedoor = onedoor(HOUR, HOUR * 2);
        let (record, ttl) = onedoor.begin(Value::Map(vec![]), NOW);
        assert_eq!(ttl, HOUR);
        let bytes = super::super::seal(&record).unwrap();
        let opened = onedoor.open(&bytes, NOW + HOUR * 2 - Duration::from_millis(1)).unwrap();
        assert_eq!(opened, Opened { data: Value::Map(vec![]), ends: Some(NOW + HOUR * 2) });
        assert_eq!(onedoor.open(&bytes, NOW + HOUR * 2), Err(Absence::Expired));
        assert_eq!(onedoor.rewrite(&bytes, NOW + HOUR * 2, |_| Ok::<_, ()>(())), Ok(None));
    }

    #[test]
    fn renewals_are_rare_and_never_reach_beyond_the_end() {
        let onedoor = onedoor(HOUR, HOUR * 12);
        let ends = NOW + HOUR * 12;
        let second = Duration::from_secs(1);
        assert_eq!(onedoor.renewal(ends, Some(HOUR), NOW), None);
        assert_eq!(onedoor.renewal(ends, Some(HOUR - 60 * second), NOW), None);
        assert_eq!(onedoor.renewal(ends, Some(HOUR - 61 * second), NOW), Some(HOUR));
        assert_eq!(onedoor.renewal(ends, None, NOW), Some(HOUR));
        assert_eq!(onedoor.renewal(NOW + 600 * second, Some(HOUR), NOW), None);
        assert_eq!(onedoor.renewal(NOW + 600 * second, Some(500 * second), NOW), Some(600 * second));
    }

    #[test]
    fn a_foreign_record_is_unreadable() {
        let onedoor = onedoor(HOUR, HOUR);
        let foreign =
            ["[]", "null", "{}", r#"{"created":1}"#, r#"{"created":"1","data":{}}"#, r#"{"created":-1,"data":{}}"#]
                .into_iter()
                .chain([r#"{"created":1,"data":[]}"#, "garbage"]);
        for record in foreign {
            assert!(matches!(onedoor.open(record.as_bytes(), NOW), Err(Absence::Unreadable(_))), "{record}");
        }
    }
}
