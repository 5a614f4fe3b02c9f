//! The servers that may be asked for a key: one that is configured, one that sentinels name, or those of a cluster.

use super::{
    Failure, Redis,
    cluster::{self, NOBODY, SLOTS},
    discovery::Discovery,
    link::Trust,
    meter::Meter,
};
use crate::{
    clock,
    config::store::{self, Address, Url},
    tasks::{self, Worker, Workers},
    telemetry::metrics::Metrics,
};
use arc_swap::ArcSwap;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{self, Instant},
};

/// How often sentinels are asked again: nobody else tells that a primary was replaced that goes on answering.
const SENTINEL_INTERVAL: Duration = Duration::from_millis(250);
/// How often clusters are; their servers tell themselves that a key is elsewhere.
const CLUSTER_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two such questions, however many commands went astray.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How soon a command that went astray is tried again, if nothing changes before.
const RETRY: Duration = Duration::from_millis(25);

/// The primaries, kept up to date in the background. Dropping it closes all connections.
#[derive(Debug)]
pub struct Primaries {
    map: Arc<ArcSwap<Map>>,
    changes: watch::Receiver<()>,
    astray: Arc<Notify>,
    timeout: Duration,
    meter: Meter,
    /// Whether they may change at all.
    moving: bool,
    _ended: oneshot::Sender<()>,
}

/// Who is asked for which key, at one moment.
#[derive(Debug, Default)]
pub struct Map {
    all: Vec<Arc<Redis>>,
    /// Of a cluster: the place in `all` for every slot.
    slots: Option<Box<[u16]>>,
}

/// What sentinels or a cluster answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) primaries: Vec<Address>,
    pub(super) slots: Option<Box<[u16]>>,
}

impl Map {
    /// All primaries.
    pub fn all(&self) -> &[Arc<Redis>] {
        &self.all
    }

    /// Whose a key is; `None` while nobody serves it.
    pub fn of(&self, key: &str) -> Option<&Arc<Redis>> {
        // Who is alone needs no slot.
        self.of_slot(if self.slots.is_some() { cluster::slot(key) } else { 0 })
    }

    fn of_slot(&self, slot: usize) -> Option<&Arc<Redis>> {
        match &self.slots {
            None => self.all.first(),
            Some(slots) => self.all.get(usize::from(slots[slot])),
        }
    }

    /// Whether one of the primaries has in `later` every key that it has here.
    pub(super) fn gives_nothing(&self, redis: &Arc<Redis>, later: &Self) -> bool {
        let is_own = |owner: Option<&Arc<Redis>>| owner.is_some_and(|owner| Arc::ptr_eq(owner, redis));
        (0..SLOTS).all(|slot| !is_own(self.of_slot(slot)) || is_own(later.of_slot(slot)))
    }

    fn is_whole(&self) -> bool {
        !self.all.is_empty() && self.slots.as_ref().is_none_or(|slots| !slots.contains(&NOBODY))
    }
}

impl Primaries {
    /// Starts connecting in the background, each connection on the worker that owns it, and goes on for ever: servers
    /// that are missing are an outage for whoever asks, never an error here. `connections` is their number for each
    /// primary over all workers, by default one each. Every command is answered or failed within `timeout`.
    ///
    /// `url` is not `memory:`.
    pub fn connect(
        url: &Url,
        connections: Option<usize>,
        timeout: Duration,
        workers: &Workers,
        metrics: &Metrics,
    ) -> Self {
        let open = {
            let (workers, metrics) = (workers.clone(), metrics.clone());
            move |server: &store::Redis, trust| {
                Arc::new(Redis::open(server, trust, connections, timeout, &workers, &metrics))
            }
        };
        let (map, topology) = match url {
            Url::Memory => (Map::default(), None),
            Url::Redis(server) => (Map { all: vec![open(server, Trust::Blind)], slots: None }, None),
            Url::Sentinel(sentinel) => (Map::default(), Some(Topology::Sentinels(sentinel.clone()))),
            Url::Cluster(seeds) => (Map::default(), Some(Topology::Cluster(seeds.clone()))),
        };
        let (map, astray) = (Arc::new(ArcSwap::from_pointee(map)), Arc::new(Notify::new()));
        let (changed, changes) = watch::channel(());
        let (ended, end) = oneshot::channel();
        let moving = topology.is_some();
        if let Some(topology) = topology {
            let follower = Follower { topology, map: map.clone(), changed, astray: astray.clone(), timeout, open };
            let mut task = Some(follower.follow(end));
            workers.each(|_| task.take().map(tasks::background));
        }
        Self { map, changes, astray, timeout, meter: Meter::new(metrics), moving, _ended: ended }
    }

    /// Whether a part of the keys is known to be out of reach.
    pub fn degraded(&self) -> bool {
        let map = self.map.load();
        !map.is_whole() || map.all.iter().any(|redis| redis.degraded())
    }

    /// Whether the servers share the keys, and may hand them over to each other.
    pub fn is_cluster(&self) -> bool {
        self.map.load().slots.is_some()
    }

    /// Who is asked now.
    pub fn now(&self) -> Arc<Map> {
        self.map.load_full()
    }

    /// Tells of every change of [`Primaries::now`].
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    /// Sends a command to the key's primary. One that went to a wrong server, or to none, was not executed and is sent
    /// again to the right one, as long as the time allows.
    pub(super) async fn ask<T, F>(
        &self,
        worker: Worker,
        key: &str,
        command: impl Fn(Arc<Redis>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let primary = || self.map.load().of(key).cloned();
        if let (false, Some(redis)) = (self.moving, primary()) {
            return command(redis).await;
        }
        let deadline = Instant::from_std(clock::now() + self.timeout);
        let mut changes = self.changes.clone();
        let mut on_its_way = None;
        loop {
            changes.mark_unchanged();
            let attempt = async {
                match on_its_way.take().or_else(primary) {
                    Some(redis) => command(redis).await,
                    None => {
                        Err(Failure::Astray { cause: "no server is known that has this key".to_owned(), ask: None })
                    }
                }
            };
            let (cause, ask) = match time::timeout_at(deadline, attempt).await {
                Ok(Err(Failure::Astray { cause, ask })) => (cause, ask),
                Ok(answer) => return answer,
                Err(_) => {
                    self.meter.given_up(worker);
                    return Err(Failure::Outage("no answer in time".to_owned()));
                }
            };
            if let Some(address) = ask {
                let map = self.map.load();
                let other = map.all.iter().find(|redis| redis.server().address == address);
                on_its_way = other.map(|redis| Arc::new(redis.for_keys_on_their_way()));
                if on_its_way.is_some() {
                    continue;
                }
            }
            self.astray.notify_one();
            let retry = Instant::from_std(clock::now() + RETRY);
            if retry >= deadline {
                self.meter.given_up(worker);
                return Err(Failure::Outage(cause));
            }
            // An error would mean that nothing will ever change.
            let _ = time::timeout_at(retry, changes.changed()).await;
        }
    }
}

/// How the primaries are arranged, and so whom to ask where they are.
#[derive(Debug)]
pub(super) enum Topology {
    Sentinels(store::Sentinel),
    Cluster(Vec<store::Redis>),
}

/// Keeps a map up to date.
struct Follower<O> {
    topology: Topology,
    map: Arc<ArcSwap<Map>>,
    changed: watch::Sender<()>,
    astray: Arc<Notify>,
    timeout: Duration,
    open: O,
}

impl<O: Fn(&store::Redis, Trust) -> Arc<Redis>> Follower<O> {
    async fn follow(self, mut end: oneshot::Receiver<()>) {
        let (mut discovery, mut told) = (Discovery::new(self.timeout), false);
        let interval = match self.topology {
            Topology::Sentinels(_) => SENTINEL_INTERVAL,
            Topology::Cluster(_) => CLUSTER_INTERVAL,
        };
        loop {
            tokio::select! {
                _ = &mut end => return,
                () = self.look(&mut discovery, &mut told) => {}
            }
            tokio::select! {
                _ = &mut end => return,
                () = time::sleep(interval) => {}
                () = async { self.astray.notified().await; time::sleep(INTERVAL_MIN).await } => {}
            }
        }
    }

    /// Asks one that may know, another one each time that the answer does not help.
    async fn look(&self, discovery: &mut Discovery, told: &mut bool) {
        let known = self.map.load_full();
        let all: Vec<_> = match &self.topology {
            Topology::Sentinels(sentinel) => sentinel.sentinels.clone(),
            Topology::Cluster(seeds) => known.all.iter().map(|redis| redis.server()).chain(seeds).cloned().collect(),
        };
        match discovery.ask(&all, &self.topology).await {
            Ok(found) => {
                *told = false;
                self.take(found);
            }
            Err(cause) if !*told => {
                tracing::warn!(cause, "nobody says where the store's primaries are");
                *told = true;
            }
            Err(_) => {}
        }
        let map = self.map.load();
        if map.all.iter().any(|redis| redis.degraded()) {
            discovery.doubt();
        }
    }

    fn take(&self, found: Found) {
        let map = self.map.load();
        let is_same =
            map.slots == found.slots && map.all.iter().map(|redis| &redis.server().address).eq(found.primaries.iter());
        if is_same {
            return;
        }
        let (like, trust) = match &self.topology {
            Topology::Sentinels(sentinel) => (&sentinel.primary, Trust::Primary),
            Topology::Cluster(seeds) => (&seeds[0], Trust::Answers),
        };
        let primary = |address: &Address| {
            let known = map.all.iter().find(|redis| redis.server().address == *address).cloned();
            known.unwrap_or_else(|| (self.open)(&store::Redis { address: address.clone(), ..like.clone() }, trust))
        };
        let new = Map { all: found.primaries.iter().map(primary).collect(), slots: found.slots };
        let names: Vec<_> = found.primaries.iter().map(ToString::to_string).collect();
        tracing::info!(primaries = names.join(" "), "the store's servers are known");
        self.map.store(Arc::new(new));
        self.changed.send_replace(());
    }
}
