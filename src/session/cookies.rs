//! Which of a request's cookies counts, and which of them go on to the upstream.

use super::{
    Absence, Finding, Found, LOOKUPS_MAX, Session, Sessions, Source,
    format::{Format, Presented},
    id::SessionId,
    near_cache::Named,
};
use crate::{
    clock,
    http::cookie_header::{self, Pair, Writing},
};
use http::HeaderMap;
use std::{sync::Arc, time::Duration};

/// How the Cookie header must change before it is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieEdit {
    /// Of cookies of this name …
    pub name: Arc<str>,
    /// … these stay.
    pub keep: Keep,
}

/// Which cookies of one name stay. Positions are counted over all pairs of all Cookie lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Nothing,
    /// The one at this position.
    Only(usize),
    /// All but those at these positions; other spellings of the name go with them.
    AllBut(Vec<usize>),
}

/// Where a cookie stands in the Cookie header, and its companion if the format has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    cookie: usize,
    companion: Option<usize>,
}

/// What the cookies of a request have shown so far.
#[derive(Default)]
pub(super) struct Search {
    pub(super) cookies: usize,
    pub(super) lookups: usize,
    pub(super) known: Option<(Place, Arc<Session>)>,
    pub(super) anonymous: Option<SessionId>,
    pub(super) absence: Option<Absence>,
    pub(super) source: Option<Source>,
    /// When the known session began.
    pub(super) started: Option<Duration>,
    /// The cookies that must not go on where none counts: those of sessions that the gateway ended, and those that
    /// nobody looked up: an app may know somebody by them.
    ended: Vec<Place>,
}

impl CookieEdit {
    /// Whether a cookie goes on as far as this edit is concerned.
    pub fn keeps(&self, pair: &Pair<'_>) -> bool {
        if !cookie_header::is_taken_for(pair.name, self.name.as_bytes()) {
            return true;
        }
        match &self.keep {
            Keep::Nothing => false,
            Keep::Only(position) => *position == pair.position,
            Keep::AllBut(cut) => pair.name == self.name.as_bytes() && !cut.contains(&pair.position),
        }
    }
}

impl Place {
    /// Of a cookie without a companion.
    pub(super) fn alone(cookie: usize) -> Self {
        Self { cookie, companion: None }
    }
}

impl Search {
    pub(super) fn found(&mut self, place: Place, Found { finding, source, started }: Found) {
        self.source = self.source.max(Some(source));
        self.started = started;
        match finding {
            Finding::Valid(session) => self.known = Some((place, session)),
            Finding::Absent(absence, id) => {
                if absence.is_our_doing() {
                    self.ended.push(place);
                }
                self.anonymous = self.anonymous.take().or(id);
                self.note(absence);
            }
        }
    }

    /// A cookie that is not looked up: it proves one id too many, or is spelled as most apps do not read it.
    pub(super) fn passed_over(&mut self, place: Place) {
        self.ended.push(place);
    }

    /// Of several causes the one that came closest to a session is told.
    pub(super) fn note(&mut self, absence: Absence) {
        if self.absence.as_ref().is_none_or(|known| known.closeness() < absence.closeness()) {
            self.absence = Some(absence);
        }
    }
}

impl Sessions {
    /// The changes to the Cookie header on rules that do not look at sessions. The store is not asked.
    pub fn strip_edits(&self, headers: &HeaderMap, https: bool) -> Vec<CookieEdit> {
        if !self.forwards_cookie {
            let name = self.format.cookie_name(https).as_bytes();
            let is_there = cookie_header::pairs(headers).any(|pair| cookie_header::is_taken_for(pair.name, name));
            return if is_there { self.keeping(None, https) } else { Vec::new() };
        }
        if self.revocations.is_unused() {
            return Vec::new();
        }
        let proven = self.pairs(headers, https).filter_map(|pair| self.prove(&self.format, pair, headers).ok());
        let ended = proven.filter(|(id, _)| self.revocations.knows_any(&self.format.key(id)));
        self.cutting(ended.map(|(_, place)| place).collect(), https)
    }

    /// The changes to the Cookie header of a request that passes as anonymous because nobody knows better.
    pub fn cut_edits(&self, headers: &HeaderMap, https: bool) -> Vec<CookieEdit> {
        if self.is_addressed(headers, https) { self.keeping(None, https) } else { Vec::new() }
    }

    /// As [`Sessions::prove`], from memory where that is the same.
    pub(super) fn named(&self, pair: Pair<'_>, headers: &HeaderMap) -> Result<(Arc<Named>, Place), Absence> {
        let memory = self.near.as_ref().filter(|_| self.format.value_alone_proves());
        if let Some(named) = memory.and_then(|near| near.named(pair.value)) {
            return Ok((named, Place::alone(pair.position)));
        }
        let (id, place) = self.prove(&self.format, pair, headers)?;
        let key = self.format.key(&id);
        let named = Named::new(id, key);
        if let Some(near) = memory {
            near.name(pair.value, &named);
        }
        Ok((named, place))
    }

    /// The id that a cookie proves, and where the cookies stand that prove it.
    pub(super) fn prove(
        &self,
        format: &Format,
        pair: Pair<'_>,
        headers: &HeaderMap,
    ) -> Result<(SessionId, Place), Absence> {
        let mut presented = Presented { value: pair.value, companion: None, now: clock::since_epoch() };
        let mut place = Place { cookie: pair.position, companion: None };
        let Some(companion) = format.companion() else {
            return format.verify(presented).map(|id| (id, place));
        };
        let named = |pair: &Pair<'_>| self.counts(pair, companion.as_bytes());
        let mut absence = Absence::BadSignature;
        for companion in cookie_header::pairs(headers).filter(named).take(LOOKUPS_MAX) {
            (presented.companion, place.companion) = (Some(companion.value), Some(companion.position));
            match format.verify(presented) {
                Ok(id) => return Ok((id, place)),
                Err(cause) => absence = cause,
            }
        }
        Err(absence)
    }

    /// Whether the request brings several cookies of these sessions' name.
    pub fn are_brought_twice(&self, headers: &HeaderMap, https: bool) -> bool {
        self.pairs(headers, https).nth(1).is_some()
    }

    pub(super) fn pairs<'a>(&'a self, headers: &'a HeaderMap, https: bool) -> impl Iterator<Item = Pair<'a>> {
        self.brought(headers, https).filter_map(|(pair, counts)| counts.then_some(pair))
    }

    /// Every cookie that an app may take for one of these sessions, and whether it counts: another spelling never does.
    pub(super) fn brought<'a>(&'a self, headers: &'a HeaderMap, https: bool) -> impl Iterator<Item = (Pair<'a>, bool)> {
        let name = self.format.cookie_name(https).as_bytes();
        let overlooked = self.format.overlooks(headers);
        let taken = cookie_header::pairs(headers).filter(move |pair| cookie_header::is_taken_for(pair.name, name));
        taken.map(move |pair| (pair, !overlooked && self.counts(&pair, name)))
    }

    /// Whether the apps, too, read a pair as a cookie of this name with this value.
    fn counts(&self, pair: &Pair<'_>, name: &[u8]) -> bool {
        let reads = match pair.writing {
            Writing::Plain => true,
            Writing::Spaced => self.format.forgives_spaces(),
            Writing::Bare => false,
        };
        reads && pair.name == name
    }

    /// Gateway and app must never see different users, and what the gateway itself ended must not look alive to the
    /// app.
    pub(super) fn edits(&self, search: &Search, https: bool) -> Vec<CookieEdit> {
        if search.cookies == 0 {
            return Vec::new();
        }
        if !self.forwards_cookie {
            return self.keeping(None, https);
        }
        match &search.known {
            Some((place, _)) if search.cookies > 1 || place.companion.is_some() => self.keeping(Some(*place), https),
            Some(_) => Vec::new(),
            None => self.cutting(search.ended.clone(), https),
        }
    }

    pub(super) fn keeping(&self, keep: Option<Place>, https: bool) -> Vec<CookieEdit> {
        let only = |position: Option<usize>| position.map_or(Keep::Nothing, Keep::Only);
        self.both(https, only(keep.map(|place| place.cookie)), only(keep.and_then(|place| place.companion)))
    }

    fn cutting(&self, places: Vec<Place>, https: bool) -> Vec<CookieEdit> {
        if places.is_empty() {
            return Vec::new();
        }
        let cookies = places.iter().map(|place| place.cookie).collect();
        let companions = places.iter().filter_map(|place| place.companion).collect();
        self.both(https, Keep::AllBut(cookies), Keep::AllBut(companions))
    }

    fn both(&self, https: bool, cookie: Keep, companion: Keep) -> Vec<CookieEdit> {
        let mut edits = vec![CookieEdit { name: self.format.cookie_name(https).clone(), keep: cookie }];
        edits.extend(self.format.companion().map(|name| CookieEdit { name: name.clone(), keep: companion }));
        edits
    }
}
