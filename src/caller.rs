//! Who is calling: the verdict of the credential that counts, and what to do with the request's cookies.

use crate::{
    clock,
    config::store::OnOutage,
    http::{Head, arrival::Arrival},
    session::{CookieEdit, Identified, Look, Need, Sessions, Source, Trust, Verdict, id::SessionId, store::Outage},
    tasks::Worker,
};
use std::{sync::Arc, time::Duration};

/// The credentials of the site.
#[derive(Debug)]
pub struct Callers {
    sessions: Vec<Arc<Sessions>>,
    stale_for: Duration,
}

/// How much a rule wants to know.
#[derive(Debug, Clone, Copy)]
pub enum Question<'r> {
    /// Nothing: the store is not asked.
    Nothing,
    /// Only which session the cookie names, for an upstream that may end it: the store is not asked.
    Id,
    /// Who it is, and whether that will do.
    User(Need<'r>),
}

/// An id that a request's cookie names, and the name of the `[session]` whose it is.
#[derive(Debug)]
pub struct Presented {
    /// The name.
    pub session: Arc<str>,
    /// The id.
    pub id: SessionId,
}

/// Whom a request comes from.
#[derive(Debug)]
pub struct Caller {
    /// What is known.
    pub verdict: Verdict,
    /// When a known session began, since the Unix epoch, as far as that is known.
    pub started: Option<Duration>,
    /// The ids that the request's cookies name, besides that of a known session; where the store was asked, only if
    /// there is such a record.
    pub presented: Vec<Presented>,
    /// How the Cookie header must change before it is forwarded.
    pub edits: Vec<CookieEdit>,
    /// Where the verdict comes from, if a record was asked about.
    pub source: Option<Source>,
}

impl Callers {
    /// The credentials in the order in which they are tried, and how old a session may be that passes in an outage.
    pub fn new(sessions: Vec<Arc<Sessions>>, stale_for: Duration) -> Self {
        Self { sessions, stale_for }
    }

    /// Finds out who is calling. A store that cannot be asked is a verdict too: `access` decides what it means.
    /// Nothing that the rule would refuse comes from memory.
    pub async fn identify(&self, question: Question<'_>, head: &Head, arrival: &Arrival, worker: Worker) -> Caller {
        let Question::User(need) = question else {
            return self.identify_by_id(question, head, arrival, worker).await;
        };
        match self.recall(need, head, arrival, worker) {
            Some(caller) => caller,
            // Boxed: most requests do not come here, and all would carry its size.
            None => Box::pin(self.ask(need, head, arrival, worker)).await,
        }
    }

    fn recall(&self, need: Need<'_>, head: &Head, arrival: &Arrival, worker: Worker) -> Option<Caller> {
        for at in need.accepts {
            let sessions = &self.sessions[*at];
            if let Some(identified) = sessions.recall(&head.headers, arrival.https, need, worker) {
                sessions.count(&identified.verdict, worker);
                let mut caller = Caller::unasked();
                caller.learn(identified, sessions.name());
                caller.strip(self.others(|other| other == *at), head, arrival);
                return Some(caller);
            }
            if need.accepts.last() == Some(at) || sessions.is_addressed(&head.headers, arrival.https) {
                return None;
            }
        }
        None
    }

    async fn ask(&self, need: Need<'_>, head: &Head, arrival: &Arrival, worker: Worker) -> Caller {
        let mut look = Look {
            worker,
            begun: clock::now(),
            trust: Trust::Memory,
            keeps_absence: !need.required,
            stale_for: (need.on_outage == OnOutage::Stale).then_some(self.stale_for),
        };
        let mut caller = self.ask_each(need, look, head, arrival).await;
        if caller.source == Some(Source::Memory) && !need.is_met_by(&caller.verdict, caller.started) {
            look.trust = Trust::Store;
            caller = self.ask_each(need, look, head, arrival).await;
        }
        if caller.source == Some(Source::Stale) && !need.is_met_by(&caller.verdict, caller.started) {
            caller.verdict = Verdict::Unknown(Outage("memory would refuse, and the store cannot be asked".to_owned()));
        }
        if matches!(caller.verdict, Verdict::Unknown(_)) && need.on_outage == OnOutage::Anonymous {
            let cut = self.sessions.iter().flat_map(|sessions| sessions.cut_edits(&head.headers, arrival.https));
            caller.edits = cut.collect();
        }
        caller
    }

    async fn ask_each(&self, need: Need<'_>, look: Look, head: &Head, arrival: &Arrival) -> Caller {
        let mut caller = Caller::unasked();
        let mut asked = 0;
        for at in need.accepts {
            let sessions = &self.sessions[*at];
            let identified = sessions.identify(&head.headers, arrival.https, need.activity, look).await;
            asked += 1;
            let is_asked_again = look.trust == Trust::Memory
                && identified.source == Some(Source::Memory)
                && !need.is_met_by(&identified.verdict, identified.started);
            if !is_asked_again {
                sessions.count(&identified.verdict, look.worker);
            }
            caller.learn(identified, sessions.name());
            if !matches!(caller.verdict, Verdict::Absent(_)) {
                break;
            }
        }
        caller.strip(self.others(|at| need.accepts[..asked].contains(&at)), head, arrival);
        caller
    }

    async fn identify_by_id(&self, question: Question<'_>, head: &Head, arrival: &Arrival, worker: Worker) -> Caller {
        let mut caller = Caller::unasked();
        caller.strip(self.others(|_| false), head, arrival);
        if matches!(question, Question::Id) {
            for sessions in &self.sessions {
                let id = sessions.presented_by_id(&head.headers, arrival.https, worker).await;
                caller.presented.extend(id.map(|id| Presented { session: sessions.name().clone(), id }));
            }
        }
        caller
    }

    /// The sessions at all places but some.
    fn others(&self, but: impl Fn(usize) -> bool) -> impl Iterator<Item = &Arc<Sessions>> {
        self.sessions.iter().enumerate().filter(move |(at, _)| !but(*at)).map(|(_, sessions)| sessions)
    }
}

impl Caller {
    fn unasked() -> Self {
        Self { verdict: Verdict::NotAsked, started: None, presented: Vec::new(), edits: Vec::new(), source: None }
    }

    fn learn(&mut self, identified: Identified, session: &Arc<str>) {
        let Identified { verdict, started, presented, edits, source } = identified;
        (self.verdict, self.started) = (verdict, started);
        self.presented.extend(presented.map(|id| Presented { session: session.clone(), id }));
        self.edits.extend(edits);
        self.source = self.source.max(source);
    }

    /// Takes away the cookies of sessions that are not asked about, where they stay at the gateway or are known to be
    /// over.
    fn strip<'a>(&mut self, sessions: impl Iterator<Item = &'a Arc<Sessions>>, head: &Head, arrival: &Arrival) {
        self.edits.extend(sessions.flat_map(|sessions| sessions.strip_edits(&head.headers, arrival.https)));
    }
}
