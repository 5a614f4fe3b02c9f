//! Streams that go on behind their answer, such as WebSockets: each ends when the session ends that it was opened with.

use super::{Activity, Finding, Look, Session, Sessions, Source, Trust, id::SessionId, near_cache::Named};
use crate::{
    clock,
    tasks::{self, Worker},
};
use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// How often a session with open streams is judged again while every change of it is heard: its age and its idle time
/// are over without any.
const PERIOD: Duration = Duration::from_secs(60);
/// The same while changes are not heard.
const PERIOD_DEAF: Duration = Duration::from_secs(10);
/// The most sessions that one round judges at the same time.
const AT_ONCE: usize = 64;
/// Locks that the sessions are spread over.
const SHARDS: usize = 16;

/// The open streams of one `[session]`, shared by the workers, and by one configuration after the other.
#[derive(Default)]
pub(super) struct Tethers {
    shards: [Mutex<HashMap<Box<str>, Group>>; SHARDS],
    hasher: RandomState,
    open: AtomicUsize,
    /// A round is under way.
    round: AtomicBool,
}

/// The open streams of one session.
struct Group {
    id: SessionId,
    knots: Vec<Arc<Knot>>,
    /// When the session was last found to be good, or could not be judged. `None` = it is doubted.
    judged: Option<Instant>,
    under_way: bool,
}

/// What one stream needs of its session.
struct Knot {
    user: Box<str>,
    roles: Arc<[String]>,
    cut: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Holds a stream to its session, until it is dropped.
pub struct Tether {
    tethers: Arc<Tethers>,
    key: Box<str>,
    knot: Arc<Knot>,
}

impl Sessions {
    /// Ties a stream to the session it was opened with. It is cut when the session is over, names another user, or has
    /// none of `roles` any more (empty = none is needed).
    pub fn tether(self: &Arc<Self>, session: &Session, roles: &Arc<[String]>, worker: Worker) -> Tether {
        let key = self.format.key(&session.id);
        let knot = Arc::new(Knot {
            user: session.user.as_str().into(),
            roles: roles.clone(),
            cut: AtomicBool::new(false),
            waker: Mutex::default(),
        });
        self.tethers.tie(&key, &session.id, &knot);
        // What happened since the request was judged was told to no stream.
        self.judge_streams(&key, worker);
        Tether { tethers: self.tethers.clone(), key: key.into(), knot }
    }

    /// Something may have happened to a session; memory has been told. Its streams are cut unless it is still good.
    pub(super) fn judge_streams(self: &Arc<Self>, key: &str, worker: Worker) {
        let Some(id) = self.tethers.begin(key) else { return };
        let (sessions, key) = (self.clone(), key.to_owned());
        tasks::background(async move { sessions.judge_group(&key, id, worker).await });
    }

    /// Anything may have happened to any session.
    pub(super) fn judge_all_streams(self: &Arc<Self>, worker: Worker) {
        self.tethers.doubt_all();
        self.look_after_streams(worker);
    }

    /// Once a second: judges the sessions with open streams whose turn it is.
    pub fn look_after_streams(self: &Arc<Self>, worker: Worker) {
        if self.tethers.is_unused() || self.tethers.due(self.period()).is_empty() {
            return;
        }
        if self.tethers.round.swap(true, Ordering::SeqCst) {
            return;
        }
        let sessions = self.clone();
        tasks::background(async move {
            loop {
                let due = sessions.tethers.due(sessions.period());
                let due = due.into_iter().filter_map(|key| Some((sessions.tethers.begin(&key)?, key)));
                let judges: Vec<_> = due
                    .map(|(id, key)| {
                        let sessions = sessions.clone();
                        async move { sessions.judge_group(&key, id, worker).await }
                    })
                    .collect();
                if judges.is_empty() {
                    break;
                }
                tasks::side_by_side(judges).await;
            }
            sessions.tethers.round.store(false, Ordering::SeqCst);
        });
    }

    /// Another configuration begins. Streams of sessions that it knows are judged by it; the others end.
    pub fn hand_over(&self, heirs: &[Arc<Self>]) {
        match heirs.iter().find(|heir| Arc::ptr_eq(&heir.tethers, &self.tethers)) {
            Some(_) => self.tethers.doubt_all(),
            None => self.verdicts.cut(self.tethers.cut_all(), Worker(0)),
        }
    }

    fn period(&self) -> Duration {
        let hears = self.near.as_ref().is_some_and(|near| near.is_proven());
        if hears { PERIOD } else { PERIOD_DEAF }
    }

    async fn judge_group(self: &Arc<Self>, key: &str, id: SessionId, worker: Worker) {
        let record = self.format.key(&id);
        let named = Named::new(id, record);
        loop {
            let finding = Box::pin(self.find_again(key, &named, worker)).await;
            let (cut, again) = self.tethers.settle(key, finding.as_ref());
            self.verdicts.cut(cut, worker);
            if !again {
                return;
            }
        }
    }

    /// The session as it is now; `None` = the store cannot be asked. Nothing that would cut a stream comes from memory.
    async fn find_again(self: &Arc<Self>, key: &str, named: &Arc<Named>, worker: Worker) -> Option<Finding> {
        let look = |trust| Look { worker, begun: clock::now(), trust, keeps_absence: false, stale_for: None };
        let found = self.look_up(named, Activity::Ignored, look(Trust::Memory)).await.ok()?;
        if found.source == Source::Store || self.tethers.all_hold(key, &found.finding) {
            return Some(found.finding);
        }
        Some(self.look_up(named, Activity::Ignored, look(Trust::Store)).await.ok()?.finding)
    }
}

impl Tethers {
    fn tie(&self, key: &str, id: &SessionId, knot: &Arc<Knot>) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let mut shard = self.shard(key);
        let new = || Group { id: id.clone(), knots: Vec::new(), judged: None, under_way: false };
        shard.entry(key.into()).or_insert_with(new).knots.push(knot.clone());
    }

    pub(super) fn is_unused(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    /// The id of a session that is to be judged now; one that is being judged will be judged once more.
    fn begin(&self, key: &str) -> Option<SessionId> {
        if self.is_unused() {
            return None;
        }
        let mut shard = self.shard(key);
        let group = shard.get_mut(key)?;
        group.judged = None;
        (!std::mem::replace(&mut group.under_way, true)).then(|| {
            group.judged = Some(clock::now());
            group.id.clone()
        })
    }

    /// A session was judged: cuts what does not hold. Returns how many streams that were, and whether something
    /// happened meanwhile.
    fn settle(&self, key: &str, finding: Option<&Finding>) -> (u64, bool) {
        let mut shard = self.shard(key);
        let Some(group) = shard.get_mut(key) else { return (0, false) };
        let cut = finding.map_or(0, |finding| {
            let over = group.knots.iter().filter(|knot| !knot.holds(finding));
            over.map(|knot| u64::from(knot.cut())).sum()
        });
        let again = group.judged.is_none();
        group.judged = Some(clock::now());
        group.under_way = again;
        (cut, again)
    }

    fn all_hold(&self, key: &str, finding: &Finding) -> bool {
        self.shard(key).get(key).is_none_or(|group| group.knots.iter().all(|knot| knot.holds(finding)))
    }

    /// Some of the sessions that were not judged for `period`.
    fn due(&self, period: Duration) -> Vec<Box<str>> {
        let now = clock::now();
        let is_due = |group: &Group| !group.under_way && group.judged.is_none_or(|judged| now - judged >= period);
        let mut due = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            due.extend(shard.iter().filter(|(_, group)| is_due(group)).map(|(key, _)| key.clone()).take(AT_ONCE));
            if due.len() >= AT_ONCE {
                break;
            }
        }
        due
    }

    fn doubt_all(&self) {
        if !self.is_unused() {
            self.shards.iter().for_each(|shard| lock(shard).values_mut().for_each(|group| group.judged = None));
        }
    }

    fn cut_all(&self) -> u64 {
        let cut = |group: &Group| group.knots.iter().map(|knot| u64::from(knot.cut())).sum::<u64>();
        self.shards.iter().map(|shard| lock(shard).values().map(cut).sum::<u64>()).sum()
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, HashMap<Box<str>, Group>> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
}

impl Knot {
    fn holds(&self, finding: &Finding) -> bool {
        matches!(finding, Finding::Valid(session) if *session.user == *self.user && session.has_any_of(&self.roles))
    }

    /// `false` = it was cut before.
    fn cut(&self) -> bool {
        let first = !self.cut.swap(true, Ordering::SeqCst);
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
        first
    }
}

impl Tether {
    /// Whether the session is over.
    pub fn is_cut(&self) -> bool {
        self.knot.cut.load(Ordering::Relaxed)
    }

    /// Ready once the session is over. Wakes the last that asked.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = lock(&self.knot.waker);
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        if self.knot.cut.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        let mut shard = self.tethers.shard(&self.key);
        if let Some(group) = shard.get_mut(&self.key) {
            group.knots.retain(|knot| !Arc::ptr_eq(knot, &self.knot));
            if group.knots.is_empty() {
                shard.remove(&self.key);
            }
        }
        self.tethers.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Tethers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tethers").field("open", &self.open).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tether {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tether(..)")
    }
}

/// What is behind these locks is changed in one step: a panic leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
