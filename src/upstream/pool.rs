//! Connections that wait for their next request; one pool per worker and endpoint, so nobody fights for it.

use super::connection::Connection;
use crate::clock;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Unused connections, the most recently used on top.
#[derive(Debug)]
pub(super) struct Pool {
    keepalive: Duration,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    pub(super) fn new(keepalive: Duration) -> Self {
        Self { keepalive, idle: Mutex::new(Vec::new()) }
    }

    /// Takes the most recently used connection that is still open and fresh.
    pub(super) fn take(&self) -> Option<Connection> {
        let now = clock::now();
        self.locked(|idle| {
            loop {
                let Idle { connection, until } = idle.pop()?;
                if until > now && connection.is_open() {
                    return Some(connection);
                }
            }
        })
    }

    /// Keeps a connection whose last exchange ended cleanly.
    pub(super) fn keep(&self, connection: Connection) {
        let keepalive = connection.keepalive().map_or(self.keepalive, |theirs| theirs.min(self.keepalive));
        if !keepalive.is_zero() && connection.is_open() {
            let until = clock::now() + keepalive;
            self.locked(|idle| idle.push(Idle { connection, until }));
        }
    }

    /// Closes what has been unused for too long.
    pub(super) fn close_unused(&self) {
        let now = clock::now();
        self.locked(|idle| idle.retain(|kept| kept.until > now && kept.connection.is_open()));
    }

    fn locked<T>(&self, change: impl FnOnce(&mut Vec<Idle>) -> T) -> T {
        change(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
