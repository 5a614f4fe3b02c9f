//! One primary, listened to, and proven to be heard by a key of our own whose changes must come back.

use super::{
    Failure, Redis,
    greeting::{self, FLAGS, Fault},
    listener::{Change, Chorus, Event, Status, Teller},
    proof::{Moment, Proof},
    wire::{Head, Wire},
};
use crate::{config::store::Invalidation, tasks::Worker};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time};

/// How many beats are sent while one proof counts.
const BEATS: u32 = 5;
/// How often it is looked whether keyspace events were switched on.
const SECOND_LOOK: Duration = Duration::from_secs(10);
/// How long a beat's key lives when nobody renews it any more.
const BEAT_TTL: Duration = Duration::from_secs(60);
/// How long the connections to a server are waited for before it is listened to.
const CONNECTING: Duration = Duration::from_secs(1);
/// The waits before another attempt to listen, doubling.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What the reading half tells the proving half.
#[derive(Default)]
struct Heard {
    tracked: AtomicU64,
    announced: AtomicU64,
    something: Notify,
}

/// The beats sent so far.
struct Beats {
    by_events: bool,
    number: u64,
    /// What the key holds, if nobody else was there.
    expected: Option<u64>,
}

pub(super) struct Ear<S> {
    redis: Arc<Redis>,
    beat: String,
    proof: Arc<Proof>,
    chorus: Arc<Chorus<S>>,
    teller: Teller,
    heard: Heard,
}

impl<S: Fn(Event<'_>)> Ear<S> {
    /// `beat` is a key of this server's and of nobody else's.
    pub(super) fn new(redis: Arc<Redis>, beat: String, proof: Arc<Proof>, chorus: Arc<Chorus<S>>) -> Self {
        let teller = Teller::new(&redis, &chorus.board);
        Self { redis, beat, proof, chorus, teller, heard: Heard::default() }
    }

    /// Listens for ever.
    pub(super) async fn listen(self) {
        let connected = async {
            while self.redis.degraded() {
                time::sleep(RETRY.0).await;
            }
        };
        // Before, questions would fail at once: no news worth telling.
        let _ = time::timeout(CONNECTING, connected).await;
        let mut wait = RETRY.0;
        loop {
            let Fault(why) = match self.attempt().await {
                Ok(never) => match never {},
                Err(fault) => fault,
            };
            if self.lost(why) {
                wait = RETRY.0;
            }
            time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    /// Changes may have been missed; `true` = memory was open until now.
    fn lost(&self, why: String) -> bool {
        let was_open = self.proof.end();
        self.teller.tell(Status::Deaf(why));
        was_open
    }

    fn heard(&self, moment: Moment, lack: Option<&str>) {
        if self.chorus.heard(&self.proof, moment) {
            self.teller.tell_heard(lack);
        }
    }

    async fn attempt(&self) -> Result<Infallible, Fault> {
        let mut lack = self.lack().await?;
        let may_choose = self.chorus.hearing.cache.invalidation == Invalidation::Auto;
        let mut greeted = self.greeted(lack.is_none()).await;
        if let (None, true, Err(Fault(why))) = (&lack, may_choose, &greeted) {
            lack = Some(format!("keyspace events are on, but {why}"));
            greeted = self.greeted(false).await;
        }
        let mut wire = greeted?;
        let lack = lack.as_deref();
        self.proof.listens(lack.is_none());
        tokio::select! {
            fault = self.hear(&mut wire) => Err(fault),
            fault = self.prove(lack) => Err(fault),
            fault = self.turn_to_events(), if may_choose && lack.is_some() => Err(fault),
        }
    }

    async fn greeted(&self, by_events: bool) -> Result<Wire, Fault> {
        let server = self.redis.server();
        let mut wire = greeting::in_time(Wire::dial(server)).await?;
        greeting::greet(&mut wire, server, &self.beat, &self.chorus.hearing, by_events).await?;
        Ok(wire)
    }

    /// What must be done before keyspace events are what is listened to; `None` = nothing.
    async fn lack(&self) -> Result<Option<String>, Fault> {
        let cache = &self.chorus.hearing.cache;
        let explicit = cache.invalidation == Invalidation::Events;
        if cache.invalidation == Invalidation::Tracking {
            return Ok(Some(format!("`invalidation = \"auto\"` in [store.cache], and notify-keyspace-events {FLAGS}")));
        }
        let Some(flags) = self.redis.notified_events().await? else {
            // Only somebody who knows the setting can promise that it is enough.
            let promise = "`invalidation = \"events\"` in [store.cache], if notify-keyspace-events is";
            return Ok((!explicit).then(|| format!("{promise} {FLAGS}: the gateway may not read it (+config|get)")));
        };
        let lacking = greeting::lacking(&flags);
        if lacking.is_empty() {
            return Ok(None);
        }
        let wanted = format!("{flags}{lacking}");
        if cache.configure && self.redis.notify_events(&wanted).await? {
            return Ok(None);
        }
        let wanted = format!("CONFIG SET notify-keyspace-events {wanted}");
        match (explicit, cache.configure) {
            (true, _) => Err(Fault(format!("keyspace events are off: {wanted}"))),
            (false, true) => Ok(Some(format!("{wanted}: the gateway itself may not (+config|set)"))),
            (false, false) => Ok(Some(format!("{wanted}, or `configure = true` in [store.cache]"))),
        }
    }

    /// Returns when keyspace events are on, and for us.
    async fn turn_to_events(&self) -> Fault {
        loop {
            time::sleep(SECOND_LOOK).await;
            // A server that does not answer this is no doubt about what was heard: the beats tell.
            if let Ok(None) = self.lack().await
                && self.greeted(true).await.is_ok()
            {
                return Fault("keyspace events are on now, and are turned to".to_owned());
            }
        }
    }

    /// Reads what the server pushes. Everything is passed on before the next thing is read.
    async fn hear(&self, wire: &mut Wire) -> Fault {
        loop {
            if let Err(fault) = self.hear_one(wire).await {
                return fault;
            }
        }
    }

    async fn hear_one(&self, wire: &mut Wire) -> Result<(), Fault> {
        let Head::Push(parts) = wire.head().await? else {
            return Err(Fault("the server answers what nobody asked".to_owned()));
        };
        let kind = if parts > 0 { wire.text().await? } else { Vec::new() };
        match (kind.as_slice(), parts) {
            (b"invalidate", 2) => match wire.head().await? {
                Head::Many(keys) => {
                    for _ in 0..keys {
                        let key = wire.text().await?;
                        self.pass_on(&key, Change::Any, &self.heard.tracked);
                    }
                }
                _ => self.chorus.flushed(&self.proof),
            },
            (b"pmessage", 4) => {
                wire.skip(1).await?;
                let (channel, event) = (wire.text().await?, wire.text().await?);
                let name = channel.iter().position(|byte| *byte == b':').map(|at| &channel[at + 1..]);
                let key = name.unwrap_or_default();
                let change = greeting::change(&event);
                // The beat's own time to live is announced, too, and must not count twice.
                if change != Change::Renewed || key != self.beat.as_bytes() {
                    self.pass_on(key, change, &self.heard.announced);
                }
            }
            _ => wire.skip(parts.saturating_sub(1)).await?,
        }
        Ok(())
    }

    fn pass_on(&self, key: &[u8], change: Change, beats: &AtomicU64) {
        if key == self.beat.as_bytes() {
            beats.fetch_add(1, Ordering::SeqCst);
            self.heard.something.notify_one();
        } else {
            (self.chorus.sink)(Event::Key(key, change));
        }
    }

    /// Proves, over and over, that changes made over every connection come back.
    async fn prove(&self, lack: Option<&str>) -> Fault {
        let mut beats = Beats { by_events: lack.is_none(), number: 0, expected: None };
        loop {
            match self.prove_until_doubt(&mut beats, lack).await {
                Ok(why) => _ = self.lost(why.to_owned()),
                Err(fault) => return fault,
            }
        }
    }

    /// Returns at the first doubt about the connections that records are read over.
    async fn prove_until_doubt(&self, beats: &mut Beats, lack: Option<&str>) -> Result<&'static str, Fault> {
        let (proof, readers) = (&self.proof, self.redis.readers());
        let losses = self.redis.health.losses();
        // While a server takes no writes, as before a failover, they must not hold up what is read.
        self.redis.delete(Worker(0), &format!("{}:none", self.beat)).await.map_err(unwritable)?;
        beats.expected = None;
        let mut sent = proof.now();
        for reader in 0..readers {
            sent = proof.now();
            self.beat(beats, reader).await?;
        }
        self.heard(sent, lack);
        let interval = proof.max_staleness() / BEATS;
        for reader in (0..readers).cycle() {
            time::sleep(interval.saturating_sub(proof.now().since(sent))).await;
            if self.redis.health.losses() != losses {
                return Ok("a connection to Redis broke");
            }
            // Tracking may tell of a beat before it tells of what was changed just before: one beat later all is told.
            let before: Moment = std::mem::replace(&mut sent, proof.now());
            if !self.beat(beats, reader).await? {
                return Ok("the database was flushed or exchanged");
            }
            self.heard(before, lack);
        }
        Ok("there are no connections")
    }

    /// Sends a beat over one connection and waits until it has come back every way; `false` = the key did not hold
    /// the beat before.
    async fn beat(&self, beats: &mut Beats, reader: usize) -> Result<bool, Fault> {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let (tracked, announced) = (count(&self.heard.tracked), count(&self.heard.announced));
        beats.number += 1;
        let previous = self.redis.exchange(reader, &self.beat, beats.number, BEAT_TTL).await.map_err(unwritable)?;
        let back = async {
            while count(&self.heard.tracked) == tracked
                || (beats.by_events && count(&self.heard.announced) == announced)
            {
                self.heard.something.notified().await;
            }
        };
        let back = time::timeout(self.proof.max_staleness(), back).await;
        back.map_err(|_| Fault("a change of our own did not come back".to_owned()))?;
        let expected = beats.expected.replace(beats.number);
        Ok(expected.is_none() || previous == expected)
    }
}

fn unwritable(failure: Failure) -> Fault {
    let Fault(why) = failure.into();
    Fault(format!("a key of our own cannot be written: {why}"))
}
