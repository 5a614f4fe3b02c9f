//! The verdicts of one `[session]`, counted.

use super::{Absence, Verdict};
use crate::{
    config::session::Session,
    tasks::Worker,
    telemetry::metrics::{Counter, Metrics, families},
};

/// Every verdict's word; its place is what [`place`] answers.
const WORDS: [&str; 11] = [
    "valid",
    "unknown",
    "no_cookie",
    "malformed",
    "bad_signature",
    "not_found",
    "expired",
    "anonymous",
    "unreadable",
    "idle",
    "revoked",
];

/// The cells of one `[session]`.
#[derive(Debug)]
pub(super) struct Verdicts {
    verdicts: [Counter; WORDS.len()],
    unreadable: Counter,
    resurrections: Counter,
    secrets: [Counter; 2],
    cuts: Counter,
}

impl Verdicts {
    pub(super) fn compile(session: &Session, metrics: &Metrics) -> Self {
        Self {
            verdicts: WORDS.map(|word| metrics.counter(&families::VERDICTS, &[&session.name, word])),
            unreadable: metrics.counter(&families::UNREADABLE, &[session.preset.format]),
            resurrections: metrics.counter(&families::RESURRECTIONS, &[&session.name]),
            secrets: ["newest", "older"].map(|word| metrics.counter(&families::SECRETS, &[&session.name, word])),
            cuts: metrics.counter(&families::STREAMS_CUT, &[&session.name]),
        }
    }

    /// The cookies of a request were judged.
    pub(super) fn count(&self, verdict: &Verdict, worker: Worker) {
        if let Some(place) = place(verdict) {
            self.verdicts[place].add(worker);
        }
    }

    /// A session is valid whose cookie is signed with the newest of several secrets, or with an older one.
    pub(super) fn signed(&self, with_newest: bool, worker: Worker) {
        self.secrets[usize::from(!with_newest)].add(worker);
    }

    /// Streams were ended because their session was over.
    pub(super) fn cut(&self, streams: u64, worker: Worker) {
        self.cuts.add_many(worker, streams);
    }

    /// A record was written again although its session is over for good.
    pub(super) fn resurrected(&self, worker: Worker) {
        self.resurrections.add(worker);
    }

    /// A record could not be read.
    pub(super) fn unreadable(&self, worker: Worker) {
        self.unreadable.add(worker);
    }
}

fn place(verdict: &Verdict) -> Option<usize> {
    Some(match verdict {
        Verdict::NotAsked => return None,
        Verdict::Known(_) => 0,
        Verdict::Unknown(_) => 1,
        Verdict::Absent(absence) => match absence {
            Absence::NoCookie => 2,
            Absence::Malformed => 3,
            Absence::BadSignature => 4,
            Absence::NotFound => 5,
            Absence::Expired | Absence::NoStart | Absence::Lapsed => 6,
            Absence::Anonymous => 7,
            Absence::Unreadable(_) => 8,
            Absence::Idle => 9,
            Absence::Revoked | Absence::Resurrected => 10,
        },
    })
}
