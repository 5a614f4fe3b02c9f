//! The questions that wait for the task that has the connection: handed in, fetched, answered.

use super::resp::{Command, Reply};
use fred::error::{Error, ErrorKind};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Instant,
};
use tokio::sync::{oneshot, watch};

/// The most commands of one question.
pub(super) const COMMANDS_MAX: usize = 4;
/// Questions that may be under way at once; beyond it they fail at once.
const QUESTIONS_MAX: usize = 16 * 1024;

/// The answers to the commands of one question, in their order.
pub(super) type Replies = [Reply; COMMANDS_MAX];

/// A question that waits for its answer. Whoever asked may have left: its answer then is nobody's.
pub(super) struct Question {
    pub(super) answer: oneshot::Sender<Replies>,
    /// How many replies there will be.
    pub(super) commands: usize,
    /// No text in them is longer.
    pub(super) text_max: usize,
    /// After that nobody waits any more.
    pub(super) due: Instant,
}

/// Shared by who asks and the task that has the connection.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    is_open: bool,
    /// The commands of `fresh`, as they are sent.
    outgoing: Vec<u8>,
    /// Handed in, and not fetched.
    fresh: Vec<Question>,
    /// Fetched, and not answered.
    under_way: usize,
    /// Whom to wake for the next question.
    task: Option<Waker>,
}

impl Queue {
    /// Closed.
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), open: watch::Sender::new(false) }
    }

    /// Hands in a question of at least one command; `None` while there is no connection. When one breaks, the
    /// questions under way are dropped.
    ///
    /// # Errors
    /// When too many wait.
    pub(super) fn ask(
        &self,
        commands: &[Command<'_>],
        text_max: usize,
        due: Instant,
    ) -> Result<Option<oneshot::Receiver<Replies>>, Error> {
        let mut waiting = self.waiting();
        if !waiting.is_open {
            return Ok(None);
        }
        if waiting.under_way + waiting.fresh.len() >= QUESTIONS_MAX {
            return Err(Error::new(ErrorKind::Backpressure, "too many commands wait"));
        }
        for command in commands {
            command.write(&mut waiting.outgoing);
        }
        let (answer, answered) = oneshot::channel();
        waiting.fresh.push(Question { answer, commands: commands.len(), text_max, due });
        // Taken: those who ask before the task runs need not wake it again.
        if let Some(task) = waiting.task.take() {
            task.wake();
        }
        Ok(Some(answered))
    }

    /// Moves to `outgoing` and `under_way` whatever was handed in, and wakes `task` when more is.
    pub(super) fn fetch(&self, outgoing: &mut Vec<u8>, under_way: &mut VecDeque<Question>, task: &Waker) {
        let mut waiting = self.waiting();
        if outgoing.is_empty() {
            std::mem::swap(outgoing, &mut waiting.outgoing);
        } else {
            outgoing.append(&mut waiting.outgoing);
        }
        under_way.extend(waiting.fresh.drain(..));
        waiting.under_way = under_way.len();
        if waiting.task.is_none() {
            waiting.task = Some(task.clone());
        }
    }

    /// There is a connection.
    pub(super) fn open(&self) {
        let mut waiting = self.waiting();
        waiting.is_open = true;
        // Under the lock: who finds it closed must not be told at the same time that it is open.
        self.open.send_replace(true);
        drop(waiting);
    }

    /// There is none any more.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        *waiting = Waiting::default();
        self.open.send_replace(false);
        drop(waiting);
    }

    /// Returns when there is a connection.
    pub(super) async fn is_open(&self) {
        // An error would mean that there is no queue.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing below panics half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits in it holds keys, and those hold ids.
impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("is_open", &*self.open.borrow()).finish_non_exhaustive()
    }
}
