//! Browsers that log in and are refused again, over and over: after five rounds they are told why instead.

use super::{exchange::Exchange, refusal::Refusal};
use crate::{
    access::{Denial, Grant},
    clock,
    config::{self, rules::Requirement},
    hardening::cookie_guard::{CookieGuard, Given},
    http::{Head, path::NormalPath, site::Site},
    rules::{Action, Rule, Rules},
    session::{Absence, Sessions},
    upstream::Target,
};
use http::{HeaderMap, HeaderName, Method, Response, Uri, header::LOCATION, header::USER_AGENT};
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// So many rounds within [`WINDOW`] are a loop.
const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(30);

/// The most visitors, and the most of their pages, that are remembered; beyond it all are forgotten.
const REMEMBERED_MAX: usize = 8 * 1024;

static PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// Where logging in happens, and who goes round in circles there.
#[derive(Debug)]
pub(super) struct Logins {
    /// Of each session the place of the rule that governs its login page.
    doors: Box<[Option<usize>]>,
    /// Of each rule whether its answers may log somebody in.
    logs_in: Box<[bool]>,
    sessions: Vec<Arc<Sessions>>,
    rounds: Arc<Rounds>,
}

/// A request that an upstream which logs people in will answer.
#[derive(Debug)]
pub(super) struct Visit {
    visitor: u64,
    is_page: bool,
    /// The upstream set a cookie of the session's name that it may not set.
    pub(super) cookie_was_removed: bool,
}

/// Why a browser that logs in is refused again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loop {
    /// The session's cookie was set, and did not come back.
    NotReturned,
    /// It was not even set.
    NeverSet,
    /// It was set `Secure`, over http.
    Secure,
    /// No secret verifies it.
    BadSignature,
    /// It names no record.
    NotInStore,
    /// There are several.
    TwoCookies,
    /// The record names no user.
    Anonymous,
    /// The record cannot be read.
    Unreadable,
    /// The session is over.
    Over,
    /// It is good, but the login is too long ago.
    NotAskedAgain,
}

/// How the upstream that logs people in last sent a visitor on.
#[derive(Debug, Clone, Copy)]
struct Return {
    at: Instant,
    cookie: Given,
    /// It redirected, or answered something else than a page that was asked for.
    is_sure: bool,
}

/// What is known of a page that a visitor was refused.
#[derive(Debug)]
struct Page {
    sent_to_login: Instant,
    rounds: VecDeque<Instant>,
}

/// All rounds lately, of all workers.
#[derive(Debug, Default)]
struct Rounds {
    hasher: RandomState,
    /// Whether there was a round lately.
    any: AtomicBool,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    returns: HashMap<u64, Return>,
    pages: HashMap<u64, Page>,
    last_round: Option<Instant>,
}

impl Logins {
    /// What was seen under a previous configuration lives on.
    pub(super) fn compile(
        config: &[config::session::Session],
        sessions: &[Arc<Sessions>],
        rules: &Rules<Target>,
        site: &Site,
        previous: Option<&Self>,
    ) -> Self {
        let door = |session: &config::session::Session| {
            let login: Uri = session.login.parse().ok()?;
            let is_ours = |host: &str| site.public_url().is_some_and(|url| url.host.eq_ignore_ascii_case(host));
            let path = login.host().is_none_or(is_ours).then(|| NormalPath::of(&login).ok())??;
            rules.find(&Method::GET, &path).ok().map(|rule| rule.index)
        };
        let doors: Box<[_]> = config.iter().map(door).collect();
        let names = |rule: &Rule<Target>| match &rule.action {
            Action::Forward(sides) => sides.sides().map(|side| side.name().to_owned()).collect(),
            Action::Redirect(_) | Action::Respond { .. } => Vec::new(),
        };
        let theirs: Vec<_> = doors.iter().flatten().flat_map(|door| names(rules.at(*door))).collect();
        let logs_in = |rule: &Rule<Target>| {
            let is_open = rule.access.requirement() != Requirement::Required;
            doors.contains(&Some(rule.index)) || is_open && names(rule).iter().any(|name| theirs.contains(name))
        };
        let logs_in = rules.all().iter().map(logs_in).collect();
        let rounds = previous.map(|previous| previous.rounds.clone()).unwrap_or_default();
        Self { doors, logs_in, sessions: sessions.to_vec(), rounds }
    }

    /// What becomes of a request that its rule refuses: who has been sent to log in, and came back from there, too
    /// often, is sent there no more.
    pub(super) fn refuse(&self, denial: Denial, head: &Head, exchange: &Exchange) -> Refusal {
        let absence = match &denial {
            Denial::SessionRequired(absence) => Some(absence),
            Denial::ReauthenticationRequired => None,
            _ => return denial.into(),
        };
        let counts = self.watches(exchange) && !is_prefetch(&head.headers);
        let Some(path) = exchange.path().filter(|_| counts) else { return denial.into() };
        let visitor = self.rounds.visitor(head, exchange);
        let https = exchange.arrival().https;
        let has_several = self.sessions.iter().any(|sessions| sessions.are_brought_twice(&head.headers, https));
        let judge = |returned: &Return| {
            absence.map_or(Loop::NotAskedAgain, |absence| Loop::of(absence, returned.cookie, has_several))
        };
        match self.rounds.refused(visitor, path.as_str(), clock::now(), |returned| {
            // A page that was merely shown may have begun a session without a user, to guard its form.
            returned.is_sure || absence != Some(&Absence::Anonymous)
        }) {
            Some(returned) => judge(&returned).into(),
            None => denial.into(),
        }
    }

    /// Whether a request that is refused for want of a session may be part of a loop: it is sent to a login page of
    /// this site, and is not for that page itself.
    pub(super) fn watches(&self, exchange: &Exchange) -> bool {
        let door = self.doors.get(exchange.login()).copied().flatten();
        door.is_some() && door != exchange.rule() && exchange.is_redirected()
    }

    /// A request may pass. Who passes goes round no more.
    pub(super) fn admit(&self, rule: &Rule<Target>, grant: &Grant, head: &Head, exchange: &mut Exchange) {
        if self.rounds.any.load(Ordering::Relaxed)
            && grant.session().is_some()
            && exchange.is_redirected()
            && let Some(path) = exchange.path()
        {
            self.rounds.passed(self.rounds.visitor(head, exchange), path.as_str(), clock::now());
        }
        if self.logs_in[rule.index] && !is_prefetch(&head.headers) {
            let visitor = self.rounds.visitor(head, exchange);
            exchange.visit = Some(Visit { visitor, is_page: head.method.is_safe(), cookie_was_removed: false });
        }
    }

    /// An upstream has answered: it may have logged somebody in.
    pub(super) fn answered<B>(
        &self,
        response: &Response<B>,
        guard: &CookieGuard,
        rules: &Rules<Target>,
        exchange: &Exchange,
    ) {
        let Some(visit) = &exchange.visit else { return };
        let cookie = match visit.cookie_was_removed {
            true => Given::Removed,
            false => guard.given(response.headers(), exchange.arrival().https),
        };
        let leads_back = response.status().is_redirection() && self.leads_back(response.headers(), rules, exchange);
        if leads_back || cookie != Given::Nothing {
            let is_sure = leads_back || !visit.is_page || !response.status().is_success();
            self.rounds.returned(visit.visitor, Return { at: clock::now(), cookie, is_sure });
        }
    }

    /// Whether a redirect leads away from logging in, and stays on this site.
    fn leads_back(&self, headers: &HeaderMap, rules: &Rules<Target>, exchange: &Exchange) -> bool {
        let Some(location) = headers.get(LOCATION).and_then(|location| location.to_str().ok()) else { return false };
        let here = exchange.path().map_or("/", NormalPath::as_str);
        let folder = &here[..=here.rfind('/').unwrap_or_default()];
        let absolute = location.starts_with('/') || location.contains("://");
        let target = if absolute { location.to_owned() } else { format!("{folder}{location}") };
        let Ok(target) = target.split('#').next().unwrap_or_default().parse::<Uri>() else { return false };
        let ours = exchange.arrival().host.as_ref().ok().map(|host| host.authority.as_bytes());
        let is_here = |authority: &str| ours.is_some_and(|ours| ours.eq_ignore_ascii_case(authority.as_bytes()));
        if !target.authority().is_none_or(|authority| is_here(authority.as_str())) {
            return false;
        }
        let to = NormalPath::of(&target).ok().and_then(|path| rules.find(&Method::GET, &path).ok());
        to.is_some_and(|rule| !self.doors.contains(&Some(rule.index)))
    }
}

impl Rounds {
    /// One client address with one User-Agent.
    fn visitor(&self, head: &Head, exchange: &Exchange) -> u64 {
        let agent = head.headers.get(USER_AGENT).map(http::HeaderValue::as_bytes);
        self.hasher.hash_one((exchange.arrival().client, agent))
    }

    fn page(&self, visitor: u64, path: &str) -> u64 {
        self.hasher.hash_one((visitor, path))
    }

    /// A visitor is refused a page. `None` = they are sent to log in; else this many rounds are enough, and the last
    /// of them ended so.
    fn refused(&self, visitor: u64, path: &str, now: Instant, counts: impl FnOnce(&Return) -> bool) -> Option<Return> {
        let mut memory = self.memory();
        let Memory { returns, pages, last_round } = &mut *memory;
        let returned = returns.get(&visitor).copied();
        let key = self.page(visitor, path);
        let Some(page) = pages.get_mut(&key) else {
            make_room(pages, |page| page.sent_to_login, now);
            pages.insert(key, Page { sent_to_login: now, rounds: VecDeque::new() });
            return None;
        };
        if returned.as_ref().is_some_and(|returned| returned.at > page.sent_to_login && counts(returned)) {
            page.rounds.push_back(now);
            *last_round = Some(now);
            self.any.store(true, Ordering::Relaxed);
        }
        while page.rounds.front().is_some_and(|round| now.saturating_duration_since(*round) > WINDOW)
            || page.rounds.len() > ROUNDS
        {
            page.rounds.pop_front();
        }
        page.sent_to_login = now;
        returned.filter(|_| page.rounds.len() == ROUNDS)
    }

    fn returned(&self, visitor: u64, returned: Return) {
        let mut memory = self.memory();
        if !memory.returns.contains_key(&visitor) {
            make_room(&mut memory.returns, |returned| returned.at, returned.at);
        }
        memory.returns.insert(visitor, returned);
    }

    fn passed(&self, visitor: u64, path: &str, now: Instant) {
        let key = self.page(visitor, path);
        let mut memory = self.memory();
        memory.pages.remove(&key);
        let is_recent = memory.last_round.is_some_and(|round| now.saturating_duration_since(round) <= WINDOW);
        self.any.store(is_recent, Ordering::Relaxed);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each entry is written in one step, so a lock that a panic left behind guards nothing half done.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for one more.
fn make_room<V>(entries: &mut HashMap<u64, V>, at: impl Fn(&V) -> Instant, now: Instant) {
    if entries.len() >= REMEMBERED_MAX {
        entries.retain(|_, entry| now.saturating_duration_since(at(entry)) <= WINDOW);
        if entries.len() >= REMEMBERED_MAX {
            entries.clear();
        }
    }
}

/// A page that the browser asks for in case somebody wants to see it.
fn is_prefetch(headers: &HeaderMap) -> bool {
    headers.get(&PURPOSE).is_some_and(|purpose| purpose.as_bytes().starts_with(b"prefetch"))
}

impl Loop {
    fn of(absence: &Absence, cookie: Given, has_several: bool) -> Self {
        match absence {
            Absence::NoCookie => match cookie {
                Given::Removed => Self::BadSignature,
                Given::SecureOverHttp => Self::Secure,
                Given::Set => Self::NotReturned,
                Given::Nothing => Self::NeverSet,
            },
            _ if has_several => Self::TwoCookies,
            Absence::Malformed | Absence::BadSignature => Self::BadSignature,
            Absence::NotFound => Self::NotInStore,
            Absence::Anonymous => Self::Anonymous,
            Absence::Unreadable(_) => Self::Unreadable,
            Absence::Expired
            | Absence::Idle
            | Absence::NoStart
            | Absence::Revoked
            | Absence::Resurrected
            | Absence::Lapsed => Self::Over,
        }
    }

    /// The cause, and what to look at, for whoever runs the site.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotReturned => {
                "cookie not returned: logging in set the session's cookie, and the browser did not send it back. \
                 Its Path or Domain may not cover this page, or the browser takes no cookies."
            }
            Self::NeverSet => {
                "cookie not returned: logging in led back here, but never set the session's cookie. Its name may not \
                 be the one that the gateway looks for."
            }
            Self::Secure => {
                "Secure cookie over http: logging in set the session's cookie with `Secure`, which browsers do not \
                 keep and send over http. Use https; behind a proxy that ends TLS, list it in trusted_proxies."
            }
            Self::BadSignature => {
                "bad signature: the session's cookie is signed with a secret that the gateway does not have."
            }
            Self::NotInStore => {
                "not in store: the session's cookie names a session that is not in the store. The login service may \
                 keep its sessions in another Redis or database, or under another key prefix."
            }
            Self::TwoCookies => {
                "two cookies of one name: the browser sends the session's cookie several times, and none is valid. \
                 One may have been set with another Path or Domain; delete this site's cookies."
            }
            Self::Anonymous => "no user: the session is there, but it names no user where the gateway looks for one.",
            Self::Unreadable => "unreadable: the session is there, but it cannot be read as its format.",
            Self::Over => "over: the session has ended already, for instance by its max_age or idle_timeout.",
            Self::NotAskedAgain => {
                "login too long ago: the login page was given reauth=1 and did not ask again, or the session's login \
                 time (started_at) is still the old one."
            }
        }
    }
}

#[cfg(test)]
mod tests;
