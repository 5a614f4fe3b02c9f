//! The facts of one request, gathered step by step and logged once, also when the client leaves early.

mod line;

use super::{
    body::Body, grpc, login_loop::Visit, meter::Meter, open_stream::OpenStream, refusal::Refusal, snapshot::Snapshot,
};
use crate::{
    access::{Denial, Grant},
    caller::Caller,
    clock,
    config::rules::OnRefusal,
    http::{Head, arrival::Arrival, navigation, path::NormalPath, peer::Peer, websocket},
    identity::Forward,
    limits::Charges,
    rules::Rule,
    session::{Source, Verdict, Watcher},
    tasks::Worker,
    upstream::{Failure, Passed, StreamFault, Streaming, Target, TunnelEnd},
};
use http::{
    HeaderValue, Method, Response, StatusCode, Uri,
    header::{REFERER, SET_COOKIE},
};
use line::Line;
use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

/// The status in the log when the client left before there was an answer.
const CLIENT_LEFT: u16 = 499;

/// The least time that finding out who is calling must take to be logged.
const SLOW_STORE: Duration = Duration::from_millis(1);

/// One request from its head to the end of its response.
#[derive(Debug)]
pub struct Exchange {
    begun: Instant,
    method: Method,
    arrival: Arrival,
    navigation: bool,
    /// The content type of a gRPC call, if it is one.
    pub(super) grpc: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    path: Option<NormalPath>,
    on_refusal: OnRefusal,
    login: usize,
    rule: Option<usize>,
    status: u16,
    reason: Option<&'static str>,
    asked: Option<Instant>,
    worker: Worker,
    meter: Option<Arc<Meter>>,
    /// The limits that the request is under; for most there are none.
    pub(super) charges: Option<Box<Charges>>,
    /// Where the answer may log somebody in.
    pub(super) visit: Option<Visit>,
    log: Option<Box<Line>>,
    /// The key of a WebSocket that is asked for over HTTP/2.
    pub(super) extended: Option<Box<HeaderValue>>,
    /// Of an answer that may go on for long.
    pub(super) stream: Option<Box<OpenStream>>,
}

impl Exchange {
    /// Begins with the head.
    pub fn begin(head: &Head, peer: &Peer, snapshot: &Snapshot) -> Box<Self> {
        let is_safe = matches!(head.method, Method::GET | Method::HEAD);
        Box::new(Self {
            begun: clock::now(),
            method: head.method.clone(),
            arrival: Arrival::of(head, peer, snapshot.site()),
            navigation: navigation::is_one(&head.method, &head.headers),
            grpc: grpc::call(head),
            referer: if is_safe { None } else { head.headers.get(REFERER).cloned() },
            path: None,
            on_refusal: OnRefusal::Auto,
            login: 0,
            rule: None,
            status: CLIENT_LEFT,
            reason: None,
            asked: None,
            worker: peer.worker,
            meter: Some(snapshot.meter(peer.worker).clone()),
            charges: None,
            visit: None,
            extended: websocket::key_over_http2(head).cloned().map(Box::new),
            stream: None,
            log: snapshot.access_log().map(|log| Line::begin(log, head)),
        })
    }

    /// Leaves no line in the log and is not counted: the request is only asked about.
    pub(super) fn be_silent(&mut self) {
        (self.log, self.meter) = (None, None);
    }

    /// How the request reached us.
    pub fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// Who serves it.
    pub(super) fn worker(&self) -> Worker {
        self.worker
    }

    /// Whether a browser wants to show the answer as a page.
    pub fn is_navigation(&self) -> bool {
        self.navigation
    }

    /// Whether an upstream may have logged somebody in or out, or changed the session, while it answered.
    pub(super) fn may_have_changed_state<B>(&self, response: &Response<B>) -> bool {
        let redirects = response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED;
        !self.method.is_safe() || redirects || response.headers().contains_key(SET_COOKIE)
    }

    /// The page to come back to after login: this one, or for other methods than GET and HEAD the one that the
    /// request came from, where that is of this site.
    pub fn way_back(&self) -> Cow<'_, str> {
        if matches!(self.method, Method::GET | Method::HEAD) {
            return self.path.as_ref().map_or("/", |path| path.target().as_str()).into();
        }
        self.referring_page().map_or(Cow::Borrowed("/"), Cow::Owned)
    }

    fn referring_page(&self) -> Option<String> {
        let referer: Uri = self.referer.as_ref()?.to_str().ok()?.parse().ok()?;
        let ours = self.arrival.host.as_ref().ok()?.authority.as_bytes();
        let is_ours = referer.authority()?.as_str().as_bytes().eq_ignore_ascii_case(ours)
            && referer.scheme_str() == Some(self.scheme());
        let page = is_ours.then(|| NormalPath::of(&referer).ok())??;
        Some(page.as_str().to_owned())
    }

    fn scheme(&self) -> &'static str {
        if self.arrival.https { "https" } else { "http" }
    }

    pub(super) fn normalised(&mut self, path: &NormalPath) {
        self.path = Some(path.clone());
    }

    /// The path, once it is known to be sound.
    pub(super) fn path(&self) -> Option<&NormalPath> {
        self.path.as_ref()
    }

    /// Whether a refused caller without a session is sent to log in.
    pub fn is_redirected(&self) -> bool {
        match self.on_refusal {
            OnRefusal::Auto => self.navigation,
            OnRefusal::Redirect => true,
            OnRefusal::Status => false,
        }
    }

    /// The place of the session whose login page a refused caller is told of: the first that the rule accepts.
    pub fn login(&self) -> usize {
        self.login
    }

    pub(super) fn matched(&mut self, rule: &Rule<Target>) {
        self.on_refusal = rule.on_refusal;
        self.login = rule.access.accepts().first().copied().unwrap_or(0);
        self.rule = Some(rule.index);
        let form = self.path.as_ref().filter(|path| path.unmerged().is_some()).map(|path| rule.form(path));
        if let Some(form) = form.filter(|form| !form.as_str().starts_with("//")) {
            self.path = Some(form.clone()); // a way back that began with `//` would lead to another host
        }
        if let Some(line) = &mut self.log {
            line.rule = Some(rule.name.clone());
            line.matched = Some(clock::now());
        }
    }

    /// The place of the rule that was found.
    pub(super) fn rule(&self) -> Option<usize> {
        self.rule
    }

    /// Whether the answer is a refusal of the gateway's own.
    pub(super) fn is_refused(&self) -> bool {
        self.reason.is_some()
    }

    pub(super) fn identified(&mut self, caller: &Caller, watcher: Option<&Watcher>) {
        let Some(line) = &mut self.log else { return };
        let (verdict, cause) = match &caller.verdict {
            Verdict::NotAsked => ("not_asked", None),
            Verdict::Known(session) => {
                line.user = Some(session.user.as_str().into());
                ("session", None)
            }
            Verdict::Absent(absence) => ("anonymous", Some(absence.to_string())),
            Verdict::Unknown(outage) => ("unknown", Some(outage.0.clone())),
        };
        line.verdict = Some(verdict);
        let waited = line.matched.filter(|_| verdict != "not_asked").map(|matched| clock::now() - matched);
        line.store = waited.filter(|waited| *waited >= SLOW_STORE);
        line.verdict_from = caller.source.map(Source::word);
        let was_asked = caller.source == Some(Source::Store);
        line.memory = was_asked.then(|| if watcher.is_some_and(Watcher::is_armed) { "armed" } else { "off" });
        line.cause = cause.map(Cow::Owned);
    }

    pub(super) fn granted(&mut self, grant: &Grant) {
        let Some(denial) = grant.would_refuse() else { return };
        let reason = match denial {
            Denial::SessionRequired(_) => "session_required",
            Denial::ReauthenticationRequired => "reauthentication_required",
            Denial::Forbidden | Denial::Address => "forbidden",
            Denial::CrossSite => "cross_site",
            Denial::StoreUnavailable(_) => "store_unavailable",
        };
        self.would_refuse(reason);
    }

    /// The request passes although an enforced rule would have refused it.
    pub(super) fn would_refuse(&mut self, reason: &'static str) {
        if let Some(meter) = &self.meter {
            meter.would_refuse(self.rule, reason);
        }
        if let Some(line) = &mut self.log {
            line.would_refuse = Some(reason);
        }
    }

    pub(super) fn asks(&mut self, target: &Target, forward: &Forward, begun: Instant) {
        self.asked = Some(begun);
        if let Some(meter) = self.meter.as_ref().filter(|_| forward.record_is_left_out()) {
            meter.left_record_out(self.rule);
        }
        if let Some(line) = &mut self.log {
            line.upstream = Some(target.name().into());
            line.record_left_out = forward.record_is_left_out();
        }
    }

    /// Cookies of the session's name that the upstream tried to set, and may not.
    pub(super) fn guarded(&mut self, target: &Target, removed: usize) {
        if removed == 0 {
            return;
        }
        target.meter().removed_cookies(self.worker, removed);
        if let Some(visit) = &mut self.visit {
            visit.cookie_was_removed = true;
        }
        if let Some(line) = &mut self.log {
            line.cookies_removed = removed;
        }
    }

    pub(super) fn answered(&mut self, target: &Target, answer: &Result<Response<Streaming>, Failure>) {
        let Some(asked) = self.asked else { return };
        match answer {
            Ok(_) => {
                let duration = clock::now() - asked;
                target.meter().answered(self.worker, duration);
                let Some(line) = &mut self.log else { return };
                line.answered = Some(duration);
                let name = line.upstream.take().filter(|name| **name == *target.name());
                line.upstream = name.or_else(|| Some(target.name().into()));
            }
            Err(failure) => target.meter().failed(self.worker, failure),
        }
    }

    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.reason = Some(refusal.reason.face().label);
        if let Some(line) = &mut self.log {
            line.cause = Some(refusal.cause);
        }
    }

    /// The response is complete but for its body, whose end will be the exchange's.
    pub fn finish(mut self: Box<Self>, response: Response<Body>) -> Response<Body> {
        self.status = response.status().as_u16();
        response.map(|body| body.closing(self))
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(line) = &mut self.log {
            line.bytes += bytes as u64;
        }
    }

    pub(super) fn broke_off(&mut self, fault: &StreamFault) {
        if let Some(line) = &mut self.log {
            line.cause = Some(Cow::Owned(fault.to_string()));
        }
    }

    /// A WebSocket follows: the request is answered, and the line in the log waits for the end.
    pub(super) fn goes_on(&mut self) {
        if let Some(meter) = self.meter.take() {
            meter.request(self.rule, self.status, self.reason, clock::now() - self.begun);
        }
    }

    pub(super) fn passed(&mut self, passed: Passed) {
        if let Some(line) = &mut self.log {
            line.bytes += passed.to_client;
            line.received += passed.to_upstream;
        }
    }

    /// The WebSocket that followed is over.
    pub(super) fn parted(&mut self, end: &TunnelEnd) {
        if let Some(line) = &mut self.log {
            line.cause = Some(Cow::Owned(end.to_string()));
        }
    }

    /// The response's body is over; `whole` unless it was dropped before its end.
    pub(super) fn end(mut self: Box<Self>, whole: bool) {
        if let Some(line) = &mut self.log {
            line.cut = !whole && self.method != Method::HEAD;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration = clock::now() - self.begun;
        if let Some(meter) = &self.meter {
            meter.request(self.rule, self.status, self.reason, duration);
        }
        if let Some(line) = self.log.take() {
            line.write(self, duration);
        }
    }
}
