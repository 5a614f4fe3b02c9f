//! One configuration, compiled: everything that a request meets on its way. The only builder of all steps.

use super::{
    answers::Answers, body::Body, certificates, exchange::Exchange, login_loop::Logins, meter::Meter,
    rate_limits::Phase, refusal::Refusal,
};
use crate::{
    access::{Entry, Grant},
    caller::{Callers, Question},
    clock,
    config::{
        self, Config,
        diagnostic::Diagnostics,
        log::Log,
        rules::Requirement,
        security_headers::SecurityHeaders::Inherited,
        server::{self, Listen, Server},
        store,
    },
    hardening::{
        cookie_guard::{CookieGuard, Exchange as Ended},
        security_headers::SecurityHeaders,
    },
    http::{
        Head,
        body::RequestBody,
        host::HostFault,
        message::{self, Limits},
        path::NormalPath,
        peer::Peer,
        site::Site,
    },
    identity::Identity,
    rules::{Action, Rule, Rules, Unmatched},
    session::{self, Activity, Sessions, Watcher, managed::Commands, store::Store},
    tasks::{Worker, Workers},
    telemetry::{access_log::AccessLog, metrics::Metrics, output::Output},
    upstream::{Origin, Streaming, Target, Terms, Upstreams},
};
use http::{HeaderMap, Response, header::SET_COOKIE};
use hyper::body::Incoming;
use rustls::ServerConfig;
use std::{sync::Arc, time::Duration};

/// Paths under it belong to the gateway itself.
const OWN: &str = "/_onedoor";

/// One configuration, compiled.
#[derive(Debug)]
pub struct Snapshot {
    /// What it was compiled from: the next reload compares.
    pub(super) config: Config,
    pub(super) site: Site,
    pub(super) limits: Limits,
    pub(super) rules: Rules<Target>,
    pub(super) callers: Callers,
    pub(super) identity: Identity,
    body_timeout: Duration,
    store: Store,
    upstreams: Upstreams,
    pub(super) sessions: Vec<Arc<Sessions>>,
    /// Keeps the sessions' memory true.
    watcher: Option<Arc<Watcher>>,
    guard: CookieGuard,
    rates: crate::limits::Limits,
    answers: Answers,
    pub(super) logins: Logins,
    /// Of answers that no rule governs.
    security_headers: SecurityHeaders,
    tls: Option<Arc<ServerConfig>>,
    access_log: Option<AccessLog>,
    /// One for each worker.
    pub(super) meters: Vec<Arc<Meter>>,
}

impl Snapshot {
    /// Compiles a configuration. Stores and upstreams of `previous` whose settings are equal live on.
    ///
    /// # Errors
    /// Noted in `diagnostics`: what the file alone cannot show, such as missing root certificates.
    pub fn compile(
        config: Config,
        workers: &Workers,
        output: &Output,
        metrics: &Metrics,
        previous: Option<&Self>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let kept = previous.map(|previous| &previous.upstreams);
        let upstreams = Upstreams::compile(&config.upstreams, workers, metrics, kept, diagnostics);
        if diagnostics.has_errors() {
            return None;
        }
        let tls = handshakes(&config.server, previous, diagnostics).ok()?;
        // Nothing of the memory store is configured but that it is one: another would begin empty.
        let lives_on = |previous: &&Self| {
            let both = [&previous.config, &config];
            previous.config.store == config.store || both.iter().all(|config| config.store.url == store::Url::Memory)
        };
        let store = match previous.filter(lives_on) {
            Some(previous) => previous.store.clone(),
            None => Store::compile(&config.store, workers, metrics),
        };
        let kept = previous.map(|previous| &previous.rates);
        let rates = crate::limits::Limits::compile(&config.limits, &config.store.namespace, &store, kept);
        let kept = previous.map_or(&[][..], |previous| &previous.sessions);
        let (sessions, watcher) = match previous.filter(lives_on).filter(|previous| previous.reads_like(&config)) {
            Some(previous) => (previous.sessions.clone(), previous.watcher.clone()),
            None => {
                let (sessions, watcher) = session::compile(&config, &store, metrics, kept);
                (sessions, watcher.map(Arc::new))
            }
        };
        let rules = Rules::compile(&config.rules, &config.security_headers, |upstream| upstreams.target(upstream));
        let site = site(&config.server);
        let kept = previous.map(|previous| &previous.logins);
        let logins = Logins::compile(&config.sessions, &sessions, &rules, &site, kept);
        Some(Self {
            site,
            limits: limits(&config.server.limits),
            meters: Meter::compile(rules.all(), workers.count(), metrics),
            rules,
            callers: Callers::new(sessions.clone(), config.store.outage.stale_for),
            identity: Identity::compile(&config.identity, config.server.method_override),
            body_timeout: config.server.limits.body_timeout,
            guard: CookieGuard::compile(config.sessions.iter().zip(sessions.iter().cloned())),
            rates,
            logins,
            answers: Answers::compile(&config.sessions, &config.pages),
            security_headers: SecurityHeaders::compile(&config.security_headers, &Inherited, false),
            tls,
            access_log: access_log(&config.log, output),
            store,
            upstreams,
            sessions,
            watcher,
            config,
        })
    }

    /// Whether another configuration understands records as this one does, so that memory lives on.
    fn reads_like(&self, config: &Config) -> bool {
        let placeless = |sessions: &[config::session::Session]| -> Vec<_> {
            sessions.iter().map(|session| config::session::Session { span: 0..0, ..session.clone() }).collect()
        };
        self.config.identity == config.identity && placeless(&self.config.sessions) == placeless(&config.sessions)
    }

    /// The path of a request. Every line needs what the lines above it proved.
    pub(super) async fn proxy(
        &self,
        head: Box<Head>,
        body: Incoming,
        peer: &Peer,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let worker = peer.worker;
        message::vet(&head, &self.limits)?; // 400, 405, 414, 417, 431
        let path = NormalPath::of(&head.uri)?; // 400
        exchange.normalised(&path);
        let host = match &exchange.arrival().host {
            Err(HostFault::Elsewhere) => return Ok(Answers::elsewhere(&self.site, &path)), // 308
            host => host.as_ref().map_err(|fault| *fault)?,                                // 400, 421
        };
        if peer.to_https {
            return Ok(Answers::to_https(&self.site, host, self.https_port(), &path)); // 308
        }
        if is_own(&path) {
            return Err(Unmatched::NoRule.into()); // 404
        }
        let rule = self.rules.find(&head.method, &path)?; // 400, 404
        exchange.matched(rule);
        let body = RequestBody::bounded(body, rule.body_bytes_max, self.body_timeout)?; // 413
        let overlooked = self.rules.overlooked(rule, &head.method, &path).map(|rule| &rule.access);
        let entry = rule.access.admit(&head, exchange.arrival(), &self.site, overlooked)?; // 403
        exchange.limit(self.rates.open(self.rules.limits(rule, &head.method, &path), rule.access.is_enforced()));
        exchange.charge(Phase::Arrival(&head)).await?; // 429

        let caller = self.callers.identify(question(rule, &entry), &head, exchange.arrival(), worker).await;
        exchange.identified(&caller, self.watcher());
        let refuse = |denial| self.logins.refuse(denial, &head, exchange);
        let grant = rule.access.decide(entry, caller).map_err(refuse)?; // 401, 403, 503, 508
        exchange.granted(&grant);
        self.logins.admit(rule, &grant, &head, exchange);
        exchange.charge(Phase::Caller(&grant)).await?; // 429

        let sides = match &rule.action {
            Action::Forward(sides) => sides,
            Action::Redirect(to) => return Ok(Answers::redirect(to)),
            Action::Respond { status, body } => return Ok(Answers::respond(*status, body)),
        };
        let to = rule.rewrite.apply(rule.form(&path))?; // 400
        let origin = Origin { grant: &grant, arrival: exchange.arrival(), head: &head };
        let (target, spare) = sides.side(|| origin.caller(), Target::is_reachable);
        let terms = terms(rule, target, origin, worker);
        let sending = {
            let forward = self.identity.attach(*head, to.target, to.prefix, exchange.arrival(), &grant); // strip, inject
            let forward = forward.edited(&rule.request_headers);
            exchange.asks(target, &forward, terms.begun);
            target.send(spare, forward, body, terms)
        };
        let (target, answer) = sending.await;
        exchange.answered(target, &answer);
        let mut response = answer?; // 408, 413, 502, 503, 504
        exchange.agree(&mut response)?; // 502
        let disclosed = self.rates.take_disclosed(response.headers_mut());
        exchange.charge(Phase::Answer(response.status(), disclosed)).await?; // 429
        self.steer_session(rule, target, &grant, &mut response, exchange).await?; // 502, 503
        self.amend(rule, target, response.headers_mut(), exchange);
        self.logins.answered(&response, &self.guard, &self.rules, exchange);
        self.watch_stream(rule, target, &grant, response.body(), exchange);
        Ok(response.map(Body::from))
    }

    /// Guards the session's cookie, and obeys an upstream that may steer the session.
    async fn steer_session(
        &self,
        rule: &Rule<Target>,
        target: &Target,
        grant: &Grant,
        response: &mut Response<Streaming>,
        exchange: &mut Exchange,
    ) -> Result<(), Refusal> {
        let (https, worker) = (exchange.arrival().https, exchange.worker());
        if exchange.may_have_changed_state(response) {
            for sessions in &self.sessions {
                if let Some(id) = grant.presented(sessions.name()) {
                    sessions.doubt(id, worker);
                }
            }
        }
        let headers = response.headers_mut();
        let ended = Ended { upstream: target.name(), waived: grant.is_waived(), https };
        let removed = self.guard.apply(headers, ended, &|session| grant.presented(session));
        exchange.guarded(target, removed);
        if !target.has_session_authority() {
            Commands::discard(headers);
            return Ok(());
        }
        let Some(commands) = Commands::take(headers)? else { return Ok(()) };
        grant.may_be_steered()?; // 503
        let sessions = self.steered(rule, grant).ok_or_else(|| commands.homeless())?;
        // Boxed: few requests come here, and all would carry its size.
        let presented = grant.presented(sessions.name());
        let known = grant.session().map(|session| &**session);
        let obeyed = Box::pin(sessions.obey(&commands, presented, known, https, worker)).await?;
        for cookie in obeyed {
            headers.append(SET_COOKIE, cookie);
        }
        Ok(())
    }

    /// The sessions that an upstream steers, among those that the rule accepts: where the request's session belongs,
    /// else where one of its cookies does, else the first that are written here.
    fn steered(&self, rule: &Rule<Target>, grant: &Grant) -> Option<&Arc<Sessions>> {
        let accepted = rule.access.accepts().iter().map(|at| &self.sessions[*at]);
        let mut written = accepted.filter(|sessions| sessions.are_written_here());
        let known = |sessions: &&Arc<Sessions>| grant.session().is_some_and(|session| session.name == *sessions.name());
        let named = |sessions: &&Arc<Sessions>| grant.presented(sessions.name()).is_some();
        written.clone().find(known).or_else(|| written.clone().find(named)).or_else(|| written.next())
    }

    /// Changes an answer as its rule says.
    fn amend(&self, rule: &Rule<Target>, target: &Target, headers: &mut HeaderMap, exchange: &Exchange) {
        let host = exchange.arrival().host.as_ref().ok();
        let is_ours = |authority: &str| {
            host.is_some_and(|host| host.authority.as_bytes().eq_ignore_ascii_case(authority.as_bytes()))
                || target.is_called(authority)
        };
        rule.rewrite.restore(headers, is_ours, |cookie| self.guard.guards(cookie));
        message::edit(headers, &rule.response_headers);
    }

    /// Adds the security headers that an answer has not.
    pub(super) fn harden(&self, response: &mut Response<Body>, exchange: &Exchange) {
        let headers = match exchange.rule() {
            Some(index) => &self.rules.at(index).security_headers,
            None => &self.security_headers,
        };
        let own = exchange.is_refused() || exchange.rule().is_none();
        headers.apply(response.headers_mut(), exchange.arrival().https, own);
    }

    /// The settings of TLS handshakes, where the listeners speak TLS.
    pub fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    /// The port that https is served on.
    fn https_port(&self) -> u16 {
        let port = |listen: &Listen| match listen {
            Listen::Tcp(address) => Some(address.port()),
            Listen::Unix(_) | Listen::Passed(_) => None,
        };
        self.config.server.listen.iter().find_map(port).unwrap_or(443)
    }

    /// The site as it is called from outside.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// What the gateway itself answers.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Where requests are logged, if they are.
    pub fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.as_ref()
    }

    /// Where the worker counts requests.
    pub(super) fn meter(&self, Worker(index): Worker) -> &Arc<Meter> {
        &self.meters[index % self.meters.len()]
    }

    /// What it was compiled from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the records live.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What keeps the memory of sessions true, where there is any.
    pub fn watcher(&self) -> Option<&Watcher> {
        self.watcher.as_deref()
    }

    /// The upstreams.
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }
}

/// The previous settings live on where nothing about them is new: clients resume their sessions.
fn handshakes(
    server: &Server,
    previous: Option<&Snapshot>,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Arc<ServerConfig>>, ()> {
    let Some(tls) = &server.tls else { return Ok(None) };
    let kept = previous.filter(|previous| previous.config.server.tls.as_ref() == Some(tls));
    if let Some(kept) = kept.and_then(|previous| previous.tls.clone()) {
        return Ok(Some(kept));
    }
    certificates::compile_or_note(tls, diagnostics).map(Some)
}

fn site(server: &Server) -> Site {
    let (hosts, redirect_hosts) = (server.hosts.clone(), server.redirect_hosts.clone());
    Site::new(server.public_url.clone(), hosts, redirect_hosts, server.trusted_networks.clone(), server.trusts_unix)
}

fn limits(limits: &server::Limits) -> Limits {
    Limits { header_bytes: limits.header_bytes, headers: limits.headers, uri_bytes: limits.uri_bytes }
}

fn access_log(log: &Log, output: &Output) -> Option<AccessLog> {
    log.access.then(|| AccessLog::new(output.clone(), log.is_pretty(), log.query))
}

/// What a rule and the request's origin ask of the exchange with an upstream.
fn terms(rule: &Rule<Target>, target: &Target, origin: Origin<'_>, worker: Worker) -> Terms {
    Terms {
        worker,
        begun: clock::now(),
        key: target.key(origin),
        response_timeout: rule.timeout,
        deadline: rule.total_timeout.map(|total| clock::now() + total),
    }
}

/// What a rule wants to know about the caller.
pub(super) fn question<'r>(rule: &'r Rule<Target>, entry: &Entry) -> Question<'r> {
    if entry.is_preflight() {
        return Question::Nothing;
    }
    match (rule.access.requirement(), &rule.action) {
        (Requirement::Off, Action::Forward(sides)) if sides.sides().any(Target::has_session_authority) => Question::Id,
        (Requirement::Off, _) => Question::Nothing,
        (Requirement::Required | Requirement::Optional, _) => {
            let activity = if rule.touches { Activity::Counts } else { Activity::Ignored };
            Question::User(rule.access.need(activity))
        }
    }
}

/// Whether a path is the gateway's own.
pub(super) fn is_own(path: &NormalPath) -> bool {
    path.as_str().strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
