//! Finding the primaries: one that knows them is asked, and another one when that one does not answer.

use super::{
    cluster, health, link,
    primaries::{Found, Topology},
    sentinel,
};
use crate::config::store;
use fred::{error::Error, prelude::*, types::ConnectHandle};
use std::time::Duration;

/// The longest that one of them may take to answer, connecting included.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection to the one that answered last.
#[derive(Debug)]
pub(super) struct Discovery {
    timeout: Duration,
    /// Whose turn it is.
    turn: usize,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    server: store::Redis,
    client: Client,
    router: ConnectHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.router.abort();
    }
}

impl Discovery {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout: timeout.min(PATIENCE), turn: 0, connection: None }
    }

    /// Asks the one that answered last, else each of `all` once.
    pub(super) async fn ask(&mut self, all: &[store::Redis], topology: &Topology) -> Result<Found, String> {
        let mut cause = "there is nobody to ask".to_owned();
        for attempt in 0..=all.len() {
            let connection = match self.connection.take() {
                Some(connection) => Ok(connection),
                None if attempt == all.len() => break,
                None => {
                    let server = &all[self.turn % all.len()];
                    self.turn = self.turn.wrapping_add(1);
                    self.connect(server).await
                }
            };
            let answer = match &connection {
                Ok(Connection { server, client, .. }) => match topology {
                    Topology::Sentinels(sentinel) => sentinel::find(client, &sentinel.service).await,
                    Topology::Cluster(_) => cluster::find(server, client).await,
                },
                Err(error) => Err(error.clone()),
            };
            match answer {
                Ok(answer) => {
                    self.connection = connection.ok();
                    return Ok(answer);
                }
                Err(error) => cause = health::describe(&error),
            }
        }
        Err(cause)
    }

    /// The next question goes to somebody else.
    pub(super) fn doubt(&mut self) {
        self.connection = None;
    }

    async fn connect(&self, server: &store::Redis) -> Result<Connection, Error> {
        let client = link::builder(server, self.timeout).with_config(|config| config.fail_fast = true).build()?;
        let router = client.connect();
        let connection = Connection { server: server.clone(), client, router };
        let connected = tokio::time::timeout(PATIENCE, connection.client.wait_for_connect()).await;
        connected.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no connection in time")))?;
        Ok(connection)
    }
}
