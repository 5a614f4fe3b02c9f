//! Sessions with memory, and what keeps it true.

use super::{Sessions, format::Format, near_cache::NearCache, revocation, store::Store};
use crate::{
    config::{self, Config},
    redis::{Change, Event, Hearing, Listener, Proofs, Status},
    tasks::Worker,
    telemetry::metrics::Metrics,
};
use std::sync::Arc;

/// Of what is judged aside.
const WORKER: Worker = Worker(0);

/// Keeps the memory of some sessions true. Without it nothing is answered from memory.
#[derive(Debug)]
pub struct Watcher {
    listener: Listener,
    proofs: Arc<Proofs>,
}

/// Whether the store can tell of these sessions alone: otherwise every change of every key would have to be heard, those
/// of foreign queues, too.
pub(super) fn may_hear(config: &config::session::Session, format: &Format) -> bool {
    !config.prefix.is_empty() || !format.outlines().is_empty()
}

/// Prepares all `[session]`s of a configuration, with memory where the store tells of changes. Streams that are open
/// stay with the session of the same name.
pub fn compile(
    config: &Config,
    store: &Store,
    metrics: &Metrics,
    previous: &[Arc<Sessions>],
) -> (Vec<Arc<Sessions>>, Option<Watcher>) {
    let cache = &config.store.cache;
    let redis = store.redis().filter(|_| cache.entries > 0);
    let proofs = Arc::new(Proofs::new(cache.max_staleness));
    let sessions = config.sessions.iter().map(|session| {
        let mut sessions = Sessions::compile(session, store.clone(), metrics);
        if let Some(previous) = previous.iter().find(|previous| *previous.name == *session.name) {
            sessions.tethers = previous.tethers.clone();
        }
        if redis.is_some() && may_hear(session, &sessions.format) {
            let outlines = sessions.format.outlines();
            sessions.near = Some(NearCache::new(&session.name, cache.entries, outlines, proofs.clone(), metrics));
        }
        Arc::new(match config.identity.record_paths() {
            Some(paths) => sessions.reading_only(paths),
            None => sessions,
        })
    });
    let sessions: Vec<_> = sessions.collect();
    let Some(redis) = redis else { return (sessions, None) };
    let prefixes = config.sessions.iter().map(|session| session.prefix.clone());
    let mut prefixes: Vec<_> = prefixes.filter(|prefix| !prefix.is_empty()).collect();
    if sessions.iter().any(|sessions| sessions.revocations.are_in_store()) {
        prefixes.push(revocation::tombstones(&config.store.namespace));
    }
    if sessions.iter().all(|sessions| sessions.near.is_none()) {
        return (sessions, None);
    }
    let outlines = sessions.iter().flat_map(|sessions| sessions.format.outlines()).copied().collect();
    let hearing = Hearing { prefixes, outlines, namespace: config.store.namespace.clone(), cache: cache.clone() };
    let listeners = sessions.clone();
    let listener = Listener::start(redis.clone(), hearing, proofs.clone(), move |event| {
        for sessions in &listeners {
            sessions.notice(event);
        }
    });
    match listener {
        Ok(listener) => (sessions, Some(Watcher { listener, proofs })),
        Err(error) => {
            tracing::warn!(%error, "sessions are not answered from memory");
            (sessions, None)
        }
    }
}

impl Watcher {
    /// Whether changes are heard, and how.
    pub fn status(&self) -> Status {
        self.listener.status()
    }

    /// Whether all of memory may be used at this moment.
    pub fn is_armed(&self) -> bool {
        self.proofs.hold()
    }
}

impl Sessions {
    /// Something happened in the store.
    fn notice(self: &Arc<Self>, event: Event<'_>) {
        let Some(near) = &self.near else { return };
        match event {
            Event::Key(key, change) => match self.revocations.revoked(key) {
                Some(record) => {
                    self.tombstone_changed(&record, change);
                    // Nothing is left of it by which it could be known without its tombstone.
                    near.notice(&record, Change::Deleted);
                    self.streams_changed(&record, change);
                }
                None => {
                    self.record_changed(near, key, change);
                    near.notice(key, change);
                    if change == Change::Renewed {
                        self.confirm_renewed();
                    }
                    self.streams_changed(key, change);
                }
            },
            Event::Cleared(proof) => {
                near.clear(proof);
                self.judge_all_streams(WORKER);
            }
        }
    }

    fn streams_changed(self: &Arc<Self>, key: &[u8], change: Change) {
        if change != Change::Renewed
            && let Ok(key) = str::from_utf8(key)
        {
            self.judge_streams(key, WORKER);
        }
    }
}
