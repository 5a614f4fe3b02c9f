//! An answer that goes on for long: it ends with the session that it was given to, and counts in a gauge meanwhile.

use super::{exchange::Exchange, snapshot::Snapshot};
use crate::{
    access::Grant,
    clock,
    rules::Rule,
    session::{Session, Sessions, Tether},
    tasks::Worker,
    telemetry::metrics::Gauge,
    upstream::{Lasts, Streaming, Target},
};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// From when on an answer without a length counts as a stream.
const LONG: Duration = Duration::from_secs(5);

/// What such an answer is watched by.
#[derive(Debug)]
pub(super) struct OpenStream {
    lasts: Lasts,
    begun: Instant,
    worker: Worker,
    gauge: Option<Gauge>,
    holder: Option<Holder>,
    tether: Option<Tether>,
    is_open: bool,
}

/// Whose answer it is.
#[derive(Debug)]
struct Holder {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    roles: Arc<[String]>,
}

impl Snapshot {
    /// Watches an answer that may go on for long. Under a rule that only reports, none ends with its session.
    pub(super) fn watch_stream(
        &self,
        rule: &Rule<Target>,
        target: &Target,
        grant: &Grant,
        body: &Streaming,
        exchange: &mut Exchange,
    ) {
        let Some(lasts) = body.lasts() else { return };
        let holder = grant.session().filter(|_| rule.access.is_enforced()).and_then(|session| {
            let sessions = self.sessions.iter().find(|sessions| *sessions.name() == session.name)?;
            let roles = rule.access.roles().clone();
            Some(Holder { sessions: sessions.clone(), session: session.clone(), roles })
        });
        let gauge = self.meter(exchange.worker()).streams(rule.index, target.name(), lasts);
        let (begun, worker) = (clock::now(), exchange.worker());
        let mut stream = OpenStream { lasts, begun, worker, gauge, holder, tether: None, is_open: false };
        if lasts != Lasts::Perhaps {
            stream.open();
        }
        exchange.stream = Some(Box::new(stream));
    }

    /// Once a second, for each worker.
    pub fn settle(&self, worker: Worker) {
        self.upstreams().settle(worker);
        if worker == Worker(0) {
            self.sessions.iter().for_each(|sessions| sessions.look_after_streams(worker));
        }
    }

    /// Takes over what is open.
    pub(super) fn succeed(&self, previous: &Self) {
        previous.sessions.iter().for_each(|sessions| sessions.hand_over(&self.sessions));
    }
}

impl OpenStream {
    /// Whether the session is over.
    pub(super) fn is_cut(&self) -> bool {
        self.tether.as_ref().is_some_and(Tether::is_cut)
    }

    /// Whether the answer may end as if the upstream had ended it: an event stream has no end of its own.
    pub(super) fn ends_quietly(&self) -> bool {
        self.lasts == Lasts::Events
    }

    /// Ready once the session is over; to be asked whenever the answer waits.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_open {
            if clock::now() - self.begun < LONG {
                return Poll::Pending;
            }
            self.open();
        }
        self.tether.as_ref().map_or(Poll::Pending, |tether| tether.poll_cut(cx))
    }

    fn open(&mut self) {
        self.is_open = true;
        if let Some(gauge) = &self.gauge {
            gauge.rise();
        }
        let tie = |holder: Holder| holder.sessions.tether(&holder.session, &holder.roles, self.worker);
        self.tether = self.holder.take().map(tie);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(gauge) = self.gauge.as_ref().filter(|_| self.is_open) {
            gauge.fall();
        }
    }
}
