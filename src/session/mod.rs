//! Sessions: from a Cookie header to who is calling, and, for managed sessions, from commands to records.

mod absence;
mod beside;
mod cookies;
pub mod format;
pub mod id;
mod lifetime;
pub mod managed;
mod mark;
mod newcomers;
mod recent;
mod revocation;
pub mod store;
pub mod value;
mod verdicts;

use crate::{
    clock,
    config::{self, path::RecordPath},
    http::cookie_header,
    tasks::Worker,
    telemetry::metrics::Metrics,
};
pub use absence::Absence;
use cookies::Search;
pub use cookies::{CookieEdit, Keep};
use format::{Format, Opened, Own, Presented};
use http::HeaderMap;
use id::SessionId;
use lifetime::{Lifetime, Subject};
use recent::Recent;
use revocation::{End, Revocations};
use std::{sync::Arc, time::Duration};
use store::{Outage, Reading, Record, Store};
use value::{Value, json, selection::Selection};
use verdicts::Verdicts;

/// The most cookies of one request that the store is asked about.
const LOOKUPS_MAX: usize = 8;

/// One configured `[session]`, ready to judge cookies.
#[derive(Debug)]
pub struct Sessions {
    name: Arc<str>,
    format: Format,
    /// With the newest of several secrets alone, to see how far a rotation has come.
    newest: Option<Format>,
    own_members: &'static [&'static str],
    user: Vec<RecordPath>,
    roles: Option<RecordPath>,
    /// What of a record is read, where the format can leave out the rest.
    selection: Selection,
    forwards_cookie: bool,
    lifetime: Option<Lifetime>,
    revocations: Revocations,
    newcomers: Recent<()>,
    store: Store,
    verdicts: Verdicts,
}

/// Whether a request counts as use of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Counts,
    /// It does not, such as a page that polls.
    Ignored,
}

/// A session that is valid and has a user.
#[derive(Debug, Clone)]
pub struct Session {
    /// The name of its `[session]`.
    pub name: Arc<str>,
    /// Its id.
    pub id: SessionId,
    /// The user's id as text.
    pub user: String,
    /// The user's roles.
    pub roles: Vec<String>,
    /// The record, or what of it is read: see [`Sessions::reading_only`].
    pub record: Value,
    /// The record's members that are the framework's own; `*` ends a beginning.
    pub own_members: &'static [&'static str],
}

impl Session {
    /// The record as JSON, without the framework's own members.
    pub fn to_json(&self) -> String {
        let is_own = |name: &str| {
            self.own_members
                .iter()
                .any(|own| own.strip_suffix('*').map_or(*own == name, |start| name.starts_with(start)))
        };
        match &self.record {
            Value::Map(entries) => json::write_map(entries.iter().filter(|(name, _)| !is_own(name))),
            other => json::write(other),
        }
    }
}

/// What is known about the caller.
#[derive(Debug)]
pub enum Verdict {
    /// The rule does not ask.
    NotAsked,
    /// A valid session with a user.
    Known(Box<Session>),
    /// No valid session, and why.
    Absent(Absence),
    /// The store could not be asked.
    Unknown(Outage),
}

/// The answer of [`Sessions::identify`].
#[derive(Debug)]
pub struct Identified {
    /// Who is calling.
    pub verdict: Verdict,
    /// The id of the record that was found, if any, even if it has no user: what `Session-Update` changes.
    pub presented: Option<SessionId>,
    /// The changes to the Cookie header that are needed.
    pub edits: Vec<CookieEdit>,
}

/// What one cookie turned out to be.
enum Finding {
    Valid(Box<Session>),
    /// No session with a user; the id is that of a record which can be read.
    Absent(Absence, Option<SessionId>),
}

impl Sessions {
    /// Prepares a `[session]`; `store` holds its records.
    pub fn compile(config: &config::session::Session, store: Store, metrics: &Metrics) -> Self {
        Self {
            verdicts: Verdicts::compile(config, metrics),
            name: config.name.as_str().into(),
            format: Format::compile(config, &config.format),
            newest: config.format.with_newest_secret().map(|newest| Format::compile(config, &newest)),
            user: config.user.clone(),
            roles: config.roles.clone(),
            own_members: config.preset.own_members,
            selection: Selection::whole(),
            forwards_cookie: config.forward_cookie,
            lifetime: Lifetime::compile(config),
            revocations: Revocations::compile(config),
            newcomers: Recent::default(),
            store,
        }
    }

    /// Leaves out of records what lies neither at `paths` nor where the session itself looks.
    pub fn reading_only<'a>(mut self, paths: impl IntoIterator<Item = &'a RecordPath>) -> Self {
        self.selection = Selection::default();
        self.selection.extend(&self.user);
        self.selection.extend(&self.roles);
        self.selection.extend(self.lifetime.iter().flat_map(Lifetime::paths));
        self.selection.extend(paths);
        self
    }

    /// The name that upstreams, rules and logs know it by.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Judges the cookies of a request: the first that holds a valid session with a user counts. Of cookies that
    /// may name a record only the first eight are looked up; one that does not verify never reaches the store.
    pub async fn identify(&self, headers: &HeaderMap, https: bool, activity: Activity, worker: Worker) -> Identified {
        let mut search = Search::default();
        let mut outage = None;
        let name = self.format.cookie_name(https).as_bytes();
        for pair in cookie_header::pairs(headers).filter(|pair| cookie_header::is_taken_for(pair.name, name)) {
            search.cookies += 1;
            // Another spelling never counts, but an app may take it for the session's cookie.
            if pair.name != name {
                continue;
            }
            if search.known.is_some() || outage.is_some() {
                continue;
            }
            let (id, place) = match self.prove(&self.format, pair, headers) {
                Ok(proven) if search.lookups < LOOKUPS_MAX => proven,
                Ok((_, place)) => {
                    search.passed_over(place);
                    continue;
                }
                Err(absence) => {
                    search.note(absence);
                    continue;
                }
            };
            search.lookups += 1;
            let mut found = self.look_up(id, activity, worker).await;
            if matches!(found, Ok(Finding::Absent(Absence::NotFound, _)))
                && self.expects_somebody()
                && let Ok(proven) = self.prove(&self.format, pair, headers)
            {
                found = Box::pin(self.await_record(proven, activity, worker)).await;
            }
            if let (Ok(Finding::Valid(_)), Some(newest)) = (&found, &self.newest) {
                self.verdicts.signed(self.prove(newest, pair, headers).is_ok(), worker);
            }
            match found {
                Ok(finding) => search.found(place, finding),
                Err(cause) => outage = Some(cause),
            }
        }
        let edits = self.edits(&search, https);
        let presented = search.known.as_ref().map(|(_, session)| session.id.clone());
        let presented = presented.or(search.anonymous);
        let verdict = match (search.known, outage) {
            (Some((_, session)), _) => Verdict::Known(session),
            (None, Some(outage)) => Verdict::Unknown(outage),
            (None, None) => Verdict::Absent(search.absence.unwrap_or(Absence::NoCookie)),
        };
        self.verdicts.count(&verdict, worker);
        Identified { verdict, presented, edits }
    }

    /// The id that the request's cookies prove, if they prove one. Whether it has a record is asked only where
    /// several cookies prove one, so that a planted cookie does not stand before the session that is to end.
    pub async fn presented_by_id(&self, headers: &HeaderMap, https: bool, worker: Worker) -> Option<SessionId> {
        let proven =
            self.pairs(headers, https).filter_map(|pair| Some(self.prove(&self.format, pair, headers).ok()?.0));
        let mut proven =
            proven.filter(|id| self.revocations.is_unused() || !self.revocations.knows(&self.format.key(id)));
        let first = proven.next()?;
        if proven.all(|id| id == first) {
            return Some(first);
        }
        // A store that is down is noticed when the session is to end.
        Some(Box::pin(self.identify(headers, https, Activity::Ignored, worker)).await.presented.unwrap_or(first))
    }

    /// Whether cookies of this name belong to these sessions, over https or over http.
    pub fn owns_cookie(&self, name: &[u8]) -> bool {
        let takes = |known: &str| cookie_header::is_taken_for(name, known.as_bytes());
        [true, false].into_iter().any(|https| takes(self.format.cookie_name(https)))
    }

    /// Whether the gateway alone may set their cookie.
    pub fn are_the_gateways_own(&self) -> bool {
        matches!(self.format, Format::Own(Own::Onedoor(_)))
    }

    /// Whether an upstream may steer them.
    pub fn are_written_here(&self) -> bool {
        self.format.own().is_some()
    }

    /// The name of a second cookie that the first means nothing without.
    pub fn companion(&self) -> Option<&str> {
        self.format.companion().map(|name| &**name)
    }

    /// The id that a cookie's value proves: a good signature, or the right form where nothing is signed. `companion`
    /// is the value of [`Sessions::companion`].
    pub fn verify(&self, value: &[u8], companion: Option<&[u8]>) -> Option<SessionId> {
        self.format.verify(Presented { value, companion, now: clock::since_epoch() }).ok()
    }

    async fn look_up(&self, id: SessionId, activity: Activity, worker: Worker) -> Result<Finding, Outage> {
        let key = self.format.key(&id);
        if self.revocations.knows(&key) {
            return Ok(Finding::Absent(Absence::Revoked, None));
        }
        let Reading { record, remaining, beside: [mark, tombstone] } = self.read(&key, worker).await?;
        let now = clock::since_epoch();
        if let Some(lifetime) = self.lifetime.as_ref().filter(|lifetime| lifetime.needs_more()) {
            lifetime.learn(&key, remaining, &mark, now);
        }
        if tombstone != Record::Absent {
            self.revocations.note(&key, Some(End::Revoked));
            return Ok(Finding::Absent(Absence::Revoked, None));
        }
        let (finding, ends) = self.judge(id, record, now, worker);
        if let (Format::Own(Own::Onedoor(onedoor)), Some(ends), Activity::Counts) = (&self.format, ends, activity)
            && let Some(ttl) = onedoor.renewal(ends, remaining, now)
        {
            // The session is valid whether or not the store takes the renewal; the next request tries again.
            let _ = self.store.renew(worker, &key, ttl).await;
        }
        self.settle(finding, &key, activity, now, worker).await
    }

    /// The record, and whatever is kept beside it. Where nothing can be, nothing more is asked for.
    async fn read(&self, key: &str, worker: Worker) -> Result<Reading, Outage> {
        let mark = self.lifetime.as_ref().and_then(|lifetime| lifetime.mark_key(key));
        let tombstone = self.revocations.tombstone_key(key);
        let is_own = matches!(self.format, Format::Own(Own::Onedoor(_)));
        if is_own || tombstone.is_some() || self.lifetime.as_ref().is_some_and(Lifetime::needs_more) {
            return self.store.read_whole(worker, key, [mark.as_deref(), tombstone.as_deref()]).await;
        }
        let record = self.store.read(worker, key).await?;
        Ok(Reading { record, remaining: None, beside: [Record::Absent, Record::Absent] })
    }

    /// Holds a session against its limits.
    async fn settle(
        &self,
        finding: Finding,
        key: &str,
        activity: Activity,
        now: Duration,
        worker: Worker,
    ) -> Result<Finding, Outage> {
        let Some(lifetime) = &self.lifetime else { return Ok(finding) };
        match &finding {
            Finding::Valid(session) => {
                let subject = Subject { key, user: &session.user, data: &session.record, activity, now };
                if let Err(absence) = Box::pin(lifetime.judge(subject, &self.store, worker)).await? {
                    self.revocations.note(key, Some(End::Over));
                    return Ok(Finding::Absent(absence, None));
                }
                self.revocations.note(key, None);
            }
            Finding::Absent(Absence::NotFound | Absence::Anonymous, _) => {
                Box::pin(lifetime.forget(key, &self.store, worker)).await;
            }
            Finding::Absent(..) => {}
        }
        Ok(finding)
    }

    /// What a record means, and when it ends by its own account.
    fn judge(&self, id: SessionId, record: Record, now: Duration, worker: Worker) -> (Finding, Option<Duration>) {
        let absent = |absence, id| (Finding::Absent(absence, id), None);
        let bytes = match record {
            Record::Present(bytes) => bytes,
            Record::Absent => return absent(Absence::NotFound, None),
            Record::Unreadable(why) => {
                self.verdicts.unreadable(worker);
                return absent(Absence::Unreadable(why), None);
            }
        };
        let Opened { data, ends } = match self.format.open(&bytes, &self.selection, now) {
            Ok(opened) => opened,
            Err(absence) => {
                if matches!(absence, Absence::Unreadable(_)) {
                    self.verdicts.unreadable(worker);
                }
                return absent(absence, None);
            }
        };
        let Some(user) = self.user.iter().find_map(|path| data.at(path).and_then(user_id)) else {
            return (Finding::Absent(Absence::Anonymous, Some(id)), ends);
        };
        let roles = self.roles.as_ref().and_then(|path| data.at(path)).map(roles).unwrap_or_default();
        let session = Session { name: self.name.clone(), id, user, roles, record: data, own_members: self.own_members };
        (Finding::Valid(Box::new(session)), ends)
    }
}

/// A user's id is text that is not empty, or a whole number.
fn user_id(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(text.to_string()),
        Value::Integer(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Roles are text or a list of text; any other shape is no role.
fn roles(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Text(text) => Some(text.to_string()),
        _ => None,
    };
    match value {
        Value::List(items) => items.iter().map(text).collect::<Option<_>>().unwrap_or_default(),
        single => text(single).into_iter().collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
