//! One connection: its limits, and the task that keeps it alive.

use super::Health;
use crate::{config::store, tasks};
use fred::{
    clients::WithOptions,
    error::ErrorKind,
    prelude::*,
    types::config::{ReconnectError, UnresponsiveConfig},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time};

/// Commands that may wait in one connection's queue; beyond it they fail at once.
const QUEUE_MAX: usize = 16 * 1024;
/// Waits between two attempts to connect, doubling, in milliseconds.
const RECONNECT_MS: (u32, u32) = (50, 1_000);
/// The least time that connecting, and each step of the greeting, is given.
const GREETING_MIN: Duration = Duration::from_secs(1);
/// How often a connection that is down is tried beyond what its client does by itself.
const PROBE: Duration = Duration::from_secs(1);

/// One connection to Redis. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Link {
    /// For commands that may be sent twice when a connection breaks.
    pub(super) client: Client,
    /// For those that may not.
    pub(super) once: WithOptions<Client>,
    _ended: oneshot::Sender<()>,
}

impl Link {
    /// Starts connecting on the current runtime.
    pub(super) fn open(server: &store::Redis, timeout: Duration, health: &Arc<Health>) -> Self {
        let client = build(server, timeout);
        let once = client.with_options(&Options { max_attempts: Some(1), ..Options::default() });
        let (ended, end) = oneshot::channel();
        tasks::background(keep(client.clone(), health.clone(), end));
        Self { client, once, _ended: ended }
    }
}

fn build(server: &store::Redis, timeout: Duration) -> Client {
    let address = match &server.address {
        store::Address::Tcp(host, port) => ServerConfig::new_centralized(host, *port),
        store::Address::Unix(path) => ServerConfig::new_unix_socket(path),
    };
    let config = Config {
        fail_fast: false,
        server: address,
        username: server.user.clone(),
        password: server.password.as_ref().map(|password| password.expose().to_owned()),
        database: Some(server.database),
        ..Config::default()
    };
    let (wait_min, wait_max) = RECONNECT_MS;
    let mut reconnect = ReconnectPolicy::new_exponential(0, wait_min, wait_max, 2);
    reconnect.set_jitter(wait_min);
    Builder::from_config(config)
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
        })
        .set_policy(reconnect)
        .build()
        .expect("a client can be built once it has a configuration")
}

/// Connects, watches, and connects again until `end`.
async fn keep(client: Client, health: Arc<Health>, mut end: oneshot::Receiver<()>) {
    let (mut errors, mut connects) = (client.error_rx(), client.reconnect_rx());
    let mut router = client.connect();
    let mut up = false;
    loop {
        // In this order: an error that is older than a connection must not be taken for the end of it.
        let connected = tokio::select! {
            biased;
            _ = &mut end => return router.abort(),
            error = errors.recv() => {
                let lost = Error::new(ErrorKind::IO, "the connection was lost");
                health.fell(up, &error.map_or(lost, |(error, _)| error));
                up = false;
                false
            }
            _ = &mut router => {
                health.fell(up, &Error::new(ErrorKind::IO, "the client gave up"));
                up = false;
                time::sleep(PROBE).await;
                router = client.connect();
                false
            }
            _ = connects.recv() => true,
            () = time::sleep(PROBE), if !up => true,
        };
        // A server that is still loading accepts connections: only an answer proves that it serves.
        if connected && !up && client.ping::<Value>(None).await.is_ok() {
            health.rose();
            up = true;
        }
    }
}
