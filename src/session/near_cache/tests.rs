//! What memory may say, and when it may not.

mod renewed;

use super::{entry::PLACE, *};
use crate::{
    config::store::Url,
    redis::{Primaries, server::Server},
    session::{Absence, Session, value::Value},
    tasks::Workers,
};
use std::{ops::Deref, sync::Weak};

const W: Worker = Worker(0);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Memory of what one primary tells.
struct Stage {
    cache: NearCache,
    proof: Arc<Proof>,
}

impl Deref for Stage {
    type Target = NearCache;

    fn deref(&self) -> &NearCache {
        &self.cache
    }
}

fn cache() -> Stage {
    let proofs = Arc::new(Proofs::new(MINUTE));
    let proof = proofs.make();
    proofs.replace(vec![(Weak::new(), proof.clone())]);
    proof.prove(proof.now());
    Stage { cache: NearCache::new("express", 100, &[], proofs, &Metrics::new(1)), proof }
}

fn session(user: &str) -> Loaded {
    let session = Session {
        name: "express".into(),
        id: SessionId::new("id"),
        user: user.to_owned(),
        roles: Vec::new(),
        record: Value::Null,
        own_members: &[],
        begun: None,
        identity: std::sync::OnceLock::new(),
    };
    loaded(Finding::Valid(Arc::new(session)))
}

fn loaded(finding: Finding) -> Loaded {
    Loaded {
        finding,
        proof: None,
        digest: None,
        bytes: 100,
        ends: None,
        remaining: None,
        fresh_for: None,
        unchanged: false,
    }
}

impl Stage {
    fn begin(&self) -> Reading {
        self.read("k", true, W).1.expect("no other read is under way")
    }

    /// Reads a record as nobody else does.
    fn keep(&self, loaded: Loaded) {
        let reading = self.begin();
        self.answered("k", reading, Ok(loaded), W);
    }

    /// As the primary tells it.
    fn answered(&self, key: &str, reading: Reading, loaded: Result<Loaded, Outage>, worker: Worker) {
        let told = |loaded| Loaded { proof: Some(self.proof.clone()), ..loaded };
        self.cache.answered(key, reading, loaded.map(told), worker);
    }

    fn user(&self) -> Option<String> {
        self.user_after(Duration::ZERO)
    }

    fn user_after(&self, duration: Duration) -> Option<String> {
        match self.recalled("k", duration)? {
            Finding::Valid(session) => Some(session.user.clone()),
            Finding::Absent(..) => Some("nobody".to_owned()),
        }
    }

    /// By a cookie that has led there before, if there is one, and by one that has not: both find the same.
    fn recalled(&self, key: &str, after: Duration) -> Option<Finding> {
        let now = self.proof.now().after(after);
        let linked = self.named(key.as_bytes()).unwrap_or_else(|| {
            let named = Named::new(SessionId::new("id"), key);
            self.name(key.as_bytes(), &named);
            named
        });
        let new = Named::new(SessionId::new("id"), key);
        let [linked, new] = [&linked, &new].map(|named| self.recall(named, now, W));
        assert_eq!(format!("{linked:?}"), format!("{new:?}"));
        linked
    }
}

#[test]
fn a_session_is_remembered_until_something_happens_to_it() {
    for change in [Change::Written, Change::Deleted, Change::Expired, Change::Evicted, Change::MovedAway, Change::Any] {
        let cache = cache();
        assert_eq!(cache.user(), None);
        cache.keep(session("zoe"));
        assert_eq!(cache.user().as_deref(), Some("zoe"));
        cache.notice(b"another", change);
        cache.notice(b"k", Change::Renewed);
        assert_eq!(cache.user().as_deref(), Some("zoe"));
        cache.notice(b"k", change);
        assert_eq!(cache.user(), None, "{change:?}");
        assert!(cache.recall_stale("k", MINUTE, W).is_none(), "{change:?}");
        cache.keep(session("max"));
        assert_eq!(cache.user().as_deref(), Some("max"));
        cache.clear(&cache.proof);
        assert_eq!(cache.user(), None);
    }
}

#[test]
fn how_long_a_session_had_to_live_is_known_until_its_end_is_told() {
    for keeps_absence in [true, false] {
        let cache = cache();
        cache.keep(Loaded { remaining: Some(MINUTE), ..session("zoe") });
        // A request finds the record gone before Redis says how it went.
        let reading = cache.read("k", keeps_absence, W).1.unwrap();
        cache.answered("k", reading, Ok(loaded(Finding::Absent(Absence::NotFound, None))), W);
        assert_eq!((cache.user(), cache.life("k")), (None, Some(Some(MINUTE))));
        assert!(cache.recall_stale("k", MINUTE, W).is_none());
        cache.notice(b"k", Change::Deleted);
        assert_eq!(cache.life("k"), None);
        // Of who never had a session there is nothing to tell.
        let reading = cache.read("k", keeps_absence, W).1.unwrap();
        cache.answered("k", reading, Ok(loaded(Finding::Absent(Absence::NotFound, None))), W);
        assert_eq!((cache.user().is_some(), cache.life("k")), (keeps_absence, None));
    }
}

#[test]
fn what_a_change_overtakes_is_not_kept_and_a_later_read_is() {
    for change in [Change::Written, Change::Deleted, Change::Any] {
        let cache = cache();
        let slow = cache.begin();
        cache.notice(b"k", change);
        let fast = cache.begin();
        cache.answered("k", fast, Ok(session("new")), W);
        cache.answered("k", slow, Ok(session("old")), W);
        assert_eq!(cache.user().as_deref(), Some("new"), "{change:?}");
    }
    let cache = cache();
    let slow = cache.begin();
    cache.proof.begin();
    cache.clear(&cache.proof);
    cache.answered("k", slow, Ok(session("old")), W);
    assert_eq!(cache.user(), None, "everything was flushed meanwhile");
}

#[test]
fn memory_is_used_only_while_it_is_proven() {
    let cache = cache();
    cache.keep(session("zoe"));
    assert_eq!(cache.user_after(MINUTE), None, "the proof is over");
    assert_eq!(cache.user().as_deref(), Some("zoe"));
    let slow = cache.read("other", true, W).1.unwrap();
    cache.proof.end();
    assert_eq!(cache.user(), None);
    cache.proof.begin();
    cache.proof.prove(cache.proof.now());
    assert_eq!(cache.user(), None, "what was read before the doubt is worth nothing");
    cache.answered("other", slow, Ok(session("zoe")), W);
    assert!(cache.recalled("other", Duration::ZERO).is_none());
    cache.keep(session("zoe"));
    assert_eq!(cache.user().as_deref(), Some("zoe"));
}

#[test]
fn what_one_primary_has_told_depends_on_no_other() {
    let (cache, other) = (cache(), cache().proofs.make());
    let keep = |key: &str, proof: &Option<Arc<Proof>>| {
        let reading = cache.read(key, true, W).1.expect("no other read is under way");
        cache.cache.answered(key, reading, Ok(Loaded { proof: proof.clone(), ..session("zoe") }), W);
    };
    let knows = |key: &str| cache.recalled(key, Duration::ZERO).is_some();
    let passes = |key: &str| cache.recall_stale(key, MINUTE, W).is_some();
    let entry = |proof: &Arc<Proof>| (Weak::new(), proof.clone());
    cache.proofs.replace(vec![entry(&cache.proof), entry(&other)]);
    other.prove(other.now());
    keep("here", &Some(cache.proof.clone()));
    keep("there", &Some(other.clone()));
    keep("between", &None);
    assert!(knows("here") && knows("there") && !knows("between") && cache.is_proven());
    other.end();
    assert!(knows("here") && !knows("there") && passes("there") && passes("between") && !cache.is_proven());
    // Only what the primary itself told is forgotten, and what nobody stands for.
    cache.clear(&cache.proof);
    assert!(!knows("here") && !passes("here") && passes("there") && !passes("between"));
    cache.proofs.replace(vec![entry(&cache.proof)]);
    assert!(passes("there"), "its keys are about to be another's");
    cache.clear(&cache.proof);
    assert!(!passes("there"));
}

#[tokio::test]
async fn who_begins_with_nothing_is_remembered_where_its_changes_are_heard() {
    const OUTLINES: &[Outline] = &[Outline { length: 2, letters: &[(b'a', b'z')] }];
    let (server, proofs) = (Server::start(&[]), Arc::new(Proofs::new(MINUTE)));
    let url = Url::Redis(server.config());
    let primaries = Primaries::connect(&url, Some(1), SECOND, &Workers::current(), &Metrics::new(1));
    let (redis, proof) = (primaries.now().all()[0].clone(), proofs.make());
    let cache = NearCache::new("tower", 100, OUTLINES, proofs.clone(), &Metrics::new(1));
    proofs.replace(vec![(Arc::downgrade(&redis), proof.clone())]);
    proof.prove(proof.now());
    let is_heard = |key: &str| cache.proof(&redis, key).is_some();
    assert!(!is_heard("ab"), "tracking does not tell");
    proof.listens(true);
    assert!(is_heard("ab") && !is_heard("abc") && !is_heard("aB"));
    assert!(!cache.is_proven(), "of some that is not known");
}

#[test]
fn a_session_ends_with_its_record_and_wants_to_be_read_again_when_it_says_so() {
    let cache = cache();
    cache.keep(Loaded { remaining: Some(SECOND), ..session("zoe") });
    assert_eq!(cache.user().as_deref(), Some("zoe"));
    assert_eq!(cache.user_after(SECOND), None);
    cache.notice(b"k", Change::Any);
    cache.keep(Loaded { fresh_for: Some(SECOND), ..session("zoe") });
    assert_eq!(cache.user().as_deref(), Some("zoe"));
    assert_eq!(cache.user_after(SECOND), None);
}

#[test]
fn an_absence_is_remembered_for_a_moment_and_only_where_it_refuses_nobody() {
    let cache = cache();
    let absent = || loaded(Finding::Absent(Absence::NotFound, None));
    cache.keep(absent());
    assert_eq!(cache.user().as_deref(), Some("nobody"));
    assert_eq!(cache.user_after(SECOND), None);
    let strict = cache.read("strict", false, W).1.unwrap();
    cache.answered("strict", strict, Ok(absent()), W);
    assert!(cache.recalled("strict", Duration::ZERO).is_none());
    assert!(cache.recall_stale("k", MINUTE, W).is_none(), "nobody is let in as nobody");
}

#[test]
fn in_an_outage_passes_what_was_proven_not_long_ago() {
    let cache = cache();
    cache.keep(session("zoe"));
    cache.proof.end();
    assert!(cache.recall_stale("k", MINUTE, W).is_some());
    assert!(cache.recall_stale("k", Duration::ZERO, W).is_none());
    cache.keep(session("unwatched"));
    assert_eq!(cache.user(), None);
    assert!(cache.recall_stale("k", MINUTE, W).is_some(), "it was proven when it was read");
    cache.notice(b"k", Change::Written);
    assert!(cache.recall_stale("k", MINUTE, W).is_none());
    cache.keep(Loaded { remaining: Some(Duration::ZERO), ..session("over") });
    assert!(cache.recall_stale("k", MINUTE, W).is_none());
}

#[test]
fn the_same_bytes_are_understood_once() {
    let cache = cache();
    let (digest, known) = cache.understood("k", b"bytes");
    assert!(known.is_none());
    cache.keep(Loaded { digest: Some(digest), ..session("zoe") });
    cache.notice(b"k", Change::Any);
    assert!(cache.understood("k", b"bytes").1.is_some());
    assert!(cache.understood("k", b"other").1.is_none());
    cache.notice(b"k", Change::Deleted);
    assert!(cache.understood("k", b"bytes").1.is_none());
}

#[tokio::test]
async fn everybody_who_waits_for_a_read_gets_its_answer() {
    let cache = cache();
    let (first, reading) = cache.read("k", false, W);
    let (second, none) = cache.read("k", false, W);
    assert!(none.is_none());
    cache.answered("k", reading.unwrap(), Ok(session("zoe")), W);
    for read in [first, second] {
        assert!(matches!(read.wait(SECOND).await, Ok(Finding::Valid(session)) if session.user == "zoe"));
    }
    let (impatient, reading) = cache.read("slow", false, W);
    assert!(impatient.wait(Duration::ZERO).await.is_err());
    drop(reading);
    let (given_up, again) = cache.read("slow", false, W);
    assert!(again.is_some(), "nobody waits for what was given up");
    drop(again);
    assert!(given_up.wait(MINUTE).await.is_err());
}

#[test]
fn a_long_cookie_is_verified_each_time() {
    let cache = cache();
    let named = Named::new(SessionId::new("id"), "k");
    cache.name(b"short", &named);
    cache.name(&[b'x'; COOKIE_MAX + 1], &named);
    assert!(cache.named(b"short").is_some());
    assert!(cache.named(&[b'x'; COOKIE_MAX + 1]).is_none());
}

#[test]
fn a_long_record_takes_the_place_of_several_and_one_that_is_too_long_takes_none() {
    let cache = cache();
    let keep = |number: usize, bytes| {
        let key = number.to_string();
        let reading = cache.read(&key, true, W).1.expect("no other read is under way");
        cache.answered(&key, reading, Ok(Loaded { bytes, ..session("zoe") }), W);
        cache.recalled(&key, Duration::ZERO).is_some()
    };
    for number in 0..300 {
        assert!(keep(number, PLACE - 1));
    }
    assert!((50..=100).contains(&cache.entries.len()), "{}", cache.entries.len());
    for number in 300..600 {
        keep(number, PLACE * 9);
    }
    assert!(cache.entries.weight() <= 100 && cache.entries.len() <= 60, "{}", cache.entries.len());
    assert!(!keep(600, PLACE * 1000), "it is read each time");
    assert!(!cache.entries.is_empty(), "the others stay");
}

#[test]
fn a_record_that_is_reached_without_its_table_is_the_one_that_was_read_last() {
    let cache = cache();
    cache.keep(session("zoe"));
    assert_eq!(cache.user().as_deref(), Some("zoe"));
    // Somebody answers from it right now, for however long.
    let held = cache.entries.peek(&b"k"[..]).expect("it was read");
    cache.keep(session("max"));
    assert_eq!(cache.user().as_deref(), Some("max"), "although nothing was heard of the change");
    assert!(!held.fresh.is_ahead_of(cache.proof.now()));
    for change in [Change::Deleted, Change::Written] {
        cache.keep(session("ada"));
        assert_eq!(cache.user().as_deref(), Some("ada"));
        let held = cache.entries.peek(&b"k"[..]).expect("it was read");
        cache.notice(b"k", change);
        assert_eq!(cache.user(), None, "{change:?}");
        drop(held);
    }
    cache.keep(session("eva"));
    assert_eq!(cache.user().as_deref(), Some("eva"));
    let held = cache.entries.peek(&b"k"[..]).expect("it was read");
    cache.entries.set_capacity(0);
    assert!(cache.entries.is_empty());
    assert_eq!(cache.user(), None, "what is not in the table is nowhere");
    assert!(held.fresh.has_ended());
}

#[test]
fn a_session_that_is_in_use_stays_when_others_come() {
    let cache = cache();
    let mut lost = 0;
    for number in 0..2000 {
        if cache.user_after(TOUCH * number / 120).is_none() {
            lost += 1;
            cache.keep(session("zoe"));
        }
        let key = number.to_string();
        let reading = cache.read(&key, true, W).1.expect("no other read is under way");
        cache.answered(&key, reading, Ok(session("max")), W);
    }
    assert!(lost < 20, "{lost}");
}
