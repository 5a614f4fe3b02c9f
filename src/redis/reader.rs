//! A connection for what requests ask: its life, from the greeting to the next one.

use super::{
    health::Health,
    line::Line,
    link::{GREETING_MIN, RECONNECT_MS, Trust},
    queue::{Queue, Replies},
    resp::Command,
    wire::{Head, Stream, Wire},
};
use crate::{config::store, tasks};
use fred::error::{Error, ErrorKind};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time};

/// One connection that is read over. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Reader {
    queue: Arc<Queue>,
    timeout: Duration,
    /// Whether a question waits for the connection, and is asked again when it breaks.
    waits: bool,
    _ended: oneshot::Sender<()>,
}

impl Reader {
    /// Starts connecting on the current runtime, and goes on for ever.
    pub(super) fn open(server: &store::Redis, trust: Trust, timeout: Duration, health: &Arc<Health>) -> Self {
        let queue = Arc::new(Queue::new());
        let (ended, end) = oneshot::channel();
        let (server, patience) = (server.clone(), timeout.max(GREETING_MIN));
        let keeper = Keeper { server, trust, patience, queue: queue.clone(), health: health.clone() };
        tasks::background(async move {
            tokio::select! {
                _ = end => {}
                never = keeper.keep() => match never {}
            }
        });
        Self { queue, timeout, waits: trust == Trust::Blind, _ended: ended }
    }

    /// Sees to it that the connection, if there is one, is used.
    pub(super) fn use_it(&self) {
        // Whether there is an answer in time is for the connection itself to see.
        drop(self.queue.ask(&[Command::Ping], 0, crate::clock::now() + self.timeout));
    }

    /// Asks a question that came up when it `begun`, of at most [`COMMANDS_MAX`](super::queue::COMMANDS_MAX) commands
    /// that may be executed twice. It is answered or has failed when its time is over.
    pub(super) async fn ask(
        &self,
        commands: &[Command<'_>],
        text_max: usize,
        begun: Instant,
    ) -> Result<Replies, Error> {
        let due = begun + self.timeout;
        // No timer: the connection does not outlive a question that is due.
        if let Some(answered) = self.queue.ask(commands, text_max, due)?
            && let Ok(replies) = answered.await
        {
            return Ok(replies);
        }
        Box::pin(self.ask_again(commands, text_max, due)).await
    }

    async fn ask_again(&self, commands: &[Command<'_>], text_max: usize, due: Instant) -> Result<Replies, Error> {
        let is_due = due <= crate::clock::now();
        if !self.waits && !is_due {
            return Err(Error::new(ErrorKind::IO, "the connection was lost"));
        }
        let again = async {
            loop {
                self.queue.is_open().await;
                let due = crate::clock::now() + self.timeout;
                if let Some(answered) = self.queue.ask(commands, text_max, due)?
                    && let Ok(replies) = answered.await
                {
                    return Ok(replies);
                }
            }
        };
        time::timeout_at(due.into(), again).await.unwrap_or_else(|_| Err(too_late()))
    }
}

/// Keeps a connection.
struct Keeper {
    server: store::Redis,
    trust: Trust,
    /// How long connecting, and each step of the greeting, may take.
    patience: Duration,
    queue: Arc<Queue>,
    health: Arc<Health>,
}

impl Drop for Keeper {
    /// The runtime ends, too: nobody may wait for an answer then.
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Keeper {
    async fn keep(self) -> Infallible {
        let (wait_min, wait_max) = RECONNECT_MS;
        let mut wait = Duration::from_millis(wait_min.into());
        loop {
            let (was_up, cause) = match self.connect().await {
                Ok(stream) => {
                    wait = Duration::from_millis(wait_min.into());
                    let mut line = Line::new(stream);
                    self.health.rose();
                    self.queue.open();
                    let cause = poll_fn(|context| line.poll(&self.queue, context)).await;
                    self.health.lost();
                    // Before the line goes, and with it the questions: they must find it closed.
                    self.queue.close();
                    (true, cause)
                }
                Err(cause) => (false, cause),
            };
            self.health.fell(was_up, &cause);
            time::sleep(wait + jitter(wait_min)).await;
            wait = (wait * 2).min(Duration::from_millis(wait_max.into()));
        }
    }

    /// Connects to a server that is one that may be asked.
    async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let mut wire = self.in_time(Wire::dial(&self.server)).await?;
        if let Some(password) = &self.server.password {
            let user = self.server.user.as_deref().map(str::as_bytes);
            let words: [Option<&[u8]>; 3] = [Some(b"AUTH"), user, Some(password.expose().as_bytes())];
            self.introduce(&mut wire, &words.into_iter().flatten().collect::<Vec<_>>()).await?;
        }
        if self.server.database != 0 {
            self.introduce(&mut wire, &[b"SELECT", self.server.database.to_string().as_bytes()]).await?;
        }
        // A server that is still loading accepts connections: only an answer proves that it serves.
        match self.trust {
            Trust::Blind | Trust::Answers => self.introduce(&mut wire, &[b"PING"]).await?,
            Trust::Primary => self.in_time(is_primary(&mut wire)).await?,
        }
        Ok(wire.into_stream())
    }

    async fn introduce(&self, wire: &mut Wire, command: &[&[u8]]) -> Result<(), Error> {
        let head = self.in_time(async {
            wire.send(command).await?;
            wire.head().await
        });
        match head.await? {
            Head::Line => Ok(()),
            other => Err(refused(other)),
        }
    }

    async fn in_time<T, E: Into<Error>>(&self, step: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
        time::timeout(self.patience, step).await.map_err(|_| too_late())?.map_err(Into::into)
    }
}

/// A replica, or what has become one, must not be asked.
async fn is_primary(wire: &mut Wire) -> Result<(), Error> {
    wire.send(&[b"ROLE"]).await?;
    match wire.head().await? {
        Head::Many(parts @ 1..) => {
            let role = wire.text().await?;
            wire.skip(parts - 1).await?;
            let replica = || Error::new(ErrorKind::Cluster, "the server is a replica");
            (role == b"master").then_some(()).ok_or_else(replica)
        }
        other => Err(refused(other)),
    }
}

fn refused(head: Head) -> Error {
    match head {
        Head::Refusal(code) => Error::new(ErrorKind::Unknown, code),
        _ => io::Error::from(io::ErrorKind::InvalidData).into(),
    }
}

fn too_late() -> Error {
    Error::new(ErrorKind::Timeout, "no answer in time")
}

/// So that many gateways do not come back in step.
fn jitter(milliseconds_max: u32) -> Duration {
    let mut random = [0; 1];
    // Without it they do, and that is all.
    let _ = getrandom::fill(&mut random);
    Duration::from_millis(u64::from(random[0]) * u64::from(milliseconds_max) / 256)
}

#[cfg(test)]
mod tests;
