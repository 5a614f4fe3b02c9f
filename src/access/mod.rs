//! Whether a caller may: the only maker of a [`Grant`], without which nothing is forwarded.

use crate::{
    caller::{Caller, Presented},
    config::{
        rules::{CrossSite, Requirement, Rule},
        store::OnOutage,
    },
    http::{Head, arrival::Arrival, origin, site::Site},
    session::{Absence, Activity, CookieEdit, Need, Session, Verdict, id::SessionId, store::Outage},
};
use http::{
    HeaderName, Method,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, UPGRADE},
};
use ipnet::IpNet;
use std::{sync::Arc, time::Duration};

/// A rule's demands on the caller.
#[derive(Debug)]
pub struct Access {
    requirement: Requirement,
    accepts: Box<[usize]>,
    roles: Arc<[String]>,
    max_auth_age: Option<Duration>,
    enforce: bool,
    allow: Vec<IpNet>,
    cross_site: CrossSite,
    passes_preflight: bool,
    on_outage: OnOutage,
}

/// What is known of a request before anybody asks who is calling: made by [`Access::admit`] alone.
#[derive(Debug)]
pub struct Entry {
    is_preflight: bool,
    is_foreign: bool,
    would_refuse: Option<Denial>,
}

/// The proof that a caller may: made by [`Access::decide`] alone.
#[derive(Debug)]
pub struct Grant {
    session: Option<Arc<Session>>,
    presented: Vec<Presented>,
    edits: Vec<CookieEdit>,
    withholds_cookies: bool,
    waived: bool,
    unsure: bool,
    would_refuse: Option<Denial>,
}

/// Why a caller may not.
#[derive(Debug)]
pub enum Denial {
    /// There is no valid session.
    SessionRequired(Absence),
    /// The session's user has none of the roles.
    Forbidden,
    /// The user logged in too long ago for this rule.
    ReauthenticationRequired,
    /// The client's address is in none of the rule's networks.
    Address,
    /// Another site started the request.
    CrossSite,
    /// The store could not be asked.
    StoreUnavailable(Outage),
}

impl Access {
    /// Takes a rule's own slice.
    pub fn compile(rule: &Rule) -> Self {
        Self {
            requirement: rule.session,
            accepts: rule.accepts.as_slice().into(),
            roles: rule.roles.as_slice().into(),
            max_auth_age: rule.max_auth_age,
            enforce: rule.enforce,
            allow: rule.allow.clone(),
            cross_site: rule.cross_site.clone(),
            passes_preflight: rule.passes_preflight,
            on_outage: rule.on_outage,
        }
    }

    /// What it needs to know.
    pub fn need(&self, activity: Activity) -> Need<'_> {
        let required = self.requirement == Requirement::Required;
        let (accepts, roles, max_auth_age) = (&*self.accepts, &*self.roles, self.max_auth_age);
        Need { accepts, required, roles, max_auth_age, on_outage: self.on_outage, activity }
    }

    /// The places of the sessions that count, in the order in which they are tried.
    pub fn accepts(&self) -> &[usize] {
        &self.accepts
    }

    /// The roles of which a session needs one; empty = none is needed.
    pub fn roles(&self) -> &Arc<[String]> {
        &self.roles
    }

    /// What the rule asks of a session.
    pub fn requirement(&self) -> Requirement {
        self.requirement
    }

    /// Whether it refuses, and does not only report.
    pub fn is_enforced(&self) -> bool {
        self.enforce
    }

    /// Whether it refuses what other sites start although nobody needs to be logged in.
    pub fn guards_strangers(&self) -> bool {
        self.enforce && self.requirement != Requirement::Required && matches!(self.cross_site, CrossSite::Refuse(_))
    }

    /// Judges what needs no look-up: the client's address, and who started the request. `overlooked` are the rules
    /// that an upstream may take the path for.
    ///
    /// # Errors
    /// The address is not allowed.
    pub fn admit<'a>(
        &self,
        head: &Head,
        arrival: &Arrival,
        site: &Site,
        overlooked: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Entry, Denial> {
        let is_allowed = self.allow.is_empty()
            || arrival.client.is_some_and(|client| self.allow.iter().any(|network| network.contains(&client)));
        if !is_allowed && self.enforce {
            return Err(Denial::Address);
        }
        let is_foreign = is_guarded(head)
            && (self.is_foreign(head, arrival, site)
                || overlooked.into_iter().any(|access| access.is_foreign(head, arrival, site)));
        let is_preflight = self.passes_preflight && is_preflight(head);
        Ok(Entry { is_preflight, is_foreign, would_refuse: (!is_allowed).then_some(Denial::Address) })
    }

    fn is_foreign(&self, head: &Head, arrival: &Arrival, site: &Site) -> bool {
        match (&self.cross_site, &arrival.host) {
            (CrossSite::Allow, _) => false,
            (CrossSite::Refuse(listed), Ok(host)) => origin::is_foreign(&head.headers, host, site.public_url(), listed),
            (CrossSite::Refuse(_), Err(_)) => true,
        }
    }

    /// Decides. With `enforce = false` a denial is only noted in the grant.
    ///
    /// # Errors
    /// The caller may not.
    pub fn decide(&self, entry: Entry, caller: Caller) -> Result<Grant, Denial> {
        let Caller { verdict, started, presented, edits, source: _ } = caller;
        if entry.is_preflight {
            return Ok(Grant {
                session: None,
                presented: Vec::new(),
                edits: Vec::new(),
                withholds_cookies: true,
                waived: false,
                unsure: false,
                would_refuse: entry.would_refuse,
            });
        }
        let unsure = matches!(verdict, Verdict::Unknown(_));
        let (session, denial) = self.judge(verdict, started);
        let denial = denial.or(entry.is_foreign.then_some(Denial::CrossSite));
        if let Some(denial) = denial {
            if self.enforce {
                return Err(denial);
            }
            // A report-only pass leaves the Cookie header as it came.
            let would_refuse = entry.would_refuse.or(Some(denial));
            let (edits, withholds_cookies) = (Vec::new(), false);
            return Ok(Grant { session, presented, edits, withholds_cookies, waived: false, unsure, would_refuse });
        }
        let (waived, would_refuse) = (unsure, entry.would_refuse);
        Ok(Grant { session, presented, edits, withholds_cookies: false, waived, unsure, would_refuse })
    }

    fn judge(&self, verdict: Verdict, started: Option<Duration>) -> (Option<Arc<Session>>, Option<Denial>) {
        match (verdict, self.requirement) {
            (Verdict::Known(session), _) => {
                let denial = if !session.has_any_of(&self.roles) {
                    Some(Denial::Forbidden)
                } else if !self.need(Activity::Ignored).is_recent(started) {
                    Some(Denial::ReauthenticationRequired)
                } else {
                    None
                };
                (Some(session), denial)
            }
            (Verdict::Unknown(_), Requirement::Optional) if self.on_outage == OnOutage::Anonymous => (None, None),
            (Verdict::Unknown(outage), _) => (None, Some(Denial::StoreUnavailable(outage))),
            (Verdict::Absent(absence), Requirement::Required) => (None, Some(Denial::SessionRequired(absence))),
            (Verdict::NotAsked, Requirement::Required) => (None, Some(Denial::SessionRequired(Absence::NoCookie))),
            (Verdict::Absent(_) | Verdict::NotAsked, _) => (None, None),
        }
    }
}

impl Entry {
    /// A browser asks what another site may send: it brings no credentials, and none are looked for.
    pub fn is_preflight(&self) -> bool {
        self.is_preflight
    }
}

impl Grant {
    /// The caller's session, if there is one.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// The id of the record that the request's cookies name in the `[session]` of this name, if there is one, even if it
    /// has no user.
    pub fn presented(&self, session: &str) -> Option<&SessionId> {
        let known = self.session.as_ref().filter(|known| &*known.name == session).map(|known| &known.id);
        let presented = || self.presented.iter().find(|presented| &*presented.session == session);
        known.or_else(|| presented().map(|presented| &presented.id))
    }

    /// The first id that the request's cookies name, besides that of its session.
    pub fn first_presented(&self) -> Option<&SessionId> {
        self.presented.first().map(|presented| &presented.id)
    }

    /// Whether the caller passes as anonymous only because the store cannot be asked: then the upstream must not set
    /// the session's cookie, which would log a user out who is logged in.
    pub fn is_waived(&self) -> bool {
        self.waived
    }

    /// Whether the caller's session may be steered: ended, changed or replaced.
    ///
    /// # Errors
    /// The store could not be asked which session that is.
    pub fn may_be_steered(&self) -> Result<(), Outage> {
        if self.unsure { Err(Outage("whose session is to be steered was not known".to_owned())) } else { Ok(()) }
    }

    /// How the Cookie header must change before it is forwarded.
    pub fn cookie_edits(&self) -> &[CookieEdit] {
        &self.edits
    }

    /// Whether no cookie at all may be forwarded.
    pub fn withholds_cookies(&self) -> bool {
        self.withholds_cookies
    }

    /// What would have been refused, were the rule enforced.
    pub fn would_refuse(&self) -> Option<&Denial> {
        self.would_refuse.as_ref()
    }
}

/// What another site's page could do harm with: requests that change something, and tunnels.
fn is_guarded(head: &Head) -> bool {
    !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) || head.headers.contains_key(UPGRADE)
}

/// The question that a browser asks before it lets another site send a request (Fetch standard, CORS-preflight).
fn is_preflight(head: &Head) -> bool {
    let has = |name: &HeaderName| head.headers.contains_key(name);
    head.method == Method::OPTIONS && has(&ORIGIN) && has(&ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests;
