//! The log's way out: a bounded queue and one thread that writes, so that a slow reader never holds up a request.

use super::metrics::Counter;
use crate::tasks::Worker;
use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait; beyond it lines are dropped and counted.
const LINES_MAX: usize = 16 * 1024;

/// How long a reader that takes nothing keeps the process from its end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where log lines go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Output(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<Option<SyncSender<Vec<u8>>>>,
    dropped: Counter,
    /// Disconnected when everything is written.
    written: Mutex<Receiver<()>>,
}

impl Output {
    /// Starts the thread that writes to `sink`. `dropped` counts lines that are lost because nobody reads fast enough.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static, dropped: Counter) -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let (end, written) = sync_channel(0);
        std::thread::Builder::new().name("log".into()).spawn(move || {
            write(&lines, sink);
            drop(end);
        })?;
        Ok(Self(Arc::new(Inner { queue: Mutex::new(Some(queue)), dropped, written: Mutex::new(written) })))
    }

    /// Hands over one line, its line end included; never waits.
    pub fn line(&self, line: Vec<u8>) {
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_none_or(|queue| queue.try_send(line).is_err()) {
            self.0.dropped.add(Worker(0));
        }
    }

    /// Writes what waits, as far as somebody reads it, then stops.
    pub fn close(&self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let written = self.0.written.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: it ends when the writer does.
        let _ = written.recv_timeout(PATIENCE);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Metrics, families};
    use std::sync::mpsc::{Sender, channel};

    struct Sink {
        taken: Sender<Vec<u8>>,
        /// Until it says something, nothing is taken.
        goes_on: Receiver<()>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.goes_on.recv();
            self.taken.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output() -> (Output, Receiver<Vec<u8>>, Sender<()>) {
        let ((taken, lines), (go_on, goes_on)) = (channel(), channel());
        let dropped = Metrics::new(1).counter(&families::LOG_DROPPED, &[]);
        (Output::start(Sink { taken, goes_on }, dropped).expect("a thread"), lines, go_on)
    }

    #[test]
    fn what_waits_is_written_before_the_end() {
        let (output, lines, go_on) = output();
        for line in ["one\n", "two\n"] {
            output.line(line.into());
        }
        drop(go_on);
        output.close();
        assert_eq!(lines.try_iter().collect::<Vec<_>>().concat(), b"one\ntwo\n");
        output.line(b"late\n".into());
        output.close();
    }

    #[test]
    fn a_reader_that_takes_nothing_does_not_keep_the_process_from_its_end() {
        let (output, lines, _go_on) = output();
        output.line(b"one\n".into());
        output.close();
        assert!(lines.try_recv().is_err());
    }
}
