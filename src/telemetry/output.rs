//! The log's way out: a bounded queue and one thread that writes, so that a slow reader never holds up a request.

use super::metrics::Counter;
use crate::tasks::Worker;
use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait; beyond it lines are dropped and counted.
const LINES_MAX: usize = 16 * 1024;

/// Where log lines go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Output(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<Option<SyncSender<Vec<u8>>>>,
    dropped: Counter,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Output {
    /// Starts the thread that writes to `sink`. `dropped` counts lines that are lost because nobody reads fast enough.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static, dropped: Counter) -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let writer = std::thread::Builder::new().name("log".into()).spawn(move || write(&lines, sink))?;
        Ok(Self(Arc::new(Inner { queue: Mutex::new(Some(queue)), dropped, writer: Mutex::new(Some(writer)) })))
    }

    /// Hands over one line, its line end included; never waits.
    pub fn line(&self, line: Vec<u8>) {
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_none_or(|queue| queue.try_send(line).is_err()) {
            self.0.dropped.add(Worker(0));
        }
    }

    /// Writes what waits, then stops.
    pub fn close(&self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

/// Writes lines in batches: one write for all that wait.
fn write(lines: &Receiver<Vec<u8>>, mut sink: impl Write) {
    while let Ok(mut batch) = lines.recv() {
        for line in lines.try_iter().take(1024) {
            batch.extend_from_slice(&line);
        }
        // Nobody can be told that the log itself cannot be written.
        let _ = sink.write_all(&batch).and_then(|()| sink.flush());
    }
}

/// One event's text, sent as a line when it is complete.
#[derive(Debug)]
pub struct Line<'a>(&'a Output, Vec<u8>);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.0.line(std::mem::take(&mut self.1));
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self, Vec::new())
    }
}
