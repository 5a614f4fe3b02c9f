//! How long a session is good, whatever its record's life in the store: its age, its idle time; and its renewal.

use super::{
    Absence, Activity,
    beside::{self, LONGEST},
    mark::{Mark, User},
    recent::Recent,
    store::{Outage, Record, Store},
    value::Value,
};
use crate::{
    config::{
        path::RecordPath,
        session::{self, StartedAt, Touch},
    },
    tasks::Worker,
};
use jiff::Timestamp;
use std::time::Duration;

/// How often a mark that only tells the first sight is looked at again.
const MARK_PERIOD: Duration = Duration::from_secs(60);
/// The longest that a renewal is put off; a tenth of a short life.
const RENEWAL_LAG_MAX: Duration = Duration::from_secs(60);
/// What was read so shortly ago was read for this request.
const JUST_NOW: Duration = Duration::from_millis(100);
/// A login later than so far ahead is no login time: clocks differ less.
const AHEAD_MAX: Duration = Duration::from_secs(60 * 60);
/// From here on a number is milliseconds: as seconds it would be the year 5138, as milliseconds it is 1973.
const MILLISECONDS_FROM: f64 = 1e11;

/// The limits of one `[session]` that has some.
#[derive(Debug)]
pub(super) struct Lifetime {
    limits: session::Lifetime,
    /// Where a record says, in milliseconds, for how long a read renews it.
    renewal: Option<RecordPath>,
    namespace: String,
    known: Recent<Known>,
}

/// What is known here of one record. Times are since the Unix epoch.
#[derive(Debug, Clone, Copy)]
struct Known {
    mark: Option<Mark>,
    /// The last use that the mark in the store tells of.
    written: Option<Duration>,
    /// When the store was last asked.
    asked: Duration,
    /// When the record ends in the store; `None` = it does not expire.
    ends: Option<Duration>,
}

/// A session whose record is good and names a user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The record's key.
    pub(super) key: &'a str,
    pub(super) user: &'a str,
    pub(super) data: &'a Value,
    /// Whether it is being used.
    pub(super) activity: Activity,
    /// When it is judged, since the Unix epoch.
    pub(super) now: Duration,
}

impl Lifetime {
    /// `None` = nothing is limited and nothing renewed: the store alone decides.
    pub(super) fn compile(config: &session::Session) -> Option<Self> {
        let session::Lifetime { started_at, idle_timeout, touch, .. } = &config.lifetime;
        let decides = started_at.is_some() || idle_timeout.is_some() || *touch != Touch::Never;
        let says = *touch != Touch::Never && config.preset.format == "express";
        decides.then(|| Self {
            limits: config.lifetime.clone(),
            renewal: says.then(|| RecordPath(vec!["cookie".to_owned(), "originalMaxAge".to_owned()])),
            namespace: config.namespace.clone(),
            known: Recent::default(),
        })
    }

    /// Where in a record it looks.
    pub(super) fn paths(&self) -> impl Iterator<Item = &RecordPath> {
        let started = match &self.limits.started_at {
            Some(StartedAt::Path(path)) => Some(path),
            Some(StartedAt::FirstSeen) | None => None,
        };
        started.into_iter().chain(&self.renewal)
    }

    /// Whether more must be known than the record tells: how long it has left, and its mark.
    pub(super) fn needs_more(&self) -> bool {
        self.needs_mark() || self.limits.touch != Touch::Never
    }

    /// The key of the mark that is to be read together with the record.
    pub(super) fn mark_key(&self, key: &str) -> Option<String> {
        self.needs_mark().then(|| beside::key(&self.namespace, "mark", key))
    }

    /// Takes note of what was read: how long the record has left, and its mark.
    pub(super) fn learn(&self, key: &str, remaining: Option<Duration>, mark: &Record, now: Duration) {
        let stored = match mark {
            Record::Present(text) => Mark::read(text),
            Record::Absent | Record::Unreadable(_) => None,
        };
        let known = self.known.get(key);
        let here = known.and_then(|known| known.mark);
        let mark = match (stored, here) {
            (Some(stored), Some(here)) if stored.user == here.user => Some(stored.joined(here)),
            (Some(stored), _) => Some(stored),
            // One that was written and is no longer there was taken away with its record.
            (None, here) => here.filter(|_| known.is_some_and(|known| known.written.is_none())),
        };
        let ends = remaining.map(|remaining| now + remaining);
        self.known.put(key, Known { mark, written: stored.map(|mark| mark.used), asked: now, ends }, LONGEST);
    }

    /// Judges, notes the use and renews where that is due. Returns when the session began, as far as that is known, or
    /// why it is over.
    ///
    /// # Errors
    /// Where only the store knows the session's age. An idle time that cannot be asked for is not enforced.
    pub(super) async fn judge(
        &self,
        subject: Subject<'_>,
        store: &Store,
        worker: Worker,
    ) -> Result<Result<Option<Duration>, Absence>, Outage> {
        let Subject { key, now, .. } = subject;
        let mut known = self.known.get(key);
        let mut unsure = None;
        if self.needs_more() && known.is_none_or(|known| !self.is_fresh(&known, now)) {
            match self.ask(key, now, store, worker).await {
                Ok(()) => known = self.known.get(key),
                Err(outage) => unsure = Some(outage),
            }
        }
        let user = User::of(subject.user);
        let mark = known.and_then(|known| known.mark).filter(|mark| mark.user == user);
        if unsure.is_none() && mark.is_some_and(|mark| self.is_idle(&mark, now)) {
            return Ok(Err(Absence::Idle));
        }
        let started = match &self.limits.started_at {
            Some(StartedAt::FirstSeen) => match (mark, unsure.take()) {
                (Some(mark), _) => Some(mark.first_seen),
                (None, Some(outage)) => return Err(outage),
                (None, None) => Some(now),
            },
            Some(StartedAt::Path(path)) => subject.data.at(path).and_then(|value| time(value, now)),
            None => None,
        };
        if let Some(max_age) = self.limits.max_age {
            match started {
                None => return Ok(Err(Absence::NoStart)),
                Some(started) if now.saturating_sub(started) >= max_age => return Ok(Err(Absence::Expired)),
                Some(_) => {}
            }
        }
        if let Some(known) = known {
            let written = known.written.filter(|_| mark.is_some());
            self.use_it(subject, Known { mark, written, ..known }, user, store, worker).await;
        }
        Ok(Ok(started))
    }

    /// There is no record with a user under the key (any more): who logs in under the same id begins anew.
    pub(super) async fn forget(&self, key: &str, store: &Store, worker: Worker) {
        let known = self.known.take(key);
        if known.is_some_and(|known| known.mark.is_some()) {
            // One that stays is a login too many for a user who was idle.
            let _ = Box::pin(store.delete(worker, &beside::key(&self.namespace, "mark", key))).await;
        }
    }

    async fn ask(&self, key: &str, now: Duration, store: &Store, worker: Worker) -> Result<(), Outage> {
        let mark_key = self.mark_key(key);
        let reading = Box::pin(store.read_whole(worker, key, [mark_key.as_deref(), None])).await?;
        self.learn(key, reading.remaining, &reading.beside[0], now);
        Ok(())
    }

    fn needs_mark(&self) -> bool {
        self.limits.idle_timeout.is_some() || self.limits.started_at == Some(StartedAt::FirstSeen)
    }

    /// How long a mark is believed that another gateway may have changed, and the least time between two writes.
    fn period(&self) -> Duration {
        self.limits.idle_timeout.map_or(MARK_PERIOD, |idle| idle / 10)
    }

    fn is_fresh(&self, known: &Known, now: Duration) -> bool {
        !self.needs_mark()
            || now.saturating_sub(known.asked) < self.period()
                && (now.saturating_sub(known.asked) <= JUST_NOW
                    || known.mark.is_none_or(|mark| !self.is_idle(&mark, now)))
    }

    fn is_idle(&self, mark: &Mark, now: Duration) -> bool {
        self.limits.idle_timeout.is_some_and(|idle| now.saturating_sub(mark.used) >= idle)
    }

    /// Notes the use of a valid session: here each time, in the store when a tenth of `idle_timeout` is over; and
    /// renews its record. The session is valid whether or not the store takes that; the next request tries again.
    async fn use_it(&self, subject: Subject<'_>, mut known: Known, user: User, store: &Store, worker: Worker) {
        let Subject { key, now, activity, .. } = subject;
        if self.needs_mark() {
            let life = known.ends.map_or(LONGEST, |ends| ends.saturating_sub(now));
            let mut mark = known.mark.unwrap_or(Mark { first_seen: now, used: now, life, user });
            mark.life = mark.life.max(life);
            if activity == Activity::Counts {
                mark.used = mark.used.max(now);
            }
            known.mark = Some(mark);
            let due = known.written.is_none_or(|written| mark.used.saturating_sub(written) >= self.period());
            // An app that renews the record does so after this look: the mark must not end before it.
            let ttl = mark.life + self.limits.idle_timeout.unwrap_or_default() + MARK_PERIOD;
            let mark_key = || beside::key(&self.namespace, "mark", key);
            if due && Box::pin(store.write(worker, &mark_key(), mark.write(), ttl)).await.is_ok() {
                known.written = Some(mark.used);
            }
        }
        if let Some(life) = self.renewal(subject, &known)
            && Box::pin(store.renew(worker, key, life)).await.is_ok()
        {
            known.ends = Some(now + life);
        }
        self.known.put(key, known, LONGEST);
    }

    /// How long the app itself would let the record live on a read, if it is time to do so.
    fn renewal(&self, subject: Subject<'_>, known: &Known) -> Option<Duration> {
        let Touch::Auto { ttl } = self.limits.touch else { return None };
        let says = self.renewal.as_ref().and_then(|path| subject.data.at(path));
        let says = match says {
            Some(Value::Integer(text)) => {
                text.parse::<u64>().ok().map(|limit| Duration::from_secs(limit.div_ceil(1000)))
            }
            _ => None,
        };
        let (life, ends) = (says.or(ttl)?, known.ends?);
        let lag = RENEWAL_LAG_MAX.min(life / 10);
        let due = ends + lag < subject.now + life;
        (due && subject.activity == Activity::Counts).then_some(life)
    }
}

impl Mark {
    /// What two gateways know of one session.
    fn joined(self, other: Self) -> Self {
        Self {
            first_seen: self.first_seen.min(other.first_seen),
            used: self.used.max(other.used),
            life: self.life.max(other.life),
            user: self.user,
        }
    }
}

/// A login time as apps write it: seconds or milliseconds since the epoch, as a number or its text, or RFC 3339. `None` =
/// neither, or in the future.
fn time(value: &Value, now: Duration) -> Option<Duration> {
    let since_epoch = match value {
        Value::Integer(text) | Value::Float(text) => number(text)?,
        Value::Text(text) | Value::Shown(text) => number(text).or_else(|| {
            let time: Timestamp = text.parse().ok()?;
            Duration::try_from(time.as_duration()).ok()
        })?,
        _ => return None,
    };
    (since_epoch <= now + AHEAD_MAX).then_some(since_epoch)
}

fn number(text: &str) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(if number >= MILLISECONDS_FROM { number / 1000.0 } else { number }).ok()
}

#[cfg(test)]
mod tests;
