//! What one worker has of a server: a connection to read over and one for the rest, its limits, and the task that keeps
//! it alive.

use super::{Health, reader::Reader};
use crate::{config::store, tasks};
use fred::{
    clients::WithOptions,
    error::ErrorKind,
    prelude::*,
    types::{
        CustomCommand,
        config::{ReconnectError, TlsConnector, UnresponsiveConfig},
    },
};
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time};

/// Commands that may wait in one connection's queue; beyond it they fail at once.
const QUEUE_MAX: usize = 16 * 1024;
/// Waits between two attempts to connect, doubling, in milliseconds.
pub(super) const RECONNECT_MS: (u32, u32) = (50, 1_000);
/// The least time that connecting, and each step of the greeting, is given.
pub(super) const GREETING_MIN: Duration = Duration::from_secs(1);
/// How often a connection that is down is tried beyond what its client does by itself.
const PROBE: Duration = Duration::from_secs(1);
/// How often to use a connection that nobody uses: servers, and what stands between, forget such.
pub(super) const IDLE: Duration = Duration::from_secs(20);

/// What a connection must have shown before commands are sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing: commands wait in its queue until it is connected, and some are sent again when it breaks.
    Blind,
    /// That the server answers. Until then, and when it breaks, commands fail at once.
    Answers,
    /// As well, that the server is no replica: after a failover it may have become one.
    Primary,
}

/// A way to Redis. Dropping it closes its connections.
#[derive(Debug)]
pub(super) struct Link {
    /// For what is only read. What was written before has an answer, so that what is read then is not older.
    pub(super) reader: Arc<Reader>,
    /// For commands that may be sent twice when a connection breaks.
    pub(super) client: WithOptions<Client>,
    /// For those that may not.
    pub(super) once: WithOptions<Client>,
    trust: Trust,
    up: Arc<AtomicBool>,
    _ended: oneshot::Sender<()>,
}

impl Link {
    /// Starts connecting on the current runtime. The connections are used every `idle`, whether anybody asks or not.
    pub(super) fn open(
        server: &store::Redis,
        trust: Trust,
        timeout: Duration,
        idle: Duration,
        health: &Arc<Health>,
    ) -> Self {
        let client = build(server, timeout);
        let fail_fast = trust != Trust::Blind;
        let options = |attempts| Options { max_attempts: attempts, fail_fast, ..Options::default() };
        let once = client.with_options(&Options { timeout: Some(timeout), ..options(Some(1)) });
        let often = if fail_fast { Some(1) } else { None };
        let again = client.with_options(&Options { timeout: Some(timeout), ..options(often) });
        let (up, (ended, end)) = (Arc::new(AtomicBool::new(false)), oneshot::channel());
        let reader = Arc::new(Reader::open(server, trust, timeout, health));
        let keeper =
            Keeper { client, reader: Arc::downgrade(&reader), trust, idle, up: up.clone(), health: health.clone() };
        tasks::background(keeper.keep(end));
        Self { reader, client: again, once, trust, up, _ended: ended }
    }

    /// Whether a command may be sent now.
    pub(super) fn is_trusted(&self) -> bool {
        self.trust == Trust::Blind || self.up.load(Ordering::Relaxed)
    }
}

/// A client that connects again and again by itself.
fn build(server: &store::Redis, timeout: Duration) -> Client {
    let (wait_min, wait_max) = RECONNECT_MS;
    let mut reconnect = ReconnectPolicy::new_exponential(0, wait_min, wait_max, 2);
    reconnect.set_jitter(wait_min);
    builder(server, timeout).set_policy(reconnect).build().expect("a client can be built once it has a configuration")
}

/// What all clients have in common. Without a policy one connects once.
pub(super) fn builder(server: &store::Redis, timeout: Duration) -> Builder {
    let address = match &server.address {
        store::Address::Tcp(host, port) => ServerConfig::new_centralized(host, *port),
        store::Address::Unix(path) => ServerConfig::new_unix_socket(path),
    };
    let tls = server.tls.as_ref().map(|tls| TlsConnector::Rustls(tls.settings().clone().into()).into());
    let config = Config {
        fail_fast: false,
        server: address,
        username: server.user.clone(),
        password: server.password.as_ref().map(|password| password.expose().to_owned()),
        // Sentinels do not know the command.
        database: Some(server.database).filter(|database| *database != 0),
        tls,
        ..Config::default()
    };
    let mut builder = Builder::from_config(config);
    builder
        .with_performance_config(|performance| performance.default_command_timeout = timeout)
        .with_connection_config(|connection| {
            connection.connection_timeout = timeout.max(GREETING_MIN);
            connection.internal_command_timeout = timeout.max(GREETING_MIN);
            connection.max_command_buffer_len = QUEUE_MAX;
            connection.max_redirections = 0;
            connection.reconnect_on_auth_error = true;
            connection.tcp.nodelay = Some(true);
            connection.unresponsive = UnresponsiveConfig { max_timeout: Some(timeout), interval: timeout / 4 };
            connection.reconnect_errors.push(ReconnectError::MasterDown);
        });
    builder
}

/// Keeps a link's connections.
struct Keeper {
    client: Client,
    reader: Weak<Reader>,
    trust: Trust,
    idle: Duration,
    up: Arc<AtomicBool>,
    health: Arc<Health>,
}

impl Keeper {
    /// Connects, watches, and connects again until `end`.
    async fn keep(self, mut end: oneshot::Receiver<()>) {
        let Self { client, reader, trust, idle, up, health } = self;
        let (mut errors, mut connects) = (client.error_rx(), client.reconnect_rx());
        let mut router = client.connect();
        let fell = |error: &Error| health.fell(up.swap(false, Ordering::Relaxed), error);
        loop {
            // In this order: an error that is older than a connection must not be taken for the end of it.
            let connected = tokio::select! {
                biased;
                _ = &mut end => break,
                error = errors.recv() => {
                    let lost = Error::new(ErrorKind::IO, "the connection was lost");
                    fell(&error.map_or(lost, |(error, _)| error));
                    false
                }
                _ = &mut router => {
                    fell(&Error::new(ErrorKind::IO, "the client gave up"));
                    time::sleep(PROBE).await;
                    router = client.connect();
                    false
                }
                _ = connects.recv() => true,
                () = time::sleep(PROBE), if !up.load(Ordering::Relaxed) => true,
                () = time::sleep(idle), if up.load(Ordering::Relaxed) => {
                    if let Some(reader) = reader.upgrade() {
                        reader.use_it();
                    }
                    // One that fails is told of above.
                    let _ = client.ping::<Value>(None).await;
                    false
                }
            };
            // A server that is still loading accepts connections: only an answer proves that it serves.
            if connected && !up.load(Ordering::Relaxed) && deserves(&client, trust).await {
                health.rose();
                up.store(true, Ordering::Relaxed);
            }
        }
        router.abort();
    }
}

async fn deserves(client: &Client, trust: Trust) -> bool {
    match trust {
        Trust::Blind | Trust::Answers => client.ping::<Value>(None).await.is_ok(),
        Trust::Primary => {
            let role = CustomCommand::new_static("ROLE", None, false);
            let role: Result<Vec<Value>, _> = client.custom(role, Vec::<String>::new()).await;
            role.is_ok_and(|role| role.first().and_then(Value::as_str).is_some_and(|role| role == "master"))
        }
    }
}
