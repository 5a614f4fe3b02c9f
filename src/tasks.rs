//! The only place that spawns: workers, the tasks a drain waits for, and those it does not.

use std::{future::Future, io, thread};
use tokio::{
    runtime::{self, Handle},
    task::{AbortHandle, JoinSet},
};
pub use tokio_util::task::TaskTracker;

/// The number of a worker thread, from 0; picks its connections in everything that is kept per worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker(pub usize);

/// Spawns on the current worker a task that nobody waits for.
#[expect(clippy::disallowed_methods, reason = "this is the spawn")]
pub fn background(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Spawns on the current worker a task that nobody waits for, and that can be ended.
#[expect(clippy::disallowed_methods, reason = "this is the spawn")]
pub fn abortable(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

/// Spawns on the current worker a task that a drain waits for.
pub fn tracked(tracker: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
    tracker.spawn(task);
}

/// The runtimes of the workers: what is kept per worker is made here, one for each.
#[derive(Debug, Clone)]
pub struct Workers(Vec<Handle>);

impl Workers {
    /// The workers behind these runtimes, in order.
    pub fn new(runtimes: Vec<Handle>) -> Self {
        Self(runtimes)
    }

    /// One worker: the current runtime. For commands that answer one question and exit.
    pub fn current() -> Self {
        Self(vec![Handle::current()])
    }

    /// Spawns on one of them a task that nobody waits for.
    pub fn background(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _guard = self.0[0].enter();
        background(task);
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Makes one thing per worker, each inside that worker's runtime, so that what it spawns runs there.
    pub fn each<T>(&self, mut make: impl FnMut(Worker) -> T) -> Vec<T> {
        let entered = |(index, runtime): (usize, &Handle)| {
            let _guard = runtime.enter();
            make(Worker(index))
        };
        self.0.iter().enumerate().map(entered).collect()
    }
}

/// Runs futures side by side on the current worker until all have ended, or until this one is dropped; what they bring
/// comes as they end.
pub async fn side_by_side<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    futures: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let mut running = JoinSet::new();
    for future in futures {
        running.spawn(future);
    }
    let mut brought = Vec::new();
    while let Some(ended) = running.join_next().await {
        brought.extend(ended);
    }
    brought
}

/// Runs a future on a thread of its own, for what must not wait behind requests. The thread ends with it.
///
/// # Errors
/// When the thread or its runtime cannot be had.
pub fn aside<F: Future<Output = ()>>(name: &str, make: impl FnOnce() -> F + Send + 'static) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(async { make().await }))?;
    Ok(())
}
