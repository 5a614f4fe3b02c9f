//! `[[rules]]`.

use super::{
    Span,
    diagnostic::Fault,
    identity::Identity,
    keys::{quoted_list, similar},
    limits::Limit,
    section::Section,
    security_headers::{self, SecurityHeaders},
    server::{Server, parse_network},
    session::{Session, parse_target},
    store::{OnOutage, Store},
    upstreams::Upstream,
};
use http::{HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use std::time::Duration;

mod accept;
mod demands;
mod dest;
mod guard;
mod headers;
mod keys;
mod outage;
mod pattern;
#[cfg(test)]
pub(crate) mod sample;

pub use guard::CrossSite;
pub use headers::Edits;
pub(in crate::config) use headers::parse_name as header_name;
pub(super) use keys::TABLE;
pub(crate) use pattern::normalised as spelled;

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// `path`: patterns, already checked; empty = everything.
    pub paths: Vec<Pattern>,
    /// `method`; empty = all.
    pub methods: Vec<Method>,
    /// `dest`, `redirect` or `respond`.
    pub action: Action,
    /// `session`
    pub session: Requirement,
    /// `accept`: the places of the sessions that count, in the order in which they are tried.
    pub accepts: Vec<usize>,
    /// `roles`: any of these; empty = no role asked for.
    pub roles: Vec<String>,
    /// `max_auth_age`: how long ago the login may be.
    pub max_auth_age: Option<Duration>,
    /// `on_refusal`
    pub on_refusal: OnRefusal,
    /// `allow`; empty = everybody.
    pub allow: Vec<IpNet>,
    /// `cross_site`
    pub cross_site: CrossSite,
    /// `preflight = "pass"`
    pub passes_preflight: bool,
    /// `body`, or the server's; `None` = unlimited.
    pub body_bytes: Option<u64>,
    /// `limit`: places in `Config::limits`.
    pub limits: Vec<usize>,
    /// `security_headers`
    pub security_headers: SecurityHeaders,
    /// `enforce`
    pub enforce: bool,
    /// `touch`: whether a request counts as use of its session.
    pub touch: bool,
    /// `on_outage`, by default the store's policy.
    pub on_outage: OnOutage,
    /// `strip_prefix`: begins with `/`, does not end with one.
    pub strip_prefix: Option<String>,
    /// `add_prefix`: begins with `/`, does not end with one.
    pub add_prefix: Option<String>,
    /// `rewrite_location`
    pub rewrites_location: bool,
    /// `set_request_headers`
    pub request_headers: Edits,
    /// `set_response_headers`
    pub response_headers: Edits,
    /// `timeout`
    pub timeout: Option<Duration>,
    /// `total_timeout`
    pub total_timeout: Option<Duration>,
    /// `encoded_slash = "keep"`
    pub keeps_encoded_slash: bool,
    /// `empty_segments = "keep"`
    pub keeps_empty_segments: bool,
    /// Where the rule stands (its `[[rules]]` header).
    pub span: Span,
}

/// One pattern of `path` as written, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// The text: begins with `/`, segments are literals, `*` or `**`.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// What a rule does with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// `dest`: the index in `Config::upstreams`.
    Forward(usize),
    /// `dest` with weights, of which at least one is not 0.
    Split(Vec<Share>),
    /// `redirect`: 308 to here.
    Redirect(HeaderValue),
    /// `respond`
    Respond {
        /// `status`
        status: StatusCode,
        /// `body`
        body: String,
    },
}

/// One upstream's share of a rule's callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The index in `Config::upstreams`.
    pub upstream: usize,
    /// The upstream's name.
    pub name: String,
    /// Its weight.
    pub weight: u32,
}

impl Action {
    /// Whether requests are forwarded.
    pub fn forwards(&self) -> bool {
        matches!(self, Self::Forward(_) | Self::Split(_))
    }

    /// Stands for a `dest` that could not be read, and may have meant any upstream.
    const UNREAD: Self = Self::Forward(usize::MAX);

    /// Whether requests may be forwarded to the upstream with this index.
    pub(super) fn names(&self, upstream: usize) -> bool {
        match self {
            _ if *self == Self::UNREAD => true,
            Self::Forward(only) => *only == upstream,
            Self::Split(shares) => shares.iter().any(|share| share.upstream == upstream),
            Self::Redirect(_) | Self::Respond { .. } => false,
        }
    }
}

/// `session`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// A valid session or a refusal.
    Required,
    /// Identity if there is a valid session, else anonymous.
    Optional,
    /// No look-up, no identity.
    Off,
}

/// `on_refusal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefusal {
    /// Browser navigation is redirected to login, anything else gets a status.
    Auto,
    /// Always redirected.
    Redirect,
    /// Always a status.
    Status,
}

/// What rules refer to.
pub(super) struct Site<'a> {
    pub(super) server: &'a Server,
    pub(super) identity: &'a Identity,
    pub(super) store: &'a Store,
    /// `None` if one was written but could not be read: then nothing is said about sessions here.
    pub(super) sessions: Option<&'a [Session]>,
    pub(super) limits: &'a [(Limit, Span)],
    /// Rules whose `dest` is a URL add theirs.
    pub(super) upstreams: Vec<Upstream>,
}

/// Reads one of `[[rules]]`; nothing if what it governs, or whom it asks for, cannot be known.
pub(super) fn read(mut section: Section<'_>, site: &mut Site<'_>) -> Option<Rule> {
    let action = read_action(&mut section, site);
    let forwards = section.has("dest");
    let keeps_encoded_slash = section.choice("encoded_slash") == Some("keep");
    let asked = read_requirement(&mut section, forwards, site);
    let session = asked.unwrap_or(Requirement::Required);
    let accepts = accept::read(&mut section, session, site);
    let methods = read_methods(&mut section, site.server);
    let rule = Rule {
        paths: pattern::read(&mut section, keeps_encoded_slash),
        session,
        roles: demands::read_roles(&mut section, session, &accepts, site),
        max_auth_age: demands::read_max_auth_age(&mut section, session, &accepts, site),
        accepts,
        on_refusal: match section.choice("on_refusal") {
            Some("redirect") => OnRefusal::Redirect,
            Some("status") => OnRefusal::Status,
            _ => OnRefusal::Auto,
        },
        allow: section.parsed_list("allow", parse_network),
        cross_site: guard::read_cross_site(&mut section, session),
        passes_preflight: guard::read_preflight(&mut section, &methods),
        limits: guard::read_limits(&mut section, site.limits),
        body_bytes: guard::read_body(&mut section, site.server),
        methods,
        security_headers: security_headers::read_of_rule(&mut section),
        enforce: section.flag("enforce"),
        touch: section.flag("touch"),
        on_outage: outage::read(&mut section, session, site.store),
        strip_prefix: section.parsed("strip_prefix", pattern::check_prefix),
        add_prefix: section.parsed("add_prefix", pattern::check_prefix),
        rewrites_location: section.flag("rewrite_location"),
        request_headers: headers::read(&mut section, "set_request_headers", site.identity),
        response_headers: headers::read(&mut section, "set_response_headers", site.identity),
        timeout: section.optional_duration("timeout"),
        total_timeout: section.optional_duration("total_timeout"),
        keeps_encoded_slash,
        keeps_empty_segments: section.choice("empty_segments") == Some("keep"),
        span: section.span.clone(),
        action,
    };
    check_meaning(&section, &rule, forwards);
    let is_known = asked.is_some()
        && section.has("path") != rule.paths.is_empty()
        && section.has("method") != rule.methods.is_empty();
    section.finish();
    is_known.then_some(rule)
}

fn read_action(section: &mut Section<'_>, site: &mut Site<'_>) -> Action {
    let dest = dest::read(section, site);
    let redirect = section.parsed("redirect", |text| parse_target(text, "https http"));
    let respond = section.table("respond");
    let written: Vec<_> = ["dest", "redirect", "respond"].into_iter().filter(|name| section.has(name)).collect();
    match written.as_slice() {
        [_] => {}
        [] => {
            let remedy = "add `dest = \"NAME\"` with the name of an upstream; or `redirect`, or `respond`";
            section.reader.error(section.span.clone(), "this rule says nothing about where its requests go", remedy);
        }
        [.., last] => {
            let message = format!("{} exclude each other", quoted_list(written.iter().copied()));
            section.reader.error(section.span_of(last), message, "keep exactly one of them");
        }
    }
    let responds = respond.exists().then(|| read_respond(respond)).flatten();
    if section.has("dest") {
        return dest.unwrap_or(Action::UNREAD);
    }
    let redirect = redirect.and_then(|target| HeaderValue::from_str(&target).ok()).map(Action::Redirect);
    redirect.or(responds).unwrap_or(Action::Redirect(HeaderValue::from_static("/")))
}

fn read_respond(mut section: Section<'_>) -> Option<Action> {
    section.require("status", "such as `respond = { status = 404 }`");
    let status = section.count("status").and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
    let body = section.text("body").map(|text| text.text).unwrap_or_default();
    if matches!(status.map(|status| status.as_u16()), Some(204 | 205 | 304)) && !body.is_empty() {
        section.reader.error(section.span_of("body"), "an answer with this status has no body", "leave `body` out");
    }
    section.finish();
    status.map(|status| Action::Respond { status, body })
}

/// `None` = a word that is not known, and was reported.
fn read_requirement(section: &mut Section<'_>, forwards: bool, site: &Site<'_>) -> Option<Requirement> {
    let requirement = match section.choice("session") {
        Some("off") => Requirement::Off,
        Some("optional") => Requirement::Optional,
        Some(_) => Requirement::Required,
        None if section.has("session") => return None,
        None if forwards => Requirement::Required,
        None => Requirement::Off,
    };
    let no_session = site.sessions.is_some_and(<[Session]>::is_empty);
    if no_session && requirement != Requirement::Off {
        let asks = if requirement == Requirement::Required { "requires a session" } else { "asks for a session" };
        let how = if section.has("session") { "" } else { ", as rules do by default" };
        section.reader.error(
            section.span_of("session"),
            format!("this rule {asks}{how}, but there is no [session]"),
            "add a [session], or write `session = \"off\"` in the rule",
        );
    }
    Some(requirement)
}

fn read_methods(section: &mut Section<'_>, server: &Server) -> Vec<Method> {
    let methods = section.parsed_list("method", parse_method);
    if section.has("method") && server.method_override {
        let remedy = "leave `method` out, or write `method_override = false` in [server]";
        let message = "a rule cannot be limited to methods while `method_override` lets requests change theirs";
        section.reader.error(section.span_of("method"), message, remedy);
    }
    methods
}

fn parse_method(text: &str) -> Result<Method, Fault> {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    if matches!(text, "CONNECT" | "TRACE") {
        return Err(Fault::new(format!("`{text}` is never forwarded"), "leave it out"));
    }
    let method = Method::from_bytes(text.as_bytes());
    let Ok(method) = method else {
        return Err(Fault::new(
            format!("`{text}` is not a method"),
            format!("such as {}", quoted_list(known.into_iter())),
        ));
    };
    let upper = text.to_ascii_uppercase();
    match similar(&upper, known.into_iter()) {
        Some(meant) if meant != text && (upper != text || strsim::levenshtein(meant, text) == 1) => Err(Fault::new(
            format!("`{text}` is not a method that anybody sends"),
            format!("did you mean \"{meant}\"?"),
        )),
        _ => Ok(method),
    }
}

/// Keys that cannot have an effect together.
fn check_meaning(section: &Section<'_>, rule: &Rule, forwards: bool) {
    let message = |name: &str, why: &str| format!("`{name}` means nothing {why}");
    let meaningless = |name: &str, why: &str| {
        if section.has(name) {
            section.reader.error(section.span_of(name), message(name, why), "leave it out");
        }
    };
    if rule.session != Requirement::Required && section.has("on_refusal") {
        // No more than a warning: a rule is opened to try something, and closed again.
        let message = message("on_refusal", "where no session is required: nobody is sent to login");
        section.reader.warning(section.span_of("on_refusal"), message, "leave it out");
    }
    if rule.session == Requirement::Off
        && rule.allow.is_empty()
        && rule.cross_site == CrossSite::Allow
        && rule.limits.is_empty()
    {
        meaningless("enforce", "with `session = \"off\"`: nothing is refused");
        meaningless("touch", "with `session = \"off\"`: no session is used");
        meaningless("on_outage", "with `session = \"off\"`: the store is not asked");
    }
    if !forwards {
        for name in [
            "preflight",
            "strip_prefix",
            "empty_segments",
            "add_prefix",
            "set_request_headers",
            "set_response_headers",
            "timeout",
            "total_timeout",
        ] {
            meaningless(name, "without `dest`: nothing is forwarded");
        }
    }
    if rule.strip_prefix.is_none() && rule.add_prefix.is_none() && rule.rewrites_location {
        meaningless(
            "rewrite_location",
            "without `strip_prefix` or `add_prefix`: the upstream's paths are the clients'",
        );
    }
    if rule.keeps_empty_segments && !rule.paths.is_empty() && !rule.paths.iter().any(|path| path.text.contains("**")) {
        let message = "no path of this rule has empty segments: `**` alone matches them";
        section.reader.warning(section.span_of("empty_segments"), message, "leave it out, or write `**` in `path`");
    }
    let Some(prefix) = &rule.strip_prefix else { return };
    for path in rule.paths.iter().filter(|path| !may_begin(&path.text, prefix)) {
        let message = format!("paths that match `{}` do not begin with `{prefix}`", path.text);
        section.reader.warning(section.span_of("strip_prefix"), message, "nothing is taken off for them");
    }
}

/// Whether a path that matches the pattern can begin with the prefix, segment by segment and in any case.
fn may_begin(pattern: &str, prefix: &str) -> bool {
    let mut segments = pattern.split('/');
    for wanted in prefix.split('/') {
        match segments.next() {
            Some("**") => return true,
            Some("*") => {}
            Some(segment) if segment.eq_ignore_ascii_case(wanted) => {}
            _ => return false,
        }
    }
    true
}
