//! One record: from memory where that may be believed, from the store where it must be, and once for all who ask.

use super::{
    Absence, Activity, Finding, Identified, Need, Session, Sessions, Verdict,
    cookies::Place,
    format::{Format, Opened, Own},
    id::SessionId,
    lifetime::{Lifetime, Subject},
    near_cache::{Loaded, Named, NearCache},
    revocation::End,
    store::{Outage, Reading, Record},
    value::Value,
};
use crate::{
    clock,
    http::cookie_header,
    redis::Change,
    tasks::{self, Worker},
};
use http::HeaderMap;
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// How a record is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Who asks.
    pub worker: Worker,
    /// When the request came: what was read before is memory.
    pub begun: Instant,
    /// What is believed.
    pub trust: Trust,
    /// Whether it is remembered for a moment that there is no session.
    pub keeps_absence: bool,
    /// How old a session may be that passes while the store cannot be asked; `None` = none passes.
    pub stale_for: Option<Duration>,
}

/// What is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Memory, too, where it is proven.
    Memory,
    /// Only what the store says after the request came.
    Store,
}

/// What became of one cookie.
pub(super) struct Found {
    pub(super) finding: Finding,
    pub(super) source: Source,
    /// When a valid session began, since the Unix epoch, as far as that is known.
    pub(super) started: Option<Duration>,
}

/// Where a verdict comes from. Of several records' the last in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// From the store, asked after the request came.
    Store,
    /// From memory, proven to be current.
    Memory,
    /// From memory, while the store could not be asked.
    Stale,
}

impl Source {
    /// One word for it, for logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Memory => "memory",
            Self::Stale => "stale",
        }
    }
}

impl From<Worker> for Look {
    /// The strictest: the store is asked, and what it does not say is an outage.
    fn from(worker: Worker) -> Self {
        Self { worker, begun: clock::now(), trust: Trust::Store, keeps_absence: false, stale_for: None }
    }
}

impl Found {
    pub(super) fn absent(absence: Absence) -> Self {
        Self { finding: Finding::Absent(absence, None), source: Source::Store, started: None }
    }

    /// Whether the store has no such record.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.finding, Finding::Absent(Absence::NotFound, _))
    }
}

impl Sessions {
    /// Judges a request from memory alone; `None` = that cannot be done, or the rule would not be content.
    pub fn recall(&self, headers: &HeaderMap, https: bool, need: Need<'_>, worker: Worker) -> Option<Identified> {
        // A session with limits of its own is held against them each time, and a rotation of secrets is counted.
        let is_plain = self.lifetime.is_none() && self.newest.is_none() && need.max_auth_age.is_none();
        let near = self.near.as_ref().filter(|_| is_plain)?;
        let mut pairs = self.brought(headers, https);
        let (first, _) = pairs.next().filter(|(_, counts)| *counts)?;
        let named = near.named(first.value).filter(|named| !self.revocations.knows(&named.key))?;
        let Finding::Valid(session) = near.recall(&named, near.moment(clock::now()), worker)? else {
            return None;
        };
        if !session.has_any_of(need.roles) {
            return None;
        }
        let place = Place::alone(first.position);
        let edits = match self.forwards_cookie {
            true if pairs.next().is_none() => Vec::new(),
            true => self.keeping(Some(place), https),
            false => self.keeping(None, https),
        };
        let (verdict, source) = (Verdict::Known(session), Some(Source::Memory));
        Some(Identified { verdict, started: None, presented: None, edits, source })
    }

    /// Whether the request brings a cookie of these sessions.
    pub fn is_addressed(&self, headers: &HeaderMap, https: bool) -> bool {
        let name = self.format.cookie_name(https).as_bytes();
        cookie_header::pairs(headers).any(|pair| cookie_header::is_taken_for(pair.name, name))
    }

    /// An upstream may have changed the record of this id: the next request reads it again, and does not wait until
    /// Redis tells.
    pub fn doubt(self: &Arc<Self>, id: &SessionId, worker: Worker) {
        if self.near.is_some() || !self.tethers.is_unused() {
            self.changed(&self.format.key(id), Change::Any, worker);
        }
    }

    /// The gateway itself changed a record: the next request must see it, and does not wait until Redis tells.
    pub(super) fn changed(self: &Arc<Self>, key: &str, change: Change, worker: Worker) {
        if let Some(near) = &self.near {
            near.notice(key.as_bytes(), change);
        }
        self.judge_streams(key, worker);
    }

    pub(super) async fn look_up(
        self: &Arc<Self>,
        named: &Arc<Named>,
        activity: Activity,
        look: Look,
    ) -> Result<Found, Outage> {
        if let Some(absence) = self.revocations.absence(&named.key) {
            return Ok(Found::absent(absence));
        }
        let (finding, source) = self.find(named, activity, look).await?;
        self.settle(finding, source, &named.key, activity, look.worker).await
    }

    /// The record as memory or the store has it, whatever its age.
    async fn find(
        self: &Arc<Self>,
        named: &Arc<Named>,
        activity: Activity,
        look: Look,
    ) -> Result<(Finding, Source), Outage> {
        let Some(near) = &self.near else {
            let loaded = self.load(named, activity, look.worker).await?;
            return Ok((loaded.finding, Source::Store));
        };
        if look.trust == Trust::Memory {
            let now = near.moment(clock::now());
            if let Some(finding) = near.recall(named, now, look.worker) {
                return Ok((finding, Source::Memory));
            }
        }
        let stale = || near.recall_stale(&named.key, look.stale_for?, look.worker);
        // Who may pass anyway does not wait for a store that is known to be away.
        if self.store.degraded()
            && let Some(finding) = stale()
        {
            return Ok((finding, Source::Stale));
        }
        match self.read(near, named, activity, look).await {
            Ok(found) => Ok(found),
            Err(outage) => stale().map(|finding| (finding, Source::Stale)).ok_or(outage),
        }
    }

    /// Reads a record, together with everybody else who wants it. Who trusts the store alone takes no answer to a
    /// question that was sent before the request came.
    async fn read(
        self: &Arc<Self>,
        near: &NearCache,
        named: &Arc<Named>,
        activity: Activity,
        look: Look,
    ) -> Result<(Finding, Source), Outage> {
        let begun = near.moment(look.begun);
        loop {
            let (read, reading) = near.read(&named.key, look.keeps_absence, look.worker);
            if let Some(reading) = reading {
                let (sessions, named) = (self.clone(), named.clone());
                // A task of its own: whoever waits may leave, and the others still get their answer.
                tasks::background(async move {
                    let loaded = sessions.load(&named, activity, look.worker).await;
                    if let Some(near) = &sessions.near {
                        near.answered(&named.key, reading, loaded, look.worker);
                    }
                });
            }
            let source = if read.sent < begun { Source::Memory } else { Source::Store };
            let patience = self.store.patience().saturating_sub(look.begun.elapsed());
            let finding = read.wait(patience).await?;
            if source == Source::Store || look.trust == Trust::Memory {
                return Ok((finding, source));
            }
        }
    }

    async fn load(self: &Arc<Self>, named: &Named, activity: Activity, worker: Worker) -> Result<Loaded, Outage> {
        let mut reading = self.read_all(&named.key, worker).await?;
        let proof = reading.from.take().and_then(|redis| self.near.as_ref()?.proof(&redis, &named.key));
        Ok(Loaded { proof, ..self.understand(reading, named, activity, worker).await })
    }

    async fn understand(
        self: &Arc<Self>,
        reading: Reading,
        named: &Named,
        activity: Activity,
        worker: Worker,
    ) -> Loaded {
        let key = &*named.key;
        let Reading { record, mut remaining, beside: [mark, tombstone], from: _ } = reading;
        let now = clock::since_epoch();
        if let Some(lifetime) = self.lifetime.as_ref().filter(|lifetime| lifetime.needs_more()) {
            lifetime.learn(key, remaining, &mark, now);
        }
        if tombstone != Record::Absent {
            if record == Record::Absent {
                self.revocations.note(key, Some(End::Revoked));
                return Loaded::absent(Absence::Revoked);
            }
            self.revocations.note(key, Some(End::Resurrected));
            self.verdicts.resurrected(worker);
            return Loaded::absent(Absence::Resurrected);
        }
        let bytes = match record {
            Record::Present(bytes) => bytes,
            Record::Absent => return Loaded::absent(Absence::NotFound),
            Record::Unreadable(why) => {
                self.verdicts.unreadable(worker);
                return Loaded::absent(Absence::Unreadable(why));
            }
        };
        let (digest, known) = match &self.near {
            Some(near) => {
                let (digest, known) = near.understood(key, &bytes);
                (Some(digest), known.filter(|entry| entry.ends.is_none_or(|ends| now < ends)))
            }
            None => (None, None),
        };
        let (length, unchanged) = (bytes.len(), known.is_some());
        let (finding, ends) = match known {
            Some(entry) => (entry.finding.clone(), entry.ends),
            None => match self.format.open(&bytes, &self.selection, now) {
                Ok(Opened { data, ends }) => (self.judge(data, ends, named), ends),
                Err(absence) => {
                    if matches!(absence, Absence::Unreadable(_)) {
                        self.verdicts.unreadable(worker);
                    }
                    return Loaded::absent(absence);
                }
            },
        };
        if let (Finding::Valid(session), false) = (&finding, unchanged) {
            self.enlist_found(key, &session.user, worker).await;
        }
        let mut fresh_for = None;
        if let (Format::Own(Own::Onedoor(onedoor)), Some(ends)) = (&self.format, ends) {
            fresh_for = Some(onedoor.renewal_lag());
            match onedoor.renewal(ends, remaining, now) {
                None => {}
                // Somebody whose request counts must find it due.
                Some(_) if activity == Activity::Ignored => fresh_for = Some(Duration::ZERO),
                Some(ttl) => {
                    // The session is valid whether or not the store takes the renewal; the next request tries again.
                    let _ = self.store.renew(worker, key, ttl).await;
                    remaining = remaining.max(Some(ttl));
                }
            }
        }
        let left = ends.map(|ends| ends.saturating_sub(now));
        let remaining = remaining.into_iter().chain(left).min();
        Loaded { finding, proof: None, digest, bytes: length, ends, remaining, fresh_for, unchanged }
    }

    /// The record, and whatever is kept beside it. Where nothing can be, nothing more is asked for.
    async fn read_all(&self, key: &str, worker: Worker) -> Result<Reading, Outage> {
        let mark = self.lifetime.as_ref().and_then(|lifetime| lifetime.mark_key(key));
        let follows = self.near.as_ref().is_some_and(|near| near.follows(key));
        let tombstone = self.revocations.tombstone_key(key).filter(|_| !follows);
        let needs_whole = matches!(self.format, Format::Own(Own::Onedoor(_))) || self.format.keeps_hashes();
        let is_dated = self.near.is_some() || self.lifetime.as_ref().is_some_and(Lifetime::needs_more);
        if needs_whole || is_dated || tombstone.is_some() {
            return self.store.read_whole(worker, key, [mark.as_deref(), tombstone.as_deref()]).await;
        }
        let record = self.store.read(worker, key).await?;
        Ok(Reading::alone(record))
    }

    /// Holds a session against its limits.
    async fn settle(
        &self,
        finding: Finding,
        source: Source,
        key: &str,
        activity: Activity,
        worker: Worker,
    ) -> Result<Found, Outage> {
        let mut started = if let Finding::Valid(session) = &finding { session.begun } else { None };
        let Some(lifetime) = &self.lifetime else { return Ok(Found { finding, source, started }) };
        match &finding {
            Finding::Valid(session) => {
                let now = clock::since_epoch();
                let subject = Subject { key, user: &session.user, data: &session.record, activity, now };
                match Box::pin(lifetime.judge(subject, &self.store, worker)).await? {
                    Ok(told) => started = told,
                    Err(absence) => {
                        self.revocations.note(key, Some(End::Over));
                        return Ok(Found { source, ..Found::absent(absence) });
                    }
                }
                self.revocations.note(key, None);
            }
            Finding::Absent(Absence::NotFound | Absence::Anonymous, _) => {
                Box::pin(lifetime.forget(key, &self.store, worker)).await;
            }
            Finding::Absent(..) => {}
        }
        Ok(Found { finding, source, started })
    }

    fn judge(&self, mut data: Value, ends: Option<Duration>, named: &Named) -> Finding {
        let id = named.id.clone();
        let Some(user) = self.user_in(&data) else {
            return Finding::Absent(Absence::Anonymous, Some(id));
        };
        let roles = self.roles.as_ref().and_then(|path| data.at(path)).map(roles).unwrap_or_default();
        let begun = match &self.format {
            Format::Own(Own::Onedoor(onedoor)) => ends.map(|ends| onedoor.begun(ends)),
            _ => None,
        };
        if self.keeps_record {
            data.shrink()
        } else {
            data = Value::Null
        }
        let (name, own_members, identity) = (self.name.clone(), self.own_members, OnceLock::new());
        Finding::Valid(Arc::new(Session { name, id, user, roles, record: data, own_members, begun, identity }))
    }
}

/// A user's id is text that is not empty, or a whole number.
pub(super) fn user_id(value: &Value) -> Option<String> {
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
    let mut roles: Vec<_> = match value {
        Value::List(items) => items.iter().map(text).collect::<Option<_>>().unwrap_or_default(),
        single => text(single).into_iter().collect(),
    };
    roles.shrink_to_fit();
    roles
}
