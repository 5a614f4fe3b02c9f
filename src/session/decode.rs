//! What a cookie stands for, told to whoever supports the site's users.

use super::{
    Absence, Activity, Sessions, Verdict,
    format::Opened,
    store::{Reading, Record},
    value::{Value, json, selection::Selection},
};
use crate::tasks::Worker;
use http::HeaderMap;
use smol_str::SmolStr;
use std::{sync::Arc, time::Duration};

/// Members whose names hold one of these are masked.
const SECRET_NAMES: [&str; 9] =
    ["password", "passwd", "secret", "token", "csrf", "hash", "salt", "credential", "private"];
/// Texts that begin so are hashes of passwords.
const HASHES: [&str; 8] = ["$2a$", "$2b$", "$2y$", "$argon2", "$scrypt", "scrypt:", "pbkdf2", "bcrypt"];
/// What stands for what is masked.
const MASK: &str = "(masked)";

impl Sessions {
    /// What is known of the first cookie of these sessions: topics with their texts, in the order in which they are
    /// found out. What looks like a secret in the record is masked.
    pub async fn decode(
        self: &Arc<Self>,
        headers: &HeaderMap,
        https: bool,
        worker: Worker,
    ) -> Vec<(&'static str, String)> {
        let mut told = vec![("session", self.name.to_string()), ("cookie", self.format.cookie_name(https).to_string())];
        let first = self.pairs(headers, https).next();
        let proven = first.map_or(Err(Absence::NoCookie), |pair| self.prove(&self.format, pair, headers));
        let id = match proven {
            Ok((id, _)) => id,
            Err(absence) => {
                told.push(("verdict", format!("no valid session: {absence}")));
                return told;
            }
        };
        let key = self.format.key(&id);
        told.push(("id", id.expose().escape_debug().to_string()));
        told.push(("key", key.escape_debug().to_string()));
        let verdict = Box::pin(self.identify(headers, https, Activity::Ignored, worker)).await.verdict;
        told.push(("verdict", describe(&verdict)));
        if let Verdict::Absent(Absence::Anonymous) = verdict {
            let paths: Vec<_> = self.user.iter().map(ToString::to_string).collect();
            told.push(("user", format!("none at {}", paths.join(", "))));
        }
        if let Ok(Reading { record: Record::Present(bytes), remaining, .. }) =
            Box::pin(self.store.read_whole(worker, &key, [None; 2])).await
        {
            let ttl = remaining.map_or("does not expire".to_owned(), |left| format!("{} s", left.as_secs()));
            told.push(("ttl", ttl));
            // One that is over is shown, too: at the beginning of time it was not.
            if let Ok(Opened { data, .. }) = self.format.open(&bytes, &Selection::whole(), Duration::ZERO) {
                told.push(("record", json::write(&masked(data))));
            }
        }
        told
    }
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::NotAsked => "not asked".to_owned(),
        Verdict::Known(session) => {
            let roles = if session.roles.is_empty() { "none".to_owned() } else { session.roles.join(", ") };
            format!("valid: user {} (roles: {})", session.user.escape_debug(), roles.escape_debug())
        }
        Verdict::Absent(absence) => format!("no valid session: {absence}"),
        Verdict::Unknown(outage) => format!("unknown: {outage}"),
    }
}

/// The record without what nobody should read over a shoulder.
fn masked(value: Value) -> Value {
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET_NAMES.iter().any(|secret| name.contains(secret))
    };
    match value {
        Value::Map(entries) => {
            let mask = |value| match value {
                Value::Null | Value::Bool(_) => value,
                _ => Value::Text(MASK.into()),
            };
            let entry = |(name, value): (SmolStr, Value)| {
                if is_secret(&name) { (name, mask(value)) } else { (name, masked(value)) }
            };
            Value::Map(entries.into_iter().map(entry).collect())
        }
        Value::List(items) => Value::List(items.into_iter().map(masked).collect()),
        Value::Text(text) | Value::Shown(text) if HASHES.iter().any(|start| text.starts_with(start)) => {
            Value::Text(MASK.into())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_hashes_of_passwords_are_masked_wherever_they_are() {
        let record = r#"{"user":{"id":42,"passwordHash":"x","name":"zoe"},"csrfToken":{"a":1},"remember_token":null,"warden":[[42],"$2a$10$abc"],"n":["pbkdf2_sha256$1$x"]}"#;
        let shown = masked(json::read(record.as_bytes()).expect("the test's JSON is readable"));
        let expected = r#"{"user":{"id":42,"passwordHash":"(masked)","name":"zoe"},"csrfToken":"(masked)","remember_token":null,"warden":[[42],"(masked)"],"n":["(masked)"]}"#;
        assert_eq!(json::write(&shown), expected);
    }
}
