//! Whether the connections are up, told in the log once per change.

use crate::clock;
use fred::error::{Error, ErrorKind};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The least time between two lines about commands that failed.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);

/// The state of all connections to one server.
#[derive(Debug)]
pub(super) struct Health {
    server: String,
    down: AtomicUsize,
    losses: AtomicUsize,
    told: AtomicBool,
    complained: Mutex<Option<Instant>>,
}

impl Health {
    /// All `links` begin down: none has connected yet.
    pub(super) fn new(links: usize, server: String) -> Self {
        Self {
            server,
            down: AtomicUsize::new(links),
            losses: AtomicUsize::new(0),
            told: AtomicBool::new(false),
            complained: Mutex::new(None),
        }
    }

    pub(super) fn degraded(&self) -> bool {
        self.down.load(Ordering::Relaxed) > 0
    }

    /// How often a connection that records are read over was lost.
    pub(super) fn losses(&self) -> usize {
        self.losses.load(Ordering::SeqCst)
    }

    /// One of these was.
    pub(super) fn lost(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
    }

    /// One connection failed; `was_up` = it was up before.
    pub(super) fn fell(&self, was_up: bool, cause: &Error) {
        if was_up {
            self.down.fetch_add(1, Ordering::Relaxed);
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(server = self.server, cause = describe(cause), "the store cannot be reached");
        }
    }

    /// One connection that was down is up and answers.
    pub(super) fn rose(&self) {
        let last = self.down.fetch_sub(1, Ordering::Relaxed) == 1;
        if last && self.told.swap(false, Ordering::Relaxed) {
            tracing::info!(server = self.server, "the store can be reached again");
        }
    }

    /// A command failed. Logged now and then, and not while the connections themselves are known to be down.
    pub(super) fn complain(&self, cause: &str) {
        if self.told.load(Ordering::Relaxed) {
            return;
        }
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if complained.is_none_or(|last| now - last >= COMPLAINT_INTERVAL) {
            *complained = Some(now);
            tracing::warn!(server = self.server, cause, "the store does not answer as it should");
        }
    }
}

/// An error for the log. Of what Redis itself said only the first word is kept: the rest may quote arguments.
pub(super) fn describe(error: &Error) -> String {
    let details = error.details();
    let code = details.split_whitespace().next().unwrap_or_default();
    let is_code = code.len() > 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    match error.kind() {
        ErrorKind::Timeout => "no answer in time".to_owned(),
        ErrorKind::Canceled => "not connected".to_owned(),
        _ if is_code => format!("Redis answers {code}"),
        // What the system says arrives as Rust prints it for programmers.
        ErrorKind::IO | ErrorKind::Tls => match quoted(details, "message: \"").or(quoted(details, "error: \"")) {
            Some(said) => said.to_owned(),
            None => format!("{}: {details}", error.kind().to_str()),
        },
        kind => kind.to_str().to_owned(),
    }
}

/// What stands between `before` and the next quotation mark.
fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once('"').map(|(said, _)| said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once() {
        let health = Health::new(2, "here".to_owned());
        let cause = Error::new(ErrorKind::IO, "gone");
        let told = || health.told.load(Ordering::Relaxed);
        assert!(health.degraded() && !told());
        health.rose();
        health.rose();
        assert!(!health.degraded() && !told());
        health.fell(true, &cause);
        health.fell(false, &cause);
        health.fell(true, &cause);
        assert!(health.degraded() && told());
        health.rose();
        assert!(health.degraded() && told());
        health.rose();
        assert!(!health.degraded() && !told());
    }

    #[test]
    fn a_description_quotes_nothing_that_redis_quotes() {
        let describe = |kind, details: &'static str| describe(&Error::new(kind, details));
        assert_eq!(describe(ErrorKind::Unknown, "ERR unknown command 'GET', args: 'key'"), "Redis answers ERR");
        assert_eq!(describe(ErrorKind::Auth, "WRONGPASS invalid pair"), "Redis answers WRONGPASS");
        assert_eq!(describe(ErrorKind::Unknown, "key"), "Unknown Error");
        let refused = r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#;
        assert_eq!(describe(ErrorKind::IO, refused), "Connection refused");
        let unknown = r#"Custom { kind: Uncategorized, error: "failed to lookup address information" }"#;
        assert_eq!(describe(ErrorKind::IO, unknown), "failed to lookup address information");
        assert_eq!(describe(ErrorKind::IO, "the connection was lost"), "IO Error: the connection was lost");
        assert_eq!(describe(ErrorKind::Timeout, "Request timed out."), "no answer in time");
    }
}
