//! What only the log needs of a request.

use super::{Exchange, NormalPath};
use crate::{
    http::Head,
    telemetry::access_log::{AccessLog, Entry, milliseconds},
};
use http::{HeaderValue, Uri, header::HOST};
use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

/// The line in the log, as far as it is known.
#[derive(Debug)]
pub(super) struct Line {
    log: AccessLog,
    uri: Uri,
    host: Option<HeaderValue>,
    pub(super) rule: Option<Arc<str>>,
    pub(super) matched: Option<Instant>,
    pub(super) verdict: Option<&'static str>,
    pub(super) store: Option<Duration>,
    pub(super) verdict_from: Option<&'static str>,
    pub(super) memory: Option<&'static str>,
    pub(super) user: Option<Box<str>>,
    pub(super) cause: Option<Cow<'static, str>>,
    pub(super) would_refuse: Option<&'static str>,
    pub(super) upstream: Option<Box<str>>,
    pub(super) answered: Option<Duration>,
    pub(super) bytes: u64,
    pub(super) received: u64,
    pub(super) cookies_removed: usize,
    pub(super) record_left_out: bool,
    pub(super) cut: bool,
}

impl Line {
    pub(super) fn begin(log: &AccessLog, head: &Head) -> Box<Self> {
        Box::new(Self {
            log: log.clone(),
            uri: head.uri.clone(),
            host: head.headers.get(HOST).cloned(),
            rule: None,
            matched: None,
            verdict: None,
            store: None,
            verdict_from: None,
            memory: None,
            user: None,
            cause: None,
            would_refuse: None,
            upstream: None,
            answered: None,
            bytes: 0,
            received: 0,
            cookies_removed: 0,
            record_left_out: false,
            cut: false,
        })
    }

    /// The exchange is over, and took so long.
    pub(super) fn write(&self, exchange: &Exchange, duration: Duration) {
        let path = exchange.path.as_ref().map_or(self.uri.path(), NormalPath::as_str);
        self.log.write(Entry {
            status: exchange.status,
            method: exchange.method.as_str(),
            path,
            query: self.uri.query(),
            host: self.host.as_ref().and_then(|host| host.to_str().ok()),
            client: exchange.arrival.client,
            request_id: exchange.arrival.request_id.to_str().unwrap_or_default(),
            rule: self.rule.as_deref(),
            verdict: self.verdict,
            store_ms: self.store.map(milliseconds),
            verdict_from: self.verdict_from,
            memory: self.memory,
            user: self.user.as_deref(),
            reason: exchange.reason,
            cause: self.cause.as_deref(),
            would_refuse: self.would_refuse,
            upstream: self.upstream.as_deref(),
            upstream_ms: self.answered.map(milliseconds),
            ms: milliseconds(duration),
            bytes: self.bytes,
            received: self.received,
            cookies_removed: self.cookies_removed,
            record_left_out: self.record_left_out,
            cut: self.cut,
            ..Entry::default()
        });
    }
}
