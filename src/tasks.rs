//! The only place that spawns: workers, the tasks a drain waits for, and those it does not.

use std::future::Future;
use tokio::runtime::Handle;
pub use tokio_util::task::TaskTracker;

/// The number of a worker thread, from 0; picks its connections in everything that is kept per worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker(pub usize);

/// Spawns on the current worker a task that nobody waits for.
#[expect(clippy::disallowed_methods, reason = "this is the spawn")]
pub fn background(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
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
