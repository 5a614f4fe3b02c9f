//! Sessions in memory: answered from without asking Redis while every change is known to reach us, and never longer.

mod confirmation;
mod entry;

use super::{Absence, Finding, id::SessionId, store::Outage};
use crate::{
    redis::{Change, Moment, Outline, Proof, Proofs, Redis},
    tasks::Worker,
    telemetry::metrics::{Counter, Metrics, families},
};
use confirmation::Renewed;
pub(super) use confirmation::{Confirmation, Due, Life};
pub(super) use entry::Loaded;
use entry::{Entry, Leaving, Places};
use quick_cache::{DefaultHashBuilder, sync::Cache};
use ring::digest::{SHA256, digest};
use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// Cookies longer than this are verified anew each time.
const COOKIE_MAX: usize = 1024;
/// How often a record that is found without its table is looked for there, too: what is used stays.
const TOUCH: Duration = Duration::from_secs(3);
/// Locks that the reads under way are spread over.
const SHARDS: usize = 64;

/// The sessions of one `[session]`, shared by the workers. Every key has at most one read under way, and what a change
/// overtakes on its way back is not kept.
pub struct NearCache {
    proofs: Arc<Proofs>,
    /// Only changes of such keys are heard, and by events alone; none = those of all keys are.
    outlines: &'static [Outline],
    /// What a cookie's value was found to prove. It is true as long as the configuration stands.
    cookies: Cache<Box<[u8]>, Arc<Named>>,
    entries: Cache<Box<[u8]>, Arc<Entry>, Places, DefaultHashBuilder, Leaving>,
    reads: [Mutex<HashMap<Box<[u8]>, Read>>; SHARDS],
    renewed: Mutex<Renewed>,
    /// Of who asks whether what was renewed still lives.
    pub(super) confirming: Arc<Semaphore>,
    hasher: RandomState,
    meter: Meter,
}

/// A record's name: what a cookie proves, and where the store keeps it. What is looked at each time comes first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Named {
    link: Mutex<Option<Link>>,
    pub(super) id: SessionId,
    pub(super) key: Box<str>,
}

/// A way to what was read of a record that leads past its table: with many sessions, each look into another piece of
/// memory costs time.
#[derive(Debug)]
struct Link {
    entry: Weak<Entry>,
    /// From then on the table is asked.
    until: Moment,
}

/// A read under way.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) sent: Moment,
    /// The record's time to live was changed meanwhile.
    renewed: bool,
    answer: watch::Receiver<Option<Result<Finding, Outage>>>,
}

/// What the reader needs to answer a [`Read`].
pub(super) struct Reading {
    read: Read,
    answer: watch::Sender<Option<Result<Finding, Outage>>>,
    keeps_absence: bool,
}

/// The cells of one `[session]`'s memory.
struct Meter {
    hits: Counter,
    misses: Counter,
    unchanged: Counter,
    overtaken: Counter,
    stale: Counter,
}

impl NearCache {
    /// Room for so many sessions of the `[session]` of this name. `proofs` say when they may be used.
    pub(super) fn new(
        name: &str,
        entries: usize,
        outlines: &'static [Outline],
        proofs: Arc<Proofs>,
        metrics: &Metrics,
    ) -> Self {
        let cell = |event| metrics.counter(&families::MEMORY, &[name, event]);
        let meter = Meter {
            hits: cell("hit"),
            misses: cell("miss"),
            unchanged: cell("unchanged"),
            overtaken: cell("overtaken"),
            stale: cell("stale"),
        };
        Self {
            proofs,
            outlines,
            cookies: Cache::new(entries),
            entries: Cache::with(entries, entries as u64, Places, DefaultHashBuilder::default(), Leaving),
            reads: std::array::from_fn(|_| Mutex::default()),
            renewed: Mutex::default(),
            confirming: Arc::new(Semaphore::new(1)),
            hasher: RandomState::new(),
            meter,
        }
    }

    /// When something happened, as reads are dated.
    pub(super) fn moment(&self, instant: Instant) -> Moment {
        self.proofs.moment(instant)
    }

    /// Whether every change of every session is heard.
    pub(super) fn is_proven(&self) -> bool {
        self.outlines.is_empty() && self.proofs.hold()
    }

    /// What is proven of a primary, as far as it concerns a record that was just read there.
    pub(super) fn proof(&self, redis: &Arc<Redis>, key: &str) -> Option<Arc<Proof>> {
        let proof = self.proofs.of(redis)?;
        let fits = || self.outlines.iter().any(|outline| outline.fits(key.as_bytes()));
        (self.outlines.is_empty() || proof.is_by_events() && fits()).then_some(proof)
    }

    /// What a cookie's value is known to prove.
    pub(super) fn named(&self, cookie: &[u8]) -> Option<Arc<Named>> {
        self.cookies.get(cookie)
    }

    /// Remembers what a cookie's value proves, which must be true whatever happens to the record.
    pub(super) fn name(&self, cookie: &[u8], named: &Arc<Named>) {
        if cookie.len() <= COOKIE_MAX {
            self.cookies.insert(cookie.into(), named.clone());
        }
    }

    /// What is known of a record and still true.
    pub(super) fn recall(&self, named: &Named, now: Moment, worker: Worker) -> Option<Finding> {
        let entry = self.entry(named, now)?;
        (entry.is_proven(now) && entry.fresh.is_ahead_of(now)).then(|| {
            self.meter.hits.add(worker);
            entry.finding.clone()
        })
    }

    /// What was last read of a record, and is in the table or was not long ago.
    fn entry(&self, named: &Named, now: Moment) -> Option<Arc<Entry>> {
        let mut link = named.link.lock().unwrap_or_else(PoisonError::into_inner);
        let linked = link.as_ref().filter(|link| now < link.until).and_then(|link| link.entry.upgrade());
        if let Some(entry) = linked.filter(|entry| !entry.fresh.has_ended()) {
            return Some(entry);
        }
        let entry = self.entries.get(named.key.as_bytes())?;
        *link = Some(Link { entry: Arc::downgrade(&entry), until: now.after(TOUCH) });
        Some(entry)
    }

    /// A session that was proven not longer than `stale_for` ago, and of which nothing was heard since.
    pub(super) fn recall_stale(&self, key: &str, stale_for: Duration, worker: Worker) -> Option<Finding> {
        let (entry, now) = (self.entries.get(key.as_bytes())?, self.proofs.now());
        let proven = entry.proof.as_ref().map_or(entry.sent, |proof| proof.proven(entry.sent));
        let passes = matches!(entry.finding, Finding::Valid(_))
            && !entry.fresh.has_ended()
            && now < entry.dies
            && now.since(proven) <= stale_for;
        passes.then(|| {
            self.meter.stale.add(worker);
            entry.finding.clone()
        })
    }

    /// What was last read of a record, true or not: the same bytes need not be understood again.
    pub(super) fn understood(&self, key: &str, bytes: &[u8]) -> ([u8; 32], Option<Arc<Entry>>) {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
        (sum, self.entries.peek(key.as_bytes()).filter(|entry| entry.digest == Some(sum)))
    }

    /// How long a session's record had to live when it was last read; none = for ever. `None` = of a user's session
    /// under this key nothing is known.
    pub(super) fn life(&self, key: &str) -> Option<Option<Duration>> {
        let entry = self.entries.peek(key.as_bytes())?;
        let life = (entry.dies != Moment::NEVER).then(|| entry.dies.since(entry.sent));
        matches!(entry.finding, Finding::Valid(_)).then_some(life)
    }

    /// Whether the session is known, and every change since it was read has been heard: to read it again, nothing need be
    /// asked of what is listened to as well.
    pub(super) fn follows(&self, key: &str) -> bool {
        let entry = self.entries.peek(key.as_bytes());
        entry.is_some_and(|entry| matches!(entry.finding, Finding::Valid(_)) && entry.is_proven(self.proofs.now()))
    }

    /// The read of a record that is under way, or a new one, which the caller must see to.
    pub(super) fn read(&self, key: &str, keeps_absence: bool, worker: Worker) -> (Read, Option<Reading>) {
        let mut shard = self.shard(key.as_bytes());
        // One that was given up, with its worker, will never be answered.
        if let Some(read) = shard.get(key.as_bytes()).filter(|read| read.answer.has_changed().is_ok()) {
            return (read.clone(), None);
        }
        self.meter.misses.add(worker);
        let (sender, answer) = watch::channel(None);
        let read = Read { sent: self.proofs.now(), renewed: false, answer };
        shard.insert(key.as_bytes().into(), read.clone());
        (read.clone(), Some(Reading { read, answer: sender, keeps_absence }))
    }

    /// The answer of a read, for everyone who waits for it; kept unless something happened to the record meanwhile.
    pub(super) fn answered(&self, key: &str, reading: Reading, loaded: Result<Loaded, Outage>, worker: Worker) {
        let Reading { read, answer, keeps_absence } = reading;
        let mut shard = self.shard(key.as_bytes());
        let is_ours = |known: &Read| known.answer.same_channel(&read.answer);
        let undisturbed = shard.get(key.as_bytes()).is_some_and(is_ours);
        let ours = if undisturbed { shard.remove(key.as_bytes()) } else { None };
        if !undisturbed {
            self.meter.overtaken.add(worker);
        }
        let finding = loaded.map(|loaded| {
            self.meter.unchanged.add_many(worker, loaded.unchanged.into());
            let finding = loaded.finding.clone();
            let keeps = matches!(finding, Finding::Valid(_)) || keeps_absence;
            let is_gone = matches!(finding, Finding::Absent(Absence::NotFound, _));
            if undisturbed && is_gone && self.life(key).is_some() {
                // How it went is still to be told, and with what it had to live.
                self.doubt(key.as_bytes());
            } else if undisturbed && keeps {
                let entry = self.put(key.as_bytes(), Entry::new(loaded, read.sent));
                if ours.is_some_and(|read| read.renewed) {
                    self.renewed(key.as_bytes(), &entry, read.sent);
                }
            } else if undisturbed {
                self.forget(key.as_bytes());
            }
            finding
        });
        drop(shard);
        // Nobody may be left who waits.
        let _ = answer.send(Some(finding));
    }

    /// Something happened to a record.
    pub(super) fn notice(&self, key: &[u8], change: Change) {
        let mut shard = self.shard(key);
        if change == Change::Renewed {
            if let Some(read) = shard.get_mut(key) {
                read.renewed = true;
            }
            if let Some(entry) = self.entries.peek(key) {
                self.renewed(key, &entry, self.proofs.now());
            }
            return;
        }
        shard.remove(key);
        match change {
            // What it holds now may be what it held before.
            Change::Written | Change::Any => self.doubt(key),
            Change::Deleted | Change::Expired | Change::Evicted | Change::MovedAway | Change::Renewed => {
                self.forget(key);
            }
        }
    }

    /// Takes the place of what was read before.
    fn put(&self, key: &[u8], entry: Entry) -> Arc<Entry> {
        self.doubt(key);
        let entry = Arc::new(entry);
        self.entries.insert(key.into(), entry.clone());
        entry
    }

    /// What was read is true no more. Whoever reaches it without the table learns that from itself.
    fn doubt(&self, key: &[u8]) {
        if let Some(entry) = self.entries.peek(key) {
            entry.fresh.end();
        }
    }

    fn forget(&self, key: &[u8]) {
        self.doubt(key);
        self.entries.remove(key);
    }

    /// Forgets every record of a primary, those of nobody, and those of who is none any more.
    pub(super) fn clear(&self, cleared: &Arc<Proof>) {
        for shard in &self.reads {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.clear();
            drop(shard);
        }
        let stays = |proof: &Arc<Proof>| !Arc::ptr_eq(proof, cleared) && self.proofs.knows(proof);
        self.entries.retain(|_, entry| {
            let stays = entry.proof.as_ref().is_some_and(stays);
            if !stays {
                entry.fresh.end();
            }
            stays
        });
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, HashMap<Box<[u8]>, Read>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.reads[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Named {
    pub(super) fn new(id: SessionId, key: impl Into<Box<str>>) -> Arc<Self> {
        Arc::new(Self { link: Mutex::default(), id, key: key.into() })
    }
}

impl Read {
    /// Waits for the answer, at most for `patience`.
    pub(super) async fn wait(mut self, patience: Duration) -> Result<Finding, Outage> {
        let answer = tokio::time::timeout(patience, self.answer.wait_for(Option::is_some)).await;
        match answer {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err(Outage("the read was given up".to_owned()))),
            Ok(Err(_)) => Err(Outage("the read was given up".to_owned())),
            Err(_) => Err(Outage("no answer in time".to_owned())),
        }
    }
}

impl fmt::Debug for NearCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
