//! What changes in the store, heard on connections of their own, one for each primary.

use super::{
    Primaries,
    ear::Ear,
    greeting::FLAGS,
    proof::{Moment, Proof},
};
use crate::{clock, config::store, tasks};
use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// The least time between two log lines about memory that cannot be used.
const COMPLAINT: Duration = Duration::from_secs(30);

/// What is listened to, and how.
#[derive(Debug, Clone)]
pub struct Hearing {
    /// Keys that begin so; none of them is empty.
    pub prefixes: Vec<String>,
    /// Begins every key of our own.
    pub namespace: String,
    /// `[store.cache]`
    pub cache: store::Cache,
}

/// Something happened in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// To one key.
    Key(&'e [u8], Change),
    /// All keys are gone, or nothing of what was known counts any more.
    Cleared,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its value was written.
    Written,
    /// A command deleted it.
    Deleted,
    /// Its time to live was over.
    Expired,
    /// The server needed the memory.
    Evicted,
    /// It has another name now, or is in another database.
    MovedAway,
    /// Its time to live was changed; nothing else.
    Renewed,
    /// One of the above: client tracking does not say which.
    Any,
}

/// Whether changes are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// By keyspace events.
    Events,
    /// By client tracking.
    Tracking,
    /// They are not, and why.
    Deaf(String),
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listener {
    status: Arc<Mutex<Status>>,
    _ended: oneshot::Sender<()>,
}

impl Listener {
    /// Begins to listen on a thread of its own, and goes on for ever: servers that are missing are listened to once
    /// they are there. `proof` holds exactly as long as `sink` is told of every change; `sink` must not wait.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub fn start(
        primaries: Arc<Primaries>,
        hearing: Hearing,
        proof: Arc<Proof>,
        sink: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let status = Arc::new(Mutex::new(Status::Deaf("not connected yet".to_owned())));
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| io::Error::other("the system has no random bytes"))?;
        let name = format!("{}beat:{:016x}", hearing.namespace, u64::from_ne_bytes(random));
        let (ended, end) = oneshot::channel();
        let chorus =
            Chorus { hearing, proof, sink, status: status.clone(), heard: Mutex::default(), told: Told::new() };
        tasks::aside("redis-listener", move || async move {
            let chorus = Arc::new(chorus);
            tokio::select! {
                _ = end => {}
                () = follow(&primaries, &chorus, &name) => {}
            }
            chorus.proof.end();
        })?;
        Ok(Self { status, _ended: ended })
    }

    /// Whether changes are heard now.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("keyspace events"),
            Self::Tracking => f.write_str("client tracking"),
            Self::Deaf(why) => f.write_str(why),
        }
    }
}

/// Listens to all primaries, and anew whenever they are others.
async fn follow<S: Fn(Event<'_>) + Send + Sync + 'static>(primaries: &Primaries, chorus: &Arc<Chorus<S>>, name: &str) {
    let mut changes = primaries.changes();
    loop {
        changes.mark_unchanged();
        let map = primaries.now();
        chorus.begin(map.all().len());
        let mut ears = Vec::new();
        for (place, redis) in map.all().iter().enumerate() {
            // In a cluster the beat must be a key of this very server.
            let beats = (0..=u16::MAX).map(|number| format!("{name}:{{{number}}}"));
            let own = |beat: &String| map.of(beat).is_some_and(|owner| Arc::ptr_eq(owner, redis));
            // Who has no key keeps memory closed for the others: what it holds is not known.
            if let Some(beat) = beats.into_iter().find(own) {
                ears.push(Ear::new(redis.clone(), beat, place, chorus.clone()).listen());
            }
        }
        let is_heard = !ears.is_empty();
        tokio::select! {
            () = tasks::side_by_side(ears), if is_heard => {}
            // Of primaries that cannot change nobody tells.
            Ok(()) = changes.changed() => {}
            else => return,
        }
        chorus.lost(0, "the store's servers are others now".to_owned());
    }
}

/// What all ears have in common.
pub(super) struct Chorus<S> {
    pub(super) hearing: Hearing,
    pub(super) proof: Arc<Proof>,
    pub(super) sink: S,
    status: Arc<Mutex<Status>>,
    /// For each ear: every change before this moment has been heard.
    heard: Mutex<Vec<Option<Moment>>>,
    told: Told,
}

/// What the log knows.
struct Told(Mutex<(bool, Option<Instant>)>);

impl<S: Fn(Event<'_>)> Chorus<S> {
    fn begin(&self, ears: usize) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = vec![None; ears];
    }

    /// An ear has heard every change before this moment, and goes on listening. Once all have, memory is opened.
    pub(super) fn heard(&self, ear: usize, moment: Moment, by: Status) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = heard.iter().all(Option::is_some);
        if let Some(place) = heard.get_mut(ear) {
            *place = Some(moment);
        }
        let Some(oldest) = heard.iter().copied().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min())
        else {
            return;
        };
        if !was_open {
            (self.sink)(Event::Cleared);
            self.proof.begin();
        }
        self.proof.prove(oldest);
        drop(heard);
        if !was_open {
            self.tell(by);
        }
    }

    /// An ear may have missed something; `true` = memory was open until now.
    pub(super) fn lost(&self, ear: usize, why: String) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = heard.get_mut(ear) {
            *place = None;
        }
        let was_open = self.proof.end();
        drop(heard);
        self.tell(Status::Deaf(why));
        was_open
    }

    /// All keys of a server are gone.
    pub(super) fn flushed(&self) {
        self.proof.begin();
        (self.sink)(Event::Cleared);
    }

    fn tell(&self, status: Status) {
        self.told.tell(&status);
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

impl Told {
    fn new() -> Self {
        Self(Mutex::new((false, None)))
    }

    /// One line for each change, and not many of them.
    fn tell(&self, status: &Status) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        match (status, *told) {
            (Status::Deaf(why), (false, at)) if at.is_none_or(|at| now - at >= COMPLAINT) => {
                *told = (true, Some(now));
                tracing::warn!(why, "sessions are not answered from memory");
            }
            (Status::Deaf(_), _) => {}
            (by, (true, at) | (false, at @ None)) => {
                *told = (false, at.or(Some(now)));
                tracing::info!(invalidation = %by, "sessions are answered from memory");
                if *by == Status::Tracking {
                    let remedy =
                        format!("CONFIG SET notify-keyspace-events {FLAGS}, or `configure = true` in [store.cache]");
                    tracing::info!(remedy, "every renewal of a session by its app costs a read");
                }
            }
            (_, (false, Some(_))) => {}
        }
    }
}

#[cfg(test)]
mod tests;
