//! Workers: one thread per core, each with its own runtime, accept queues and connections to upstreams and store.

use super::{
    activity::Activity,
    connection,
    credit::Credited,
    door::{Door, House},
    drain::Closing,
    listener::{Accepted, Bound, Entrance, Listener, Role},
    meter::Meter,
    places::{Place, Places},
};
use crate::{
    gateway::Gateway,
    http::peer::Peer,
    tasks::{self, TaskTracker, Worker, Workers},
};
use std::{io, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

/// How often connections to upstreams are looked over for unused ones.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// So many connections are accepted before those that are open have their turn: a crowd at the door waits there, not
/// whoever is inside.
const ACCEPTED_AT_ONCE: usize = 16;

/// How long accepting rests when the process has no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// The worker threads.
#[derive(Debug)]
pub struct Threads {
    workers: Workers,
    starts: Vec<oneshot::Sender<Start>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a worker needs to serve.
#[derive(Debug)]
pub struct Start {
    /// Its accept queues.
    pub sockets: Vec<(Role, Bound)>,
    /// What all workers share.
    pub shared: Shared,
}

/// What all workers share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Open client connections, waited for by a drain.
    pub connections: TaskTracker,
    /// What is counted of them.
    pub meter: Meter,
    /// Where they find a place.
    pub places: Places,
    /// Begins when accepting must end and idle connections close.
    pub closing: Closing,
    /// Cancelled when the workers must return.
    pub stop: CancellationToken,
}

impl Threads {
    /// Starts `count` threads; their runtimes run, but nothing is accepted before [`Self::serve`].
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub fn start(count: usize) -> io::Result<Self> {
        let (mut runtimes, mut starts, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..count {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtimes.push(runtime.handle().clone());
            let (start, started) = oneshot::channel::<Start>();
            starts.push(start);
            let work = move || {
                runtime.block_on(async move {
                    if let Ok(start) = started.await {
                        work(Worker(index), start).await;
                    }
                });
            };
            threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(work)?);
        }
        Ok(Self { workers: Workers::new(runtimes), starts, threads })
    }

    /// Their runtimes.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Lets every worker serve its share of each entrance.
    pub fn serve(&mut self, entrances: Vec<Entrance>, shared: &Shared) {
        let mut shares: Vec<Vec<_>> = self.starts.iter().map(|_| Vec::new()).collect();
        for Entrance { role, sockets, .. } in entrances {
            for (share, socket) in shares.iter_mut().zip(sockets) {
                share.push((role, socket));
            }
        }
        for (start, sockets) in self.starts.drain(..).zip(shares) {
            // A worker that is gone has told why.
            let _ = start.send(Start { sockets, shared: shared.clone() });
        }
    }

    /// Waits until all have returned.
    pub fn join(self) {
        drop(self.starts);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

async fn work(worker: Worker, Start { sockets, shared }: Start) {
    for (role, socket) in sockets {
        match socket.listen() {
            Ok(listener) => tasks::tracked(&shared.connections, accept(listener, role, worker, shared.clone())),
            Err(error) => tracing::error!(%error, "a worker cannot watch its listening socket"),
        }
    }
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = housekeeping.tick() => shared.gateway.current().settle(worker),
        }
    }
}

/// Accepts until the gateway drains, then empties the queue and closes it.
async fn accept(listener: Listener, role: Role, worker: Worker, shared: Shared) {
    let mut at_once = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.closing.begins() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                begin(accepted, role, worker, &shared);
                at_once = (at_once + 1) % ACCEPTED_AT_ONCE;
                if at_once == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                if shared.meter.crowd_told.is_due() {
                    tracing::warn!(%error, "no connection can be accepted right now");
                }
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    listener.refuse_new();
    while let Some(accepted) = listener.accept_last().await {
        begin(accepted, role, worker, &shared);
    }
}

fn begin(accepted: Accepted, role: Role, worker: Worker, shared: &Shared) {
    let snapshot = shared.gateway.current();
    let server = &snapshot.config().server;
    let (limits, meter) = (server.limits.clone(), shared.meter.clone());
    meter.accepted.add(worker);
    let Some(mut place) = shared.places.take(limits.connections, worker) else { return };
    let is_tcp = matches!(accepted, Accepted::Tcp(..));
    let door = Door {
        proxy_protocol: server.proxy_protocol,
        tls: snapshot.tls().filter(|_| is_tcp && role == Role::Site).cloned(),
        h2c: server.h2c,
    };
    let house = House { gateway: shared.gateway.clone(), limits, closing: shared.closing.clone(), meter };
    match accepted {
        Accepted::Tcp(stream, address) => {
            // Best effort: without it answers are only slower.
            let _ = stream.set_nodelay(true);
            let local_port = stream.local_addr().ok().map(|local| local.port());
            let peer = Peer::new(Some(address.ip()), local_port, false, worker);
            let peer = Peer { to_https: role == Role::ToHttps, ..peer };
            if !place.belongs_to(&peer, snapshot.site(), house.limits.connections) {
                return;
            }
            admit(Credited::new(stream), peer, door, house, place, &shared.connections);
        }
        Accepted::Unix(stream) => {
            admit(stream, Peer::new(None, None, false, worker), door, house, place, &shared.connections);
        }
    }
}

fn admit<S>(stream: S, peer: Peer, door: Door, house: House, place: Place, connections: &TaskTracker)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if door.is_open() {
        tasks::tracked(connections, async move {
            connection::serve(stream, peer, house, Activity::new()).await;
            drop(place);
        });
    } else {
        tasks::tracked(connections, async move {
            door.serve(stream, peer, house, place).await;
        });
    }
}

/// The peer gave up between its handshake and our accept.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
