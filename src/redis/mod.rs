//! Redis: the only place that says `fred`. Which server a key belongs to, connections that belong to a worker, and the
//! few commands that stores need.

mod cluster;
mod commands;
mod discovery;
mod ear;
mod greeting;
mod health;
mod line;
mod link;
mod listener;
mod meter;
mod outline;
mod primaries;
mod proof;
mod queue;
mod reader;
mod reading;
mod resp;
mod roster;
mod script;
mod sentinel;
mod shape;
mod upkeep;
mod wire;

use crate::{
    clock,
    config::store::{self, Address},
    tasks::{Worker, Workers},
    telemetry::metrics::Metrics,
};
use bytes::Bytes;
pub use commands::Whole;
use fred::{
    error::{Error, ErrorKind},
    prelude::*,
    types::{CustomCommand, scripts::Script},
};
use health::Health;
use link::{Link, Trust};
pub use listener::{Change, Event, Hearing, Listener, Status};
use meter::Meter;
pub use outline::Outline;
pub use primaries::{Map, Primaries};
pub use proof::{Limit, Moment, Proof, Proofs};
pub use shape::Shape;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Replaces a value if it is still the expected one; keeps the time to live, never creates.
const SWAP: &str = include_str!("swap.lua");
/// One step of a rate limit, on the server's clock.
const THROTTLE: &str = include_str!("throttle.lua");
/// Puts a name on a roster.
const ENLIST: &str = include_str!("enlist.lua");
/// Lets a key live longer, never shorter.
const RENEW: &str = include_str!("renew.lua");

/// Errors of a server that did not execute the command, because it is another server's.
const ASTRAY: [&str; 7] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "LOADING"];

/// One Redis server, reached over connections that the workers own. Dropping it closes them.
#[derive(Debug)]
pub struct Redis {
    server: store::Redis,
    links: Vec<Vec<Arc<Link>>>,
    turn: AtomicUsize,
    trust: Trust,
    /// Whether each command says that its key may be on its way.
    asking: bool,
    health: Arc<Health>,
    meter: Meter,
    swap: Script,
    hash: Script,
    renew: Script,
    throttle: Script,
    enlist: Script,
}

/// Why Redis gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It could not answer, or did not want to; the text is for the log and holds neither keys nor values.
    Outage(String),
    /// The key holds something else than a string.
    WrongType,
    /// The server is not the key's primary, or cannot be reached. Nothing was executed that must not be executed
    /// twice.
    Astray {
        /// As an outage's text.
        cause: String,
        /// Who has the key, where the server has said so for this time.
        ask: Option<Address>,
    },
}

/// One step of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Takes a place, if there is one.
    Take,
    /// Looks whether there is a place.
    Look,
    /// Gives a place back.
    Return,
}

/// What became of [`Primaries::swap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The key is not there (any more).
    Gone,
    /// The key holds another value than the expected one.
    Changed,
    /// The value was replaced.
    Done,
}

/// The commands say here what [`Primaries`] says of them, which asks the right server for each key. The client's futures
/// are several KiB large: boxed, they do not swell those of every request.
impl Redis {
    /// Starts connecting in the background, each connection on the worker that owns it, and goes on for ever.
    fn open(
        server: &store::Redis,
        trust: Trust,
        connections: Option<usize>,
        timeout: Duration,
        workers: &Workers,
        metrics: &Metrics,
    ) -> Self {
        let total = connections.unwrap_or(workers.count()).max(1);
        // Each link is two connections.
        let health = Arc::new(Health::new(total * 2, server.address.to_string()));
        let mut links: Vec<Vec<Arc<Link>>> = workers.each(|Worker(index)| {
            let share = (index..total).step_by(workers.count());
            share.map(|_| Arc::new(Link::open(server, trust, timeout, link::IDLE, &health))).collect()
        });
        links.retain(|own| !own.is_empty());
        Self {
            server: server.clone(),
            trust,
            asking: false,
            links,
            turn: AtomicUsize::new(0),
            health,
            meter: Meter::new(metrics),
            swap: Script::from_lua(SWAP),
            hash: Script::from_lua(shape::HASH),
            renew: Script::from_lua(RENEW),
            throttle: Script::from_lua(THROTTLE),
            enlist: Script::from_lua(ENLIST),
        }
    }

    /// The server itself.
    pub fn server(&self) -> &store::Redis {
        &self.server
    }

    /// Whether one of the connections is down.
    pub fn degraded(&self) -> bool {
        self.health.degraded()
    }

    pub(super) async fn create(&self, worker: Worker, key: &str, value: Bytes, ttl: Duration) -> Result<bool, Failure> {
        let expiry = Some(Expiration::PX(milliseconds(ttl)));
        let link = self.link(worker)?;
        let set = link.once.set(key, value, expiry, Some(SetOptions::NX), false);
        let reply: Value = self.ask_once(worker, link, set).await?;
        Ok(!reply.is_null())
    }

    pub(super) async fn write(&self, worker: Worker, key: &str, value: Bytes, ttl: Duration) -> Result<(), Failure> {
        let expiry = Some(Expiration::PX(milliseconds(ttl)));
        let link = self.link(worker)?;
        let set = link.client.set::<Value, _, _>(key, value, expiry, None, false);
        self.ask(worker, link, set).await.map(drop)
    }

    pub(super) async fn delete(&self, worker: Worker, key: &str) -> Result<bool, Failure> {
        let link = self.link(worker)?;
        let deleted: i64 = self.ask(worker, link, link.client.del(key)).await?;
        Ok(deleted > 0)
    }

    pub(super) async fn swap(&self, worker: Worker, key: &str, expected: Bytes, new: Bytes) -> Result<Swap, Failure> {
        let link = self.link(worker)?;
        let run = self.execute(link, &self.swap, key, vec![expected.into(), new.into()]);
        Ok(match self.ask_once::<i64>(worker, link, run).await? {
            0 => Swap::Gone,
            1 => Swap::Changed,
            _ => Swap::Done,
        })
    }

    pub(super) async fn renew(&self, worker: Worker, key: &str, ttl: Duration) -> Result<bool, Failure> {
        let link = self.link(worker)?;
        let expire = async {
            match link.client.pexpire(key, milliseconds(ttl), Some(fred::types::ExpireOptions::GT)).await {
                // Servers older than Redis 7.
                Err(error) if knows_no_options(&error) => Box::pin(self.renew_by_script(link, key, ttl)).await,
                reply => reply,
            }
        };
        Ok(self.ask(worker, link, expire).await? > 0)
    }

    pub(super) async fn throttle(
        &self,
        worker: Worker,
        key: &str,
        interval: Duration,
        tolerance: Duration,
        step: Step,
    ) -> Result<Option<Duration>, Failure> {
        let step = match step {
            Step::Take => "take",
            Step::Look => "look",
            Step::Return => "return",
        };
        let arguments = vec![microseconds(interval).into(), microseconds(tolerance).into(), step.into()];
        let link = self.link(worker)?;
        let run = self.execute(link, &self.throttle, key, arguments);
        let level: i64 = self.ask_once(worker, link, run).await?;
        Ok((level < 0).then(|| Duration::from_micros(level.unsigned_abs())))
    }

    async fn renew_by_script(&self, link: &Link, key: &str, ttl: Duration) -> Result<i64, Error> {
        self.execute(link, &self.renew, key, vec![milliseconds(ttl).into()]).await
    }

    /// The same server and connections, for commands about keys that are on their way to it from another.
    fn for_keys_on_their_way(&self) -> Self {
        Self {
            server: self.server.clone(),
            links: self.links.clone(),
            turn: AtomicUsize::new(0),
            trust: self.trust,
            asking: true,
            health: self.health.clone(),
            meter: self.meter.clone(),
            swap: self.swap.clone(),
            hash: self.hash.clone(),
            renew: self.renew.clone(),
            throttle: self.throttle.clone(),
            enlist: self.enlist.clone(),
        }
    }

    /// The worker's own link, in turn if it has several; with fewer links than workers, a neighbour's.
    fn own(&self, Worker(index): Worker) -> &Link {
        let own = &self.links[index % self.links.len()];
        let turn = if own.len() == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) % own.len() };
        &own[turn]
    }

    /// As [`Redis::own`], if commands may be sent over it.
    fn link(&self, worker: Worker) -> Result<&Link, Failure> {
        let link = Some(self.own(worker)).filter(|link| link.is_trusted());
        let cause = || format!("{} cannot be reached", self.server.address);
        link.ok_or_else(|| Failure::Astray { cause: cause(), ask: None })
    }

    /// Waits for a command that may be executed twice, and counts it.
    fn ask<T>(
        &self,
        worker: Worker,
        link: &Link,
        command: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        let lost = |error: &Error| matches!(error.kind(), ErrorKind::IO | ErrorKind::Canceled);
        self.run(worker, link, command, lost)
    }

    /// As [`Redis::ask`], for a command that must not be executed twice.
    fn ask_once<T>(
        &self,
        worker: Worker,
        link: &Link,
        command: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        self.run(worker, link, command, |_| false)
    }

    fn run<T>(
        &self,
        worker: Worker,
        link: &Link,
        command: impl Future<Output = Result<T, Error>>,
        may_repeat: fn(&Error) -> bool,
    ) -> impl Future<Output = Result<T, Failure>> {
        let (begun, command) = (clock::now(), self.send(link, command));
        async move {
            let reply = command.await;
            self.meter.answered(worker, begun.elapsed());
            reply.map_err(|error| self.judge(worker, &error, may_repeat(&error)))
        }
    }

    fn send<T>(
        &self,
        link: &Link,
        command: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        let command = Box::pin(command);
        let asking = CustomCommand::new_static("ASKING", None, false);
        let asking = self.asking.then(|| Box::pin(link.once.custom::<Value, _>(asking, Vec::<String>::new())));
        async move {
            match asking {
                // What one task sends in one go stays together on the wire.
                Some(asking) => tokio::join!(asking, command).1,
                None => command.await,
            }
        }
    }

    /// What an error means.
    fn judge(&self, worker: Worker, error: &Error, may_repeat: bool) -> Failure {
        // Inside a script's error the word stands further on.
        if error.details().contains("WRONGTYPE") {
            return Failure::WrongType;
        }
        let cause = health::describe(error);
        let elsewhere = ASTRAY.iter().any(|code| error.details().starts_with(code));
        if self.trust != Trust::Blind && (may_repeat || elsewhere) {
            return Failure::Astray { cause, ask: cluster::asked(error.details()) };
        }
        self.meter.failed(worker, error);
        self.health.complain(&cause);
        Failure::Outage(cause)
    }
}

/// Whether a server older than Redis 7 answers: it counts the arguments and finds one too many.
fn knows_no_options(error: &Error) -> bool {
    error.details().starts_with("ERR")
}

fn microseconds(time: Duration) -> i64 {
    time.as_micros().clamp(1, i64::MAX as u128 / 4) as i64
}

fn milliseconds(ttl: Duration) -> i64 {
    ttl.as_millis().clamp(1, i64::MAX as u128 / 4) as i64
}

#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;
