//! Who is calling: the verdict of the credential that counts, and what to do with the request's cookies.

use crate::{
    http::{Head, arrival::Arrival},
    session::{Activity, CookieEdit, Sessions, Verdict, id::SessionId},
    tasks::Worker,
};
use std::sync::Arc;

/// The credentials of the site.
#[derive(Debug)]
pub struct Callers {
    sessions: Vec<Arc<Sessions>>,
}

/// How much a rule wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Nothing: the store is not asked.
    Nothing,
    /// Only which session the cookie names, for an upstream that may end it: the store is not asked.
    Id,
    /// Who it is, and whether asking counts as use of the session.
    User(Activity),
}

/// Whom a request comes from.
#[derive(Debug)]
pub struct Caller {
    /// What is known.
    pub verdict: Verdict,
    /// The id that the request's cookie names; where the store was asked, only if there is such a record. It may
    /// have no user.
    pub presented: Option<SessionId>,
    /// How the Cookie header must change before it is forwarded.
    pub edits: Vec<CookieEdit>,
}

impl Callers {
    /// The credentials in the order in which they are tried.
    pub fn new(sessions: Vec<Arc<Sessions>>) -> Self {
        Self { sessions }
    }

    /// Finds out who is calling. A store that cannot be asked is a verdict too: `access` decides what it means.
    pub async fn identify(&self, question: Question, head: &Head, arrival: &Arrival, worker: Worker) -> Caller {
        let mut caller = Caller { verdict: Verdict::NotAsked, presented: None, edits: Vec::new() };
        for sessions in &self.sessions {
            if !matches!(question, Question::User(_)) {
                caller.edits.extend(sessions.strip_edits(&head.headers, arrival.https));
            }
            match question {
                Question::Nothing => {}
                Question::Id => {
                    let id = sessions.presented_by_id(&head.headers, arrival.https, worker).await;
                    caller.presented = caller.presented.or(id);
                }
                Question::User(activity) => {
                    let identified = sessions.identify(&head.headers, arrival.https, activity, worker).await;
                    caller.edits.extend(identified.edits);
                    caller.presented = caller.presented.or(identified.presented);
                    caller.verdict = identified.verdict;
                    if !matches!(caller.verdict, Verdict::Absent(_)) {
                        break;
                    }
                }
            }
        }
        caller
    }
}
