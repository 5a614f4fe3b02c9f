//! Whether a caller may: the only maker of a [`Grant`], without which nothing is forwarded.

use crate::{
    caller::Caller,
    config::rules::{Requirement, Rule},
    session::{Absence, CookieEdit, Session, Verdict, id::SessionId, store::Outage},
};

/// A rule's demands on the caller.
#[derive(Debug)]
pub struct Access {
    requirement: Requirement,
    roles: Vec<String>,
    enforce: bool,
}

/// The proof that a caller may: made by [`Access::decide`] alone.
#[derive(Debug)]
pub struct Grant {
    session: Option<Box<Session>>,
    presented: Option<SessionId>,
    edits: Vec<CookieEdit>,
    would_refuse: Option<Denial>,
}

/// Why a caller may not.
#[derive(Debug)]
pub enum Denial {
    /// There is no valid session.
    SessionRequired(Absence),
    /// The session's user has none of the roles.
    Forbidden,
    /// The store could not be asked.
    StoreUnavailable(Outage),
}

impl Access {
    /// Takes a rule's own slice.
    pub fn compile(rule: &Rule) -> Self {
        Self { requirement: rule.session, roles: rule.roles.clone(), enforce: rule.enforce }
    }

    /// What the rule asks of a session.
    pub fn requirement(&self) -> Requirement {
        self.requirement
    }

    /// Decides. With `enforce = false` a denial is only noted in the grant.
    pub fn decide(&self, caller: Caller) -> Result<Grant, Denial> {
        let Caller { verdict, presented, edits } = caller;
        let (session, denial) = self.judge(verdict);
        match denial {
            Some(denial) if self.enforce => Err(denial),
            // A report-only pass leaves the Cookie header as it came.
            Some(denial) => Ok(Grant { session, presented, edits: Vec::new(), would_refuse: Some(denial) }),
            None => Ok(Grant { session, presented, edits, would_refuse: None }),
        }
    }

    fn judge(&self, verdict: Verdict) -> (Option<Box<Session>>, Option<Denial>) {
        match (verdict, self.requirement) {
            (Verdict::Known(session), _) => {
                let allowed = self.roles.is_empty() || session.roles.iter().any(|role| self.roles.contains(role));
                (Some(session), (!allowed).then_some(Denial::Forbidden))
            }
            (Verdict::Unknown(outage), _) => (None, Some(Denial::StoreUnavailable(outage))),
            (Verdict::Absent(absence), Requirement::Required) => (None, Some(Denial::SessionRequired(absence))),
            (Verdict::NotAsked, Requirement::Required) => (None, Some(Denial::SessionRequired(Absence::NoCookie))),
            (Verdict::Absent(_) | Verdict::NotAsked, _) => (None, None),
        }
    }
}

impl Grant {
    /// The caller's session, if there is one.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// The id of the record that the request's cookie names, if there is one, even if it has no user.
    pub fn presented(&self) -> Option<&SessionId> {
        self.presented.as_ref()
    }

    /// How the Cookie header must change before it is forwarded.
    pub fn cookie_edits(&self) -> &[CookieEdit] {
        &self.edits
    }

    /// What would have been refused, were the rule enforced.
    pub fn would_refuse(&self) -> Option<&Denial> {
        self.would_refuse.as_ref()
    }
}
