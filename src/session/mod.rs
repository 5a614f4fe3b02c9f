//! Sessions: from a Cookie header to who is calling, and, for managed sessions, from commands to records.

mod absence;
pub mod format;
pub mod id;
pub mod managed;
pub mod store;
pub mod value;
mod verdicts;

use crate::{
    clock,
    config::{self, path::RecordPath},
    http::cookie_header::{self, Pair},
    tasks::Worker,
    telemetry::metrics::Metrics,
};
pub use absence::Absence;
use format::{Format, Opened, Own, Presented};
use http::HeaderMap;
use id::SessionId;
use std::sync::Arc;
use store::{Outage, Record, Store};
use value::{Value, json, selection::Selection};
use verdicts::Verdicts;

/// The most cookies of one request that the store is asked about.
const LOOKUPS_MAX: usize = 8;

/// One configured `[session]`, ready to judge cookies.
#[derive(Debug)]
pub struct Sessions {
    name: Arc<str>,
    format: Format,
    own_members: &'static [&'static str],
    user: Vec<RecordPath>,
    roles: Option<RecordPath>,
    /// What of a record is read, where the format can leave out the rest.
    selection: Selection,
    forwards_cookie: bool,
    store: Store,
    verdicts: Verdicts,
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

/// How the Cookie header must change before it is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieEdit {
    /// Of cookies of this name …
    pub name: Arc<str>,
    /// … only the pair at this position (counted over all pairs of all Cookie lines) stays, or none.
    pub keep: Option<usize>,
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

/// Where a cookie stands in the Cookie header, and its companion if the format has one.
#[derive(Debug, Clone, Copy)]
struct Place {
    cookie: usize,
    companion: Option<usize>,
}

/// What the cookies of a request have shown so far.
#[derive(Default)]
struct Search {
    cookies: usize,
    lookups: usize,
    known: Option<(Place, Box<Session>)>,
    anonymous: Option<(Place, SessionId)>,
    absence: Option<Absence>,
    ended: bool,
}

impl Sessions {
    /// Prepares a `[session]`; `store` holds its records.
    pub fn compile(config: &config::session::Session, store: Store, metrics: &Metrics) -> Self {
        Self {
            verdicts: Verdicts::compile(config, metrics),
            name: config.name.as_str().into(),
            format: Format::compile(config),
            user: config.user.clone(),
            roles: config.roles.clone(),
            own_members: config.preset.own_members,
            selection: Selection::whole(),
            forwards_cookie: config.forward_cookie,
            store,
        }
    }

    /// Leaves out of records what lies neither at `paths` nor where the session itself looks.
    pub fn reading_only<'a>(mut self, paths: impl IntoIterator<Item = &'a RecordPath>) -> Self {
        self.selection = Selection::default();
        self.selection.extend(&self.user);
        self.selection.extend(&self.roles);
        self.selection.extend(paths);
        self
    }

    /// The name that upstreams, rules and logs know it by.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Judges the cookies of a request: the first that holds a valid session with a user counts. Of cookies that
    /// may name a record only the first eight are looked up; one that does not verify never reaches the store.
    pub async fn identify(&self, headers: &HeaderMap, https: bool, worker: Worker) -> Identified {
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
            let (id, place) = match self.prove(pair, headers) {
                Ok(proven) if search.lookups < LOOKUPS_MAX => proven,
                Ok(_) => continue,
                Err(absence) => {
                    search.note(absence);
                    continue;
                }
            };
            search.lookups += 1;
            match self.look_up(id, worker).await {
                Ok(finding) => search.found(place, finding),
                Err(cause) => outage = Some(cause),
            }
        }
        let edits = self.edits(&search, https);
        let presented = search.known.as_ref().map(|(_, session)| session.id.clone());
        let presented = presented.or(search.anonymous.map(|(_, id)| id));
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
        let mut proven = self.pairs(headers, https).filter_map(|pair| self.prove(pair, headers).ok());
        let (first, _) = proven.next()?;
        if proven.all(|(id, _)| id == first) {
            return Some(first);
        }
        // A store that is down is noticed when the session is to end.
        Some(Box::pin(self.identify(headers, https, worker)).await.presented.unwrap_or(first))
    }

    /// The changes to the Cookie header on rules that do not look at sessions.
    pub fn strip_edits(&self, headers: &HeaderMap, https: bool) -> Vec<CookieEdit> {
        let name = self.format.cookie_name(https).as_bytes();
        let is_there = || cookie_header::pairs(headers).any(|pair| cookie_header::is_taken_for(pair.name, name));
        if !self.forwards_cookie && is_there() { self.keeping(None, https) } else { Vec::new() }
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

    /// The id that a cookie proves, and where the cookies stand that prove it.
    fn prove(&self, pair: Pair<'_>, headers: &HeaderMap) -> Result<(SessionId, Place), Absence> {
        let mut presented = Presented { value: pair.value, companion: None, now: clock::since_epoch() };
        let mut place = Place { cookie: pair.position, companion: None };
        let Some(companion) = self.format.companion() else {
            return self.format.verify(presented).map(|id| (id, place));
        };
        let named = |pair: &Pair<'_>| pair.name == companion.as_bytes();
        let mut absence = Absence::BadSignature;
        for companion in cookie_header::pairs(headers).filter(named).take(LOOKUPS_MAX) {
            (presented.companion, place.companion) = (Some(companion.value), Some(companion.position));
            match self.format.verify(presented) {
                Ok(id) => return Ok((id, place)),
                Err(cause) => absence = cause,
            }
        }
        Err(absence)
    }

    fn pairs<'a>(&'a self, headers: &'a HeaderMap, https: bool) -> impl Iterator<Item = Pair<'a>> {
        let name = self.format.cookie_name(https).as_bytes();
        cookie_header::pairs(headers).filter(move |pair| pair.name == name)
    }

    async fn look_up(&self, id: SessionId, worker: Worker) -> Result<Finding, Outage> {
        let key = self.format.key(&id);
        let (record, remaining) = match self.format {
            Format::Own(Own::Onedoor(_)) => {
                let reading = self.store.read_whole(worker, &key, [None; 2]).await?;
                (reading.record, reading.remaining)
            }
            Format::Own(Own::Express(_)) | Format::Foreign(_) => (self.store.read(worker, &key).await?, None),
        };
        let bytes = match record {
            Record::Present(bytes) => bytes,
            Record::Absent => return Ok(Finding::Absent(Absence::NotFound, None)),
            Record::Unreadable(why) => {
                self.verdicts.unreadable(worker);
                return Ok(Finding::Absent(Absence::Unreadable(why), None));
            }
        };
        let now = clock::since_epoch();
        let Opened { data, ends } = match self.format.open(&bytes, &self.selection, now) {
            Ok(opened) => opened,
            Err(absence) => {
                if matches!(absence, Absence::Unreadable(_)) {
                    self.verdicts.unreadable(worker);
                }
                return Ok(Finding::Absent(absence, None));
            }
        };
        if let (Format::Own(Own::Onedoor(onedoor)), Some(ends)) = (&self.format, ends)
            && let Some(ttl) = onedoor.renewal(ends, remaining, now)
        {
            // The session is valid whether or not the store takes the renewal; the next request tries again.
            let _ = self.store.renew(worker, &key, ttl).await;
        }
        let Some(user) = self.user.iter().find_map(|path| data.at(path).and_then(user_id)) else {
            return Ok(Finding::Absent(Absence::Anonymous, Some(id)));
        };
        let roles = self.roles.as_ref().and_then(|path| data.at(path)).map(roles).unwrap_or_default();
        Ok(Finding::Valid(Box::new(Session {
            name: self.name.clone(),
            id,
            user,
            roles,
            record: data,
            own_members: self.own_members,
        })))
    }

    /// Gateway and app must never see different users, and what the gateway itself ended must not look alive to the
    /// app.
    fn edits(&self, search: &Search, https: bool) -> Vec<CookieEdit> {
        if search.cookies == 0 {
            return Vec::new();
        }
        if !self.forwards_cookie {
            return self.keeping(None, https);
        }
        match &search.known {
            Some((place, _)) if search.cookies > 1 || place.companion.is_some() => self.keeping(Some(*place), https),
            None if search.ended => self.keeping(search.anonymous.as_ref().map(|(place, _)| *place), https),
            _ => Vec::new(),
        }
    }

    fn keeping(&self, keep: Option<Place>, https: bool) -> Vec<CookieEdit> {
        let cookie = self.format.cookie_name(https).clone();
        let mut edits = vec![CookieEdit { name: cookie, keep: keep.map(|place| place.cookie) }];
        let companion = self.format.companion().cloned();
        edits.extend(companion.map(|name| CookieEdit { name, keep: keep.and_then(|place| place.companion) }));
        edits
    }
}

impl Search {
    fn found(&mut self, place: Place, finding: Finding) {
        match finding {
            Finding::Valid(session) => self.known = Some((place, session)),
            Finding::Absent(absence, id) => {
                self.ended |= absence == Absence::Expired;
                self.anonymous = self.anonymous.take().or(id.map(|id| (place, id)));
                self.note(absence);
            }
        }
    }

    /// Of several causes the one that came closest to a session is told.
    fn note(&mut self, absence: Absence) {
        if self.absence.as_ref().is_none_or(|known| known.closeness() < absence.closeness()) {
            self.absence = Some(absence);
        }
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
