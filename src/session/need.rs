//! What a rule needs to know of a caller, as far as it matters where an answer may come from.

use super::{Activity, Session, Verdict};
use crate::{clock, config::store::OnOutage};
use std::time::Duration;

/// What a rule needs.
#[derive(Debug, Clone, Copy)]
pub struct Need<'r> {
    /// The places of the sessions that count.
    pub accepts: &'r [usize],
    /// Without a session the request is refused.
    pub required: bool,
    /// Without one of these roles it is refused; empty = none is asked for.
    pub roles: &'r [String],
    /// How long ago the session may have begun.
    pub max_auth_age: Option<Duration>,
    /// While the store cannot be asked.
    pub on_outage: OnOutage,
    /// Whether asking counts as use of the session.
    pub activity: Activity,
}

impl Need<'_> {
    /// Whether a rule that needs this lets a caller with this verdict pass, or cannot know better. `started` = when a
    /// known session began.
    pub fn is_met_by(&self, verdict: &Verdict, started: Option<Duration>) -> bool {
        match verdict {
            Verdict::Known(session) => session.has_any_of(self.roles) && self.is_recent(started),
            Verdict::Absent(_) => !self.required,
            Verdict::NotAsked | Verdict::Unknown(_) => true,
        }
    }

    /// Whether a session that began then is young enough. Of one without a beginning nobody knows.
    pub fn is_recent(&self, started: Option<Duration>) -> bool {
        self.max_auth_age
            .is_none_or(|age| started.is_some_and(|started| clock::since_epoch().saturating_sub(started) < age))
    }
}

impl Session {
    /// Whether it has one of these roles; of none asked for, always.
    pub fn has_any_of(&self, roles: &[String]) -> bool {
        roles.is_empty() || self.roles.iter().any(|role| roles.contains(role))
    }
}
