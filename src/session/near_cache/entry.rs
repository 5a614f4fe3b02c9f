//! What was read of one record, and until when that may be believed.

use crate::{
    redis::{Limit, Moment, Proof},
    session::{Absence, Finding},
};
use quick_cache::{Lifecycle, Weighter};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// For how long a record is believed whose time to live was changed: it may be shorter now, and the server deletes what is
/// over when it comes across it.
pub(super) const RENEWED_MAX: Duration = Duration::from_secs(30);
/// For how long it is remembered that there is no session.
const ABSENCE_MAX: Duration = Duration::from_secs(1);
/// A record that is longer takes the place of several sessions, so that long ones do not fill the machine's memory.
pub(super) const PLACE: usize = 4 * 1024;

/// What was read of one record. What is looked at when it is recalled stands together.
#[derive(Debug)]
#[repr(C)]
pub(in crate::session) struct Entry {
    /// That of the primary which told; `None` = nobody tells of its changes, and it was never proven but when it was read.
    pub(super) proof: Option<Arc<Proof>>,
    /// Until when it need not be read again; ended when something happened to the record, or another read took its
    /// place, or it has left the table.
    pub(super) fresh: Limit,
    pub(in crate::session) finding: Finding,
    pub(super) sent: Moment,
    /// When the store's time to live is over.
    pub(super) dies: Moment,
    /// When the record wants to be read again although nothing changed.
    pub(super) stale_at: Moment,
    /// When the record ends by its own account, since the Unix epoch.
    pub(in crate::session) ends: Option<Duration>,
    /// How often its time to live was changed since.
    pub(super) renewals: AtomicU32,
    /// How many sessions' places it takes.
    places: u32,
    /// Of the record's bytes, to tell whether another read brought the same.
    pub(super) digest: Option<[u8; 32]>,
}

/// Counts the places that are taken.
#[derive(Debug, Clone)]
pub(super) struct Places;

impl Weighter<Box<[u8]>, Arc<Entry>> for Places {
    fn weight(&self, _: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        entry.places.into()
    }
}

/// Whoever reaches an entry that has left the table learns that from itself.
#[derive(Debug, Clone)]
pub(super) struct Leaving;

impl Lifecycle<Box<[u8]>, Arc<Entry>> for Leaving {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Box<[u8]>, entry: Arc<Entry>) {
        entry.fresh.end();
    }
}

/// What a read brought.
pub(in crate::session) struct Loaded {
    pub(in crate::session) finding: Finding,
    /// That of the primary which told.
    pub(in crate::session) proof: Option<Arc<Proof>>,
    pub(in crate::session) digest: Option<[u8; 32]>,
    /// How long the record is.
    pub(in crate::session) bytes: usize,
    pub(in crate::session) ends: Option<Duration>,
    /// From the moment at which the read was sent.
    pub(in crate::session) remaining: Option<Duration>,
    /// From the same moment: after that it wants to be read again.
    pub(in crate::session) fresh_for: Option<Duration>,
    /// The finding was taken over from memory: the bytes were the same.
    pub(in crate::session) unchanged: bool,
}

impl Loaded {
    /// There is no session.
    pub(in crate::session) fn absent(absence: Absence) -> Self {
        let finding = Finding::Absent(absence, None);
        Self {
            finding,
            proof: None,
            digest: None,
            bytes: 0,
            ends: None,
            remaining: None,
            fresh_for: None,
            unchanged: false,
        }
    }
}

impl Entry {
    pub(super) fn new(loaded: Loaded, sent: Moment) -> Self {
        let Loaded { finding, proof, digest, bytes, ends, remaining, fresh_for, unchanged: _ } = loaded;
        let absence_max = matches!(finding, Finding::Absent(..)).then_some(ABSENCE_MAX);
        let after = |limit: Option<Duration>| limit.map_or(Moment::NEVER, |limit| sent.after(limit));
        let (dies, stale_at) = (after(remaining), after(fresh_for.into_iter().chain(absence_max).min()));
        Self {
            fresh: Limit::new([dies, stale_at]),
            finding,
            proof,
            sent,
            dies,
            stale_at,
            ends,
            renewals: AtomicU32::new(0),
            places: u32::try_from(1 + bytes / PLACE).unwrap_or(u32::MAX),
            digest,
        }
    }

    /// Its time to live was changed; the first time counts, and for that it is `true`.
    pub(super) fn renew(&self, now: Moment) -> bool {
        self.fresh.draw_near(now.after(RENEWED_MAX));
        self.renewals.fetch_add(1, Ordering::SeqCst) == 0
    }

    /// Whether every change since it was read has been heard.
    pub(super) fn is_proven(&self, now: Moment) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.covers(self.sent, now))
    }

    /// The same, with another end.
    pub(super) fn living_on(&self, dies: Moment) -> Self {
        Self {
            proof: self.proof.clone(),
            fresh: Limit::new([dies, self.stale_at]),
            finding: self.finding.clone(),
            dies,
            renewals: AtomicU32::new(0),
            ..*self
        }
    }
}
