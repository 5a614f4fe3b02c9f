//! What a client connection is doing: nothing, waiting for the rest of a head, or answering.

use super::arriving::Arriving;
use crate::clock;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

/// What a connection is doing; shared by the socket and the service.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    doing: Mutex<Doing>,
    is_stuck: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Doing {
    phase: Phase,
    /// Requests of which the head was complete, so far.
    requests: u64,
    /// Which of them had both a Content-Length and a Transfer-Encoding, as far as they have arrived. None follows it.
    framed_twice: Option<u64>,
    /// The next head has begun, and waits behind those that are being answered.
    next_begun: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// No request, since then.
    Idle(Instant),
    /// A head has begun.
    Head { begun: Instant, idle_since: Instant },
    /// So many requests are being answered.
    Busy(u32),
}

/// A request being answered; when dropped, the connection is idle again.
#[derive(Debug)]
pub struct Busy {
    activity: Activity,
    /// Its head had both a Content-Length and a Transfer-Encoding.
    pub framed_twice: bool,
}

impl Activity {
    /// A connection that has just begun.
    pub fn new() -> Self {
        Self::in_phase(Phase::Idle(clock::now()))
    }

    /// A connection whose first head began to arrive at `begun`.
    pub fn since(begun: Instant) -> Self {
        Self::in_phase(Phase::Head { begun, idle_since: begun })
    }

    fn in_phase(phase: Phase) -> Self {
        let doing = Doing { phase, requests: 0, framed_twice: None, next_begun: false };
        Self(Arc::new(Shared { doing: Mutex::new(doing), is_stuck: AtomicBool::new(false) }))
    }

    /// A request's head is complete.
    pub fn begin(&self) -> Busy {
        let mut doing = self.doing();
        doing.requests += 1;
        doing.phase = match doing.phase {
            Phase::Busy(others) => Phase::Busy(others + 1),
            Phase::Idle(_) | Phase::Head { .. } => Phase::Busy(1),
        };
        Busy { activity: self.clone(), framed_twice: doing.framed_twice == Some(doing.requests) }
    }

    /// Bytes of HTTP/1.1 have arrived.
    pub(super) fn read_http1(&self, heads: &mut Arriving, arrived: &[u8]) {
        let next_begun = heads.pass(arrived);
        let mut doing = self.doing();
        doing.framed_twice = heads.framed_twice();
        doing.next_begun = next_begun;
        if next_begun {
            doing.begin_head();
        }
    }

    /// Bytes of HTTP/2 have arrived. What `is_whole` and is no request was none.
    pub(super) fn read_http2(&self, is_whole: bool) {
        let mut doing = self.doing();
        match doing.phase {
            Phase::Head { idle_since, .. } if is_whole => doing.phase = Phase::Idle(idle_since),
            _ if is_whole => {}
            _ => doing.begin_head(),
        }
    }

    /// What it is doing now.
    pub(super) fn phase(&self) -> Phase {
        self.doing().phase
    }

    /// Notes whether the client takes nothing of what is written to it.
    pub(super) fn set_stuck(&self, is_stuck: bool) {
        self.0.is_stuck.store(is_stuck, Relaxed);
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.0.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doing {
    fn begin_head(&mut self) {
        if let Phase::Idle(idle_since) = self.phase {
            self.phase = Phase::Head { begun: clock::now(), idle_since };
        }
    }

    fn end_request(&mut self) {
        let now = clock::now();
        self.phase = match self.phase {
            Phase::Busy(requests) if requests > 1 => Phase::Busy(requests - 1),
            _ if self.next_begun => Phase::Head { begun: now, idle_since: now },
            _ => Phase::Idle(now),
        };
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

impl Busy {
    /// Whether the client takes nothing of what is written to it. When it does again, the connection's task is woken.
    pub fn is_stuck(&self) -> bool {
        self.activity.0.is_stuck.load(Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity.doing().end_request();
    }
}
