//! What the listener asks of the server that records are read from, over the connections that they are read over.

use super::{Failure, Redis, milliseconds};
use crate::tasks::Worker;
use fred::{
    error::{Error, ErrorKind},
    prelude::*,
    types::{CustomCommand, FromValue},
};
use std::time::Duration;

/// The setting that says which keyspace events there are.
const NOTIFY: &str = "notify-keyspace-events";

impl Redis {
    /// How many connections there are.
    pub(super) fn links(&self) -> usize {
        self.links.iter().map(Vec::len).sum()
    }

    /// Writes a number over one connection, and learns which one the key held before.
    pub(super) async fn exchange(
        &self,
        link: usize,
        key: &str,
        number: u64,
        ttl: Duration,
    ) -> Result<Option<u64>, Failure> {
        let Some(link) = self.links.iter().flatten().nth(link) else {
            return Err(Failure::Outage("there is no such connection".to_owned()));
        };
        let (value, expiry) = (number.to_string(), Some(Expiration::PX(milliseconds(ttl))));
        let reply: Result<Option<String>, _> = Box::pin(link.once.set(key, value, expiry, None, true)).await;
        Ok(reply.map_err(|error| self.judge(Worker(0), &error, false))?.and_then(|previous| previous.parse().ok()))
    }

    /// The server's `notify-keyspace-events`; `None` = it may not be read.
    pub(super) async fn notified_events(&self) -> Result<Option<String>, Failure> {
        match self.configuration::<Vec<String>>(vec!["GET", NOTIFY]).await {
            Ok(pair) => Ok(pair.into_iter().nth(1)),
            Err(error) if is_refusal(&error) => Ok(None),
            Err(error) => Err(self.judge(Worker(0), &error, false)),
        }
    }

    /// Sets the server's `notify-keyspace-events`; `false` = it may not be set.
    pub(super) async fn notify_events(&self, flags: &str) -> Result<bool, Failure> {
        match self.configuration::<Value>(vec!["SET", NOTIFY, flags]).await {
            Ok(_) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(self.judge(Worker(0), &error, false)),
        }
    }

    async fn configuration<T: FromValue>(&self, arguments: Vec<&str>) -> Result<T, Error> {
        let config = CustomCommand::new_static("CONFIG", None, false);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let link = self.links.first().and_then(|own| own.first()).ok_or_else(nobody)?;
        Box::pin(link.once.custom(config, arguments)).await
    }
}

fn nobody() -> Error {
    Error::new(ErrorKind::IO, "there are no connections")
}

/// Whether the server understood and does not want to.
fn is_refusal(error: &Error) -> bool {
    ["ERR", "NOPERM"].iter().any(|code| error.details().starts_with(code))
}
