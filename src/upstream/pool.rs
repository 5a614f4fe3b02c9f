//! Connections that wait for their next request; one pool per worker and endpoint, so nobody fights for it.

use super::{
    connection::{Connection, Speaks},
    failure::Failure,
    shared::Shared,
};
use crate::clock;
use std::{
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{sync, time::timeout};

/// Unused connections of HTTP/1.1, the most recently used on top, and those of HTTP/2.
#[derive(Debug)]
pub(super) struct Pool {
    keepalive: Duration,
    kept: Mutex<Kept>,
    /// The turn to open a connection that others will share.
    turn: sync::Mutex<()>,
    /// When that last failed, and why.
    failed: Mutex<Option<(Instant, Failure)>>,
    /// The last connection could not be shared.
    is_plain: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// Those that were open then are not used again.
    distrusted: Option<Instant>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    pub(super) fn new(keepalive: Duration) -> Self {
        Self {
            keepalive,
            kept: Mutex::default(),
            turn: sync::Mutex::default(),
            failed: Mutex::default(),
            is_plain: AtomicBool::new(false),
        }
    }

    /// Takes a place on a shared connection if `speaks` allows that, else the most recently used one that is still open
    /// and fresh.
    pub(super) fn take(&self, speaks: Speaks, now: Instant) -> Option<Connection> {
        self.locked(|kept| {
            if !kept.shared.is_empty()
                && speaks == Speaks::Any
                && let Some(connection) = kept.share()
            {
                return Some(connection);
            }
            loop {
                let Idle { mut connection, until } = kept.idle.pop()?;
                if until > now && connection.is_open() {
                    return Some(connection);
                }
            }
        })
    }

    /// Keeps a connection whose last exchange ended cleanly.
    pub(super) fn keep(&self, connection: Connection) {
        let now = clock::now();
        let until = connection.until().map_or(now + self.keepalive, |theirs| theirs.min(now + self.keepalive));
        if until <= now {
            return;
        }
        self.locked(|kept| {
            if kept.distrusted.is_none_or(|at| !connection.was_open(at)) {
                kept.idle.push(Idle { connection, until });
            }
        });
    }

    /// Opens a connection, one after the other as long as they can be shared: who waits finds room on the one before.
    /// A failure is that of all who waited for it.
    pub(super) async fn open(
        &self,
        patience: Duration,
        opening: impl Future<Output = Result<Connection, Failure>>,
    ) -> Result<Connection, Failure> {
        if self.is_plain.load(Relaxed) {
            return self.note(opening.await);
        }
        let begun = clock::now();
        let overdue = |_| Failure::Unreachable(format!("no connection within {patience:?}"));
        let turn = timeout(patience, self.turn.lock()).await.map_err(overdue)?;
        if let Some(connection) = self.locked(Kept::share) {
            return Ok(connection);
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, why)) = failed.filter(|(at, _)| *at >= begun) {
            return Err(why);
        }
        if self.is_plain.load(Relaxed) {
            drop(turn);
            return self.note(opening.await);
        }
        self.note(opening.await)
    }

    fn note(&self, opened: Result<Connection, Failure>) -> Result<Connection, Failure> {
        match &opened {
            Ok(Connection::Http2(stream)) => {
                self.is_plain.store(false, Relaxed);
                self.locked(|kept| kept.shared.push(stream.shared().clone()));
            }
            Ok(Connection::Http1 { .. }) => self.is_plain.store(true, Relaxed),
            Err(failure) => {
                let failed = (clock::now(), failure.clone());
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
            }
        }
        opened
    }

    /// From now on what is open gets no more requests: a connection has closed upon one, and who ends one may be about to
    /// end all, or nobody listens any more. What is sent on them meanwhile would be lost, too.
    pub(super) fn distrust(&self, now: Instant) {
        self.locked(|kept| {
            kept.idle.clear();
            kept.distrusted = Some(now);
        });
    }

    /// Closes what has been unused for too long.
    pub(super) fn close_unused(&self) {
        let now = clock::now();
        self.locked(|kept| {
            kept.idle.retain_mut(|kept| kept.until > now && kept.connection.is_open());
            let Some(then) = now.checked_sub(self.keepalive) else { return };
            kept.shared.retain(|shared| shared.is_open() && !shared.is_unused_since(then));
        });
    }

    fn locked<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    /// A place on the first shared connection that has room, so that what is not needed any more falls idle.
    fn share(&mut self) -> Option<Connection> {
        self.shared.retain(Shared::is_open);
        self.shared.iter().find_map(Shared::stream).map(Connection::Http2)
    }
}
