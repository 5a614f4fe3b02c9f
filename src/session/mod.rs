//! Sessions: from a Cookie header to who is calling, and, for managed sessions, from commands to records.

mod absence;
mod beside;
mod cookies;
mod decode;
mod deletion;
pub mod format;
pub mod id;
mod identity_values;
mod lifetime;
mod look_up;
pub mod managed;
mod mark;
pub mod near_cache;
mod need;
mod newcomers;
mod recent;
mod renewals;
mod revocation;
mod roster;
pub mod store;
mod tether;
pub mod value;
mod verdicts;
mod watcher;

pub use crate::redis::Status;
use crate::{
    clock,
    config::{self, path::RecordPath},
    http::cookie_header,
    tasks::Worker,
    telemetry::metrics::Metrics,
};
pub use absence::Absence;
pub use cookies::{CookieEdit, Keep};
use cookies::{Place, Search};
use format::{Format, Own, Presented};
use http::HeaderMap;
use id::SessionId;
pub use identity_values::IdentityValues;
use lifetime::Lifetime;
use look_up::Found;
pub use look_up::{Look, Source, Trust};
use near_cache::NearCache;
pub use need::Need;
use recent::Recent;
use revocation::Revocations;
use roster::Roster;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use store::{Outage, Store};
pub use tether::Tether;
use tether::Tethers;
use value::{Value, json, selection::Selection};
use verdicts::Verdicts;
pub use watcher::{Watcher, compile};

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
    /// Whether anybody asks for more of a record than its user and roles.
    keeps_record: bool,
    forwards_cookie: bool,
    lifetime: Option<Lifetime>,
    revocations: Revocations,
    deletion_is_final: bool,
    newcomers: Recent<()>,
    roster: Option<Roster>,
    store: Store,
    verdicts: Verdicts,
    near: Option<NearCache>,
    tethers: Arc<Tethers>,
}

/// Whether a request counts as use of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Counts,
    /// It does not, such as a page that polls.
    Ignored,
}

/// A session that is valid and has a user. What is looked at each time comes first.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Session {
    /// What upstreams are told of it, once somebody has written that.
    pub identity: OnceLock<IdentityValues>,
    /// The name of its `[session]`.
    pub name: Arc<str>,
    /// Its id.
    pub id: SessionId,
    /// The user's id as text.
    pub user: String,
    /// The user's roles.
    pub roles: Vec<String>,
    /// The record, or what of it is read and not told above: see [`Sessions::reading_only`].
    pub record: Value,
    /// The record's members that are the framework's own; `*` ends a beginning.
    pub own_members: &'static [&'static str],
    /// When it began, since the Unix epoch, where the gateway's own record says so.
    pub begun: Option<Duration>,
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
    Known(Arc<Session>),
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
    /// When a valid session began, since the Unix epoch, as far as that is known.
    pub started: Option<Duration>,
    /// The id of the record that was found, if any, even if it has no user: what `Session-Update` changes.
    pub presented: Option<SessionId>,
    /// The changes to the Cookie header that are needed.
    pub edits: Vec<CookieEdit>,
    /// Where the verdict comes from, if a record was asked about.
    pub source: Option<Source>,
}

/// What one cookie turned out to be.
#[derive(Debug, Clone)]
enum Finding {
    Valid(Arc<Session>),
    /// No session with a user; the id is that of a record which can be read.
    Absent(Absence, Option<SessionId>),
}

impl Sessions {
    /// Prepares a `[session]`; `store` holds its records.
    pub fn compile(config: &config::session::Session, store: Store, metrics: &Metrics) -> Self {
        let format = Format::compile(config, &config.format);
        let deletion_is_final = config.deletion_is_final && watcher::may_hear(config, &format);
        Self {
            verdicts: Verdicts::compile(config, metrics),
            name: config.name.as_str().into(),
            store: if format.keeps_hashes() { store.of_hashes() } else { store },
            format,
            newest: config.format.with_newest_secret().map(|newest| Format::compile(config, &newest)),
            user: config.user.clone(),
            roles: config.roles.clone(),
            own_members: config.preset.own_members,
            selection: Selection::whole(),
            keeps_record: true,
            forwards_cookie: config.forward_cookie,
            lifetime: Lifetime::compile(config),
            revocations: Revocations::compile(config, deletion_is_final),
            deletion_is_final,
            newcomers: Recent::default(),
            roster: Roster::compile(config),
            near: None,
            tethers: Arc::default(),
        }
    }

    /// Leaves out of records what lies neither at `paths` nor where the session itself looks.
    pub fn reading_only<'a>(mut self, paths: impl IntoIterator<Item = &'a RecordPath>) -> Self {
        self.selection = Selection::default();
        self.selection.extend(&self.user);
        self.selection.extend(&self.roles);
        self.selection.extend(&self.format.judges_by());
        let (mut paths, own) = (paths.into_iter().peekable(), || self.lifetime.iter().flat_map(Lifetime::paths));
        self.keeps_record = paths.peek().is_some() || own().next().is_some();
        self.selection.extend(own());
        self.selection.extend(paths);
        self
    }

    /// The name that upstreams, rules and logs know it by.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Judges the cookies of a request: the first that holds a valid session with a user counts. Of cookies that
    /// may name a record only the first eight are looked up; one that does not verify never reaches the store.
    pub async fn identify(
        self: &Arc<Self>,
        headers: &HeaderMap,
        https: bool,
        activity: Activity,
        look: impl Into<Look>,
    ) -> Identified {
        let look = look.into();
        let mut search = Search::default();
        let mut outage = None;
        for (pair, counts) in self.brought(headers, https) {
            search.cookies += 1;
            if !counts {
                search.passed_over(Place::alone(pair.position));
                continue;
            }
            if search.known.is_some() || outage.is_some() {
                continue;
            }
            let (named, place) = match self.named(pair, headers) {
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
            let mut found = self.look_up(&named, activity, look).await;
            // Whoever is in memory was met before.
            let is_met = |found: &Found| found.source == Source::Memory && !found.is_missing();
            if self.expects_somebody() && !found.as_ref().is_ok_and(is_met) {
                found = Box::pin(self.meet(&named, found, activity, look.worker)).await;
            }
            if let (Ok(Found { finding: Finding::Valid(_), .. }), Some(newest)) = (&found, &self.newest) {
                self.verdicts.signed(self.prove(newest, pair, headers).is_ok(), look.worker);
            }
            match found {
                Ok(found) => search.found(place, found),
                Err(cause) => outage = Some(cause),
            }
        }
        let edits = self.edits(&search, https);
        let presented = search.known.as_ref().map(|(_, session)| session.id.clone());
        let presented = presented.or(search.anonymous);
        let (source, started) = (search.source, search.started);
        let verdict = match (search.known, outage) {
            (Some((_, session)), _) => Verdict::Known(session),
            (None, Some(outage)) => Verdict::Unknown(outage),
            (None, None) => Verdict::Absent(search.absence.unwrap_or(Absence::NoCookie)),
        };
        Identified { verdict, started, presented, edits, source }
    }

    /// The cookies of a request were judged, and that is the end of it.
    pub fn count(&self, verdict: &Verdict, worker: Worker) {
        self.verdicts.count(verdict, worker);
    }

    /// The id that the request's cookies prove, if they prove one. Whether it has a record is asked only where
    /// several cookies prove one, so that a planted cookie does not stand before the session that is to end.
    pub async fn presented_by_id(
        self: &Arc<Self>,
        headers: &HeaderMap,
        https: bool,
        worker: Worker,
    ) -> Option<SessionId> {
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

    /// Whether cookies of this name prove these sessions' cookies.
    pub fn owns_companion(&self, name: &[u8]) -> bool {
        self.companion().is_some_and(|known| cookie_header::is_taken_for(name, known.as_bytes()))
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
    fn companion(&self) -> Option<&str> {
        self.format.companion().map(|name| &**name)
    }

    /// The id that a cookie's value proves: a good signature, or the right form where nothing is signed. `companion`
    /// is the value of the cookie that proves it, see [`Sessions::owns_companion`].
    pub fn verify(&self, value: &[u8], companion: Option<&[u8]>) -> Option<SessionId> {
        self.format.verify(Presented { value, companion, now: clock::since_epoch() }).ok()
    }
}

#[cfg(test)]
pub(crate) mod tests;
