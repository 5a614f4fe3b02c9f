//! What the listener asks of the server that records are read from, besides the beats.

use super::{Failure, Redis};
use crate::tasks::Worker;
use fred::{
    error::{Error, ErrorKind},
    prelude::*,
    types::{CustomCommand, FromValue},
};

/// The setting that says which keyspace events there are.
const NOTIFY: &str = "notify-keyspace-events";

impl Redis {
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
