//! What changes in the store, heard on connections of their own, one for each primary.

use super::{
    Outline, Primaries, Redis,
    ear::Ear,
    proof::{Moment, Proof, Proofs},
};
use crate::{clock, config::store, tasks};
use std::{
    fmt,
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    /// Keys that keyspace events alone tell of: to client tracking they have nothing in common.
    pub outlines: Vec<Outline>,
    /// Begins every key of our own.
    pub namespace: String,
    /// `[store.cache]`
    pub cache: store::Cache,
}

/// Something happened in Redis.
#[derive(Debug, Clone, Copy)]
pub enum Event<'e> {
    /// To one key.
    Key(&'e [u8], Change),
    /// All keys of the primary with this proof are gone, or nothing of what was known of it counts any more. The same
    /// is true of primaries that are none any more.
    Cleared(&'e Arc<Proof>),
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
    /// Those of some servers, and why the others are not.
    Partly(String),
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listener {
    board: Arc<Board>,
    _ended: oneshot::Sender<()>,
}

/// What is known of each server, by its address.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Vec<(String, Status)>>);

impl Listener {
    /// Begins to listen on a thread of its own, and goes on for ever: servers that are missing are listened to once
    /// they are there. A primary's proof holds exactly as long as `sink` is told of every change there; `sink` must not
    /// wait.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub fn start(
        primaries: Arc<Primaries>,
        hearing: Hearing,
        proofs: Arc<Proofs>,
        sink: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let board = Arc::new(Board::default());
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| io::Error::other("the system has no random bytes"))?;
        let name = format!("{}beat:{:016x}", hearing.namespace, u64::from_ne_bytes(random));
        let (ended, end) = oneshot::channel();
        let chorus = Arc::new(Chorus { hearing, sink, board: board.clone() });
        tasks::aside("redis-listener", move || async move {
            tokio::select! {
                _ = end => {}
                () = follow(&primaries, &chorus, &proofs, &name) => {}
            }
            proofs.replace(Vec::new());
        })?;
        Ok(Self { board, _ended: ended })
    }

    /// Whether changes are heard now.
    pub fn status(&self) -> Status {
        let servers = self.board.servers();
        let mut deaf = servers.iter().filter_map(|(server, status)| match status {
            Status::Deaf(why) => Some((server, why)),
            _ => None,
        });
        let heard = servers.iter().find(|(_, status)| !matches!(status, Status::Deaf(_)));
        match (heard, deaf.next()) {
            (Some((_, by)), None) => by.clone(),
            (Some((_, by)), Some((server, why))) => Status::Partly(format!("{by}, but for {server}: {why}")),
            (None, Some((_, why))) => Status::Deaf(why.clone()),
            (None, None) => Status::Deaf("not connected yet".to_owned()),
        }
    }
}

impl Board {
    fn servers(&self) -> MutexGuard<'_, Vec<(String, Status)>> {
        // Nothing below panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these are all the servers.
    fn keep(&self, all: &[Arc<Redis>]) {
        let mut servers = self.servers();
        let address = |redis: &Arc<Redis>| redis.server().address.to_string();
        servers.retain(|(server, _)| all.iter().any(|redis| address(redis) == *server));
    }

    fn put(&self, server: &str, status: Status) {
        let mut servers = self.servers();
        match servers.iter_mut().find(|(known, _)| known == server) {
            Some((_, known)) => *known = status,
            None => servers.push((server.to_owned(), status)),
        }
    }
}

impl Status {
    /// One word for it: what memory is kept true by.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Tracking => "tracking",
            Self::Deaf(_) => "off",
            Self::Partly(_) => "partly",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("keyspace events"),
            Self::Tracking => f.write_str("client tracking"),
            Self::Deaf(why) | Self::Partly(why) => f.write_str(why),
        }
    }
}

/// A primary that is listened to. Dropping it ends that.
struct Heard {
    redis: Arc<Redis>,
    proof: Arc<Proof>,
    /// A key of this server's.
    beat: String,
    _ended: oneshot::Sender<()>,
}

/// Listens to all primaries, whichever they are: to each as if it were alone.
async fn follow<S: Fn(Event<'_>) + Send + Sync + 'static>(
    primaries: &Primaries,
    chorus: &Arc<Chorus<S>>,
    proofs: &Proofs,
    name: &str,
) {
    let mut changes = primaries.changes();
    let (mut before, mut heard) = (primaries.now(), Vec::<Heard>::new());
    loop {
        changes.mark_unchanged();
        let map = primaries.now();
        // Whose keys went to another primary without a word is not believed in what it told before.
        let lacks = |known: &Heard| !before.gives_nothing(&known.redis, &map);
        heard.iter().filter(|known| lacks(known)).for_each(|known| chorus.flushed(&known.proof));
        heard.retain(|known| map.of(&known.beat).is_some_and(|owner| Arc::ptr_eq(owner, &known.redis)));
        let mut ears = Vec::new();
        for redis in map.all() {
            // In a cluster the beat must be a key of this very server. Who has no key holds nothing.
            let mut beats = (0..=u16::MAX).map(|number| format!("{name}:{{{number}}}"));
            let own = |beat: &String| map.of(beat).is_some_and(|owner| Arc::ptr_eq(owner, redis));
            if !heard.iter().any(|known| Arc::ptr_eq(&known.redis, redis))
                && let Some(beat) = beats.find(own)
            {
                let (proof, (ended, end)) = (proofs.make(), oneshot::channel());
                ears.push((Ear::new(redis.clone(), beat.clone(), proof.clone(), chorus.clone()), end));
                heard.push(Heard { redis: redis.clone(), proof, beat, _ended: ended });
            }
        }
        chorus.board.keep(map.all());
        // Who listens finds its proof among them.
        proofs.replace(heard.iter().map(|known| (Arc::downgrade(&known.redis), known.proof.clone())).collect());
        for (ear, end) in ears {
            tasks::background(async move {
                tokio::select! {
                    // In this order: what is heard after the end proves nothing.
                    biased;
                    _ = end => {}
                    () = ear.listen() => {}
                }
            });
        }
        before = map;
        if changes.changed().await.is_err() {
            // Of primaries that cannot change nobody tells.
            pending::<()>().await;
        }
    }
}

/// What all ears have in common.
pub(super) struct Chorus<S> {
    pub(super) hearing: Hearing,
    pub(super) sink: S,
    pub(super) board: Arc<Board>,
}

impl<S: Fn(Event<'_>)> Chorus<S> {
    /// Every change of a primary before this moment has been heard, and more will be; `true` = memory of it is open
    /// from now on.
    pub(super) fn heard(&self, proof: &Arc<Proof>, moment: Moment) -> bool {
        let opens = !proof.is_open();
        if opens {
            self.flushed(proof);
        }
        proof.prove(moment);
        opens
    }

    /// All keys of a primary are gone, or whatever was known of them.
    pub(super) fn flushed(&self, proof: &Arc<Proof>) {
        proof.begin();
        (self.sink)(Event::Cleared(proof));
    }
}

/// What the log and others are told of one server.
pub(super) struct Teller {
    server: String,
    board: Arc<Board>,
    /// What was last told of it, and when it was last told to be deaf.
    told: Mutex<(Option<Status>, Option<Instant>)>,
}

impl Teller {
    pub(super) fn new(redis: &Redis, board: &Arc<Board>) -> Self {
        Self { server: redis.server().address.to_string(), board: board.clone(), told: Mutex::default() }
    }

    /// Changes are heard, by events, or else by tracking: `lack` says what must be done for events.
    pub(super) fn tell_heard(&self, lack: Option<&str>) {
        let by = if lack.is_none() { Status::Events } else { Status::Tracking };
        if let (true, Some(remedy)) = (self.tell(by), lack) {
            tracing::info!(server = self.server, remedy, "every renewal of a session by its app costs a read");
        }
    }

    /// One line for each change, and not many of them; `true` = there was one.
    pub(super) fn tell(&self, status: Status) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, server) = (clock::now(), &self.server);
        let (last, at) = &*told;
        let is_news = match (&status, last) {
            (Status::Deaf(_), Some(Status::Deaf(_))) => false,
            (Status::Deaf(_), _) => at.is_none_or(|at| now - at >= COMPLAINT),
            (by, last) => last.as_ref() != Some(by),
        };
        if let (true, Status::Deaf(why)) = (is_news, &status) {
            tracing::warn!(server, why, "sessions are not answered from memory");
            *told = (Some(status.clone()), Some(now));
        } else if is_news {
            tracing::info!(server, invalidation = %status, "sessions are answered from memory");
            told.0 = Some(status.clone());
        }
        drop(told);
        self.board.put(server, status);
        is_news
    }
}

#[cfg(test)]
mod tests;
