//! What counts as a round, and for how long.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn back(at: Instant) -> Return {
    Return { at, cookie: Given::Set, is_sure: true }
}

/// Goes round so often, a step apart; whether the last was one too many.
fn goes_round(rounds: &Rounds, visitor: u64, begin: Instant, times: u32, step: Duration) -> bool {
    let mut last = rounds.refused(visitor, "/page", begin, |_| true).is_some();
    for round in 1..=times {
        let now = begin + step * round;
        rounds.returned(visitor, back(now - SECOND / 2));
        last = rounds.refused(visitor, "/page", now, |_| true).is_some();
    }
    last
}

#[test]
fn the_fifth_round_within_the_window_is_one_too_many() {
    let now = clock::now();
    assert!(!goes_round(&Rounds::default(), 1, now, 4, SECOND));
    assert!(goes_round(&Rounds::default(), 1, now, 5, SECOND));
    assert!(goes_round(&Rounds::default(), 1, now, 5, SECOND * 7));
    assert!(!goes_round(&Rounds::default(), 1, now, 50, SECOND * 8), "four fit into the window");
}

#[test]
fn a_loop_stays_one_until_its_rounds_are_long_ago() {
    let (rounds, now) = (Rounds::default(), clock::now());
    assert!(goes_round(&rounds, 1, now, 5, SECOND));
    assert!(rounds.refused(1, "/page", now + SECOND * 6, |_| true).is_some());
    assert!(rounds.refused(1, "/page", now + SECOND * 32, |_| true).is_none());
}

#[test]
fn who_never_came_back_from_login_goes_nowhere() {
    let (rounds, now) = (Rounds::default(), clock::now());
    rounds.returned(1, back(now - SECOND));
    assert!((0..20).all(|round| rounds.refused(1, "/page", now + SECOND * round, |_| true).is_none()));
}

#[test]
fn visitors_and_pages_are_told_apart_and_who_passes_begins_anew() {
    let (rounds, now) = (Rounds::default(), clock::now());
    assert!(!goes_round(&rounds, 1, now, 4, SECOND));
    assert!(!goes_round(&rounds, 2, now, 4, SECOND));
    rounds.returned(1, back(now + SECOND * 4));
    assert!(rounds.refused(1, "/other", now + SECOND * 5, |_| true).is_none());
    rounds.passed(1, "/page", now + SECOND * 5);
    assert!(!goes_round(&rounds, 1, now + SECOND * 5, 4, SECOND));
    assert!(goes_round(&rounds, 2, now + SECOND * 4, 1, SECOND));
}

#[test]
fn what_is_remembered_is_bounded() {
    let (rounds, now) = (Rounds::default(), clock::now());
    for visitor in 0..3 * REMEMBERED_MAX as u64 {
        rounds.refused(visitor, "/page", now, |_| true);
        rounds.returned(visitor, back(now));
    }
    let memory = rounds.memory();
    assert!(memory.pages.len() <= REMEMBERED_MAX && memory.returns.len() <= REMEMBERED_MAX);
}
