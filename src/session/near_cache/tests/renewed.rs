//! Records whose time to live was changed.

use super::*;
use crate::session::near_cache::{
    confirmation::{Confirmation, TOGETHER},
    entry::RENEWED_MAX,
};

/// When a change is asked for.
const DUE: Duration = Duration::from_secs(25);

impl Stage {
    fn later(&self, duration: Duration) -> Moment {
        self.proofs.now().after(duration)
    }

    /// What is asked for after so long.
    fn asks(&self, after: Duration) -> Vec<Confirmation> {
        match self.due(self.later(after)) {
            Due::Now(batch) => batch,
            Due::In(_) | Due::Nothing => Vec::new(),
        }
    }

    /// The one question that is asked when it is due.
    fn asked(&self) -> Confirmation {
        let mut batch = self.asks(DUE);
        assert_eq!(batch.len(), 1);
        batch.remove(0)
    }
}

#[test]
fn a_record_whose_life_was_changed_is_believed_for_a_while() {
    let cache = cache();
    cache.keep(session("zoe"));
    assert_eq!(cache.user_after(RENEWED_MAX * 3 / 2).as_deref(), Some("zoe"));
    cache.notice(b"k", Change::Renewed);
    assert_eq!(cache.user_after(RENEWED_MAX - SECOND).as_deref(), Some("zoe"));
    assert_eq!(cache.user_after(RENEWED_MAX), None, "it may be over, and nobody has told");
    // Also where that happened while it was read.
    let slow = cache.begin();
    cache.notice(b"k", Change::Renewed);
    cache.answered("k", slow, Ok(session("max")), W);
    assert_eq!((cache.user().as_deref(), cache.user_after(RENEWED_MAX)), (Some("max"), None));
    assert_eq!(&*cache.asked().key, "k");
    cache.keep(session("ada"));
    assert_eq!(cache.user_after(RENEWED_MAX).as_deref(), Some("ada"));
}

#[test]
fn it_is_asked_once_when_it_is_due_whether_it_still_lives() {
    let cache = cache();
    cache.keep(session("zoe"));
    assert!(!cache.has_renewed() && matches!(cache.due(cache.later(MINUTE)), Due::Nothing));
    cache.notice(b"another", Change::Renewed);
    cache.notice(b"k", Change::Renewed);
    cache.notice(b"k", Change::Renewed);
    assert!(cache.has_renewed());
    assert!(matches!(cache.due(cache.later(Duration::ZERO)), Due::In(pause) if pause > DUE - SECOND && pause <= DUE));
    let asked = cache.asked();
    assert!(!cache.has_renewed() && matches!(cache.due(cache.later(MINUTE)), Due::Nothing));
    // That it lives says nothing about how long.
    cache.confirmed(asked, Ok(Life::GoesOn));
    assert_eq!(cache.user_after(RENEWED_MAX + DUE - SECOND).as_deref(), Some("zoe"));
    assert_eq!(cache.user_after(RENEWED_MAX + DUE), None);
    assert!(matches!(cache.due(cache.later(DUE)), Due::In(_)));
    let asked = cache.asks(DUE * 2).remove(0);
    cache.confirmed(asked, Ok(Life::Lasts(Some(SECOND * 6))));
    assert_eq!(cache.user_after(DUE * 2 + SECOND * 5).as_deref(), Some("zoe"), "now that is known");
    assert_eq!(cache.user_after(DUE * 2 + SECOND * 6), None);
    assert!(!cache.has_renewed());
    // One that was read anew meanwhile, or that will be, is not asked for.
    cache.notice(b"k", Change::Renewed);
    cache.keep(Loaded { remaining: Some(DUE), ..session("max") });
    cache.notice(b"k", Change::Renewed);
    assert!(cache.asks(DUE).is_empty() && !cache.has_renewed());
}

#[test]
fn what_happens_while_it_is_asked_counts() {
    let stage = || {
        let cache = cache();
        cache.keep(session("zoe"));
        cache.notice(b"k", Change::Renewed);
        let asked = cache.asked();
        (cache, asked)
    };
    let (cache, asked) = stage();
    cache.notice(b"k", Change::Renewed);
    cache.confirmed(asked, Ok(Life::Lasts(None)));
    assert!(cache.has_renewed() && cache.user_after(DUE + RENEWED_MAX).is_none(), "it was changed again");
    for change in [Change::Written, Change::Deleted, Change::Expired] {
        let (cache, asked) = stage();
        cache.notice(b"k", change);
        cache.confirmed(asked, Ok(Life::GoesOn));
        assert_eq!(cache.user(), None, "{change:?}");
    }
    let (cache, asked) = stage();
    cache.keep(session("max"));
    cache.confirmed(asked, Ok(Life::GoesOn));
    assert_eq!(cache.user().as_deref(), Some("max"));
    let (cache, asked) = stage();
    cache.confirmed(asked, Ok(Life::Over));
    assert!(cache.user().is_none() && cache.life("k").is_some(), "how it went is still to be told");
    let (cache, asked) = stage();
    cache.confirmed(asked, Err(Outage("away".to_owned())));
    assert_eq!((cache.user().as_deref(), cache.user_after(RENEWED_MAX)), (Some("zoe"), None));
}

#[test]
fn many_are_asked_for_in_one_go_and_none_is_left_out() {
    let proofs = cache().proofs.clone();
    let cache = Stage { cache: NearCache::new("express", 10_000, &[], proofs, &Metrics::new(1)), ..cache() };
    let keys: Vec<_> = (0..TOGETHER + 100).map(|number| number.to_string()).collect();
    for key in &keys {
        let reading = cache.read(key, true, W).1.expect("no other read is under way");
        cache.answered(key, reading, Ok(session("zoe")), W);
        cache.notice(key.as_bytes(), Change::Renewed);
    }
    let mut asked: Vec<_> = [cache.asks(DUE), cache.asks(DUE)].into_iter().flatten().map(|asked| asked.key).collect();
    assert_eq!(asked.len(), keys.len());
    asked.sort_unstable_by_key(|key| key.parse::<usize>().ok());
    assert!(asked.iter().map(|key| &**key).eq(&keys));
}

#[test]
fn what_waits_to_be_asked_for_is_bounded() {
    let cache = cache();
    for _ in 0..1000 {
        cache.keep(session("zoe"));
        cache.notice(b"k", Change::Renewed);
    }
    assert_eq!(cache.all_renewed().0.len(), 100);
}
