//! The table of rules, and which of them a request meets first.

use super::{
    pattern::{Pattern, Segment, Spelling, folded},
    rewrite::Rewrite,
    split::Split,
};
use crate::{
    access::Access,
    config::{
        self,
        rules::{Edits, OnRefusal, Requirement},
    },
    hardening::security_headers::SecurityHeaders,
    http::path::{NormalPath, PathFault},
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use std::{fmt, sync::Arc, time::Duration};

/// All rules in the order written; `T` is what a rule forwards to.
#[derive(Debug)]
pub struct Rules<T> {
    rules: Vec<Rule<T>>,
    /// The literals of all patterns, decoded, in lower case and sorted.
    literals: Vec<Box<[u8]>>,
}

/// One rule, ready to be matched and obeyed.
#[derive(Debug)]
pub struct Rule<T> {
    /// Its place in the configuration, from 0.
    pub index: usize,
    /// For logs and people: `rules[0] /login`.
    pub name: Arc<str>,
    /// What it demands of the caller.
    pub access: Access,
    /// Whether a request counts as use of its session.
    pub touches: bool,
    /// How a refusal is told.
    pub on_refusal: OnRefusal,
    /// What becomes of a request that may pass.
    pub action: Action<T>,
    /// How the forwarded path differs.
    pub rewrite: Rewrite,
    /// The most bytes that a request's body may have.
    pub body_bytes_max: Option<u64>,
    /// The places of its limits.
    pub limits: Vec<usize>,
    /// What is added to its answers.
    pub security_headers: SecurityHeaders,
    /// `set_request_headers`
    pub request_headers: Edits,
    /// `set_response_headers`
    pub response_headers: Edits,
    /// `timeout`, instead of the upstream's.
    pub timeout: Option<Duration>,
    /// `total_timeout`
    pub total_timeout: Option<Duration>,
    /// Whether `%2F` passes.
    pub keeps_encoded_slash: bool,
    /// Whether a path goes on with its empty segments.
    keeps_empty_segments: bool,
    patterns: Vec<Pattern>,
    methods: Vec<Method>,
    spelling: Spelling,
    /// Rules before it that an upstream may take its paths for, and that guard more than access.
    overlooked: Vec<usize>,
}

/// What becomes of a request that may pass.
#[derive(Debug, Clone)]
pub enum Action<T> {
    /// It is forwarded.
    Forward(Split<T>),
    /// It is answered with 308 to here.
    Redirect(HeaderValue),
    /// It is answered with this.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Bytes,
    },
}

/// Why no rule governs a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// 404: no rule matches.
    NoRule,
    /// 400: a rule matches, but an upstream may read the path as another one.
    BadPath(PathFault),
}

/// One rule that was looked at on the way to the one that matches.
#[derive(Debug)]
pub struct Examined<'a, T> {
    /// The rule.
    pub rule: &'a Rule<T>,
    /// How it fared.
    pub outcome: Outcome,
}

/// How a rule fared with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It governs the request.
    Match {
        /// The path differs from the pattern in case or a trailing slash.
        folded: bool,
    },
    /// It does not.
    Miss(Miss),
}

/// Why a rule does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// None of its patterns matches.
    Path,
    /// A pattern would match but for case or a trailing slash, which only protected rules ignore.
    Spelling,
    /// It is for other methods.
    Method,
}

impl<T> Rules<T> {
    /// Prepares the rules; `target_of` turns the index of an upstream into what is forwarded to.
    pub fn compile(
        rules: &[config::rules::Rule],
        security_headers: &config::security_headers::SecurityHeaders,
        mut target_of: impl FnMut(usize) -> T,
    ) -> Self {
        let numbered = rules.iter().enumerate();
        let compile = |(index, rule)| Rule::compile(index, rule, security_headers, &mut target_of);
        let mut rules: Vec<_> = numbered.map(compile).collect();
        let guards = |rule: &Rule<T>| {
            let limits = rule.access.is_enforced() && !rule.limits.is_empty();
            rule.spelling == Spelling::Exact && (rule.access.guards_strangers() || limits)
        };
        let guards: Vec<_> = rules.iter().filter(|rule| guards(rule)).map(|rule| rule.index).collect();
        for rule in &mut rules {
            rule.overlooked = guards.iter().copied().filter(|guard| *guard < rule.index).collect();
        }
        let segments = rules.iter().flat_map(|rule| &rule.patterns).flat_map(Pattern::segments);
        let mut literals: Vec<Box<[u8]>> = segments
            .filter_map(|segment| match segment {
                Segment::Literal(literal) if !literal.is_empty() => Some(folded(literal).collect()),
                _ => None,
            })
            .collect();
        literals.sort_unstable();
        literals.dedup();
        Self { rules, literals }
    }

    /// All rules, in order.
    pub fn all(&self) -> &[Rule<T>] {
        &self.rules
    }

    /// The first rule that matches. A `HEAD` request matches rules for `GET`.
    pub fn find(&self, method: &Method, path: &NormalPath) -> Result<&Rule<T>, Unmatched> {
        let rule = self.first(method, path).ok_or(Unmatched::NoRule)?;
        if path.is_plain() {
            return Ok(rule);
        }
        if path.holds_encoded_slash() && !rule.keeps_encoded_slash {
            return Err(Unmatched::BadPath(PathFault("the path holds an encoded slash")));
        }
        if path.cut_segments().any(|segment| self.has_literal(segment)) {
            return Err(Unmatched::BadPath(PathFault("the path hides a segment that a rule names behind parameters")));
        }
        let protects = |read: &Rule<T>| read.index != rule.index && read.access.requirement() == Requirement::Required;
        if path.cut_readings().any(|read| self.first(method, &read).is_some_and(protects)) {
            return Err(Unmatched::BadPath(PathFault("the path, cut at an encoded `?` or `#`, is another rule's")));
        }
        let is_same = |read: &NormalPath| {
            self.first(method, read).is_some_and(|found| found.index == rule.index)
                && self.overlooked(rule, method, read).next().is_none()
        };
        if path.bare_reading().is_some_and(|read| !is_same(&read)) {
            return Err(Unmatched::BadPath(PathFault("the path without its parameters is another rule's")));
        }
        Ok(rule)
    }

    /// The rule at this place of the configuration.
    pub fn at(&self, index: usize) -> &Rule<T> {
        &self.rules[index]
    }

    /// Rules before the one that governs, which match but for case or a trailing slash: an upstream may take the
    /// request for one of theirs, so what they guard is guarded.
    pub fn overlooked<'a>(
        &'a self,
        rule: &'a Rule<T>,
        method: &'a Method,
        path: &'a NormalPath,
    ) -> impl Iterator<Item = &'a Rule<T>> {
        let earlier = rule.overlooked.iter().map(|index| &self.rules[*index]);
        earlier.filter(|rule| rule.takes(method, Spelling::Folded) && rule.matches(path, Spelling::Folded))
    }

    /// The places of all limits that a request is under.
    pub fn limits<'a>(
        &'a self,
        rule: &'a Rule<T>,
        method: &'a Method,
        path: &'a NormalPath,
    ) -> impl Iterator<Item = usize> {
        std::iter::once(rule).chain(self.overlooked(rule, method, path)).flat_map(|rule| rule.limits.iter().copied())
    }

    /// Every rule up to the one that matches, and how it fared.
    pub fn examine(&self, method: &Method, path: &NormalPath) -> Vec<Examined<'_, T>> {
        let mut examined = Vec::new();
        for rule in &self.rules {
            let outcome = rule.judge(method, path);
            examined.push(Examined { rule, outcome });
            if matches!(outcome, Outcome::Match { .. }) {
                break;
            }
        }
        examined
    }

    pub(super) fn first(&self, method: &Method, path: &NormalPath) -> Option<&Rule<T>> {
        self.rules.iter().find(|rule| rule.takes(method, rule.spelling) && rule.matches(path, rule.spelling))
    }

    fn has_literal(&self, segment: &str) -> bool {
        let segment: Box<[u8]> = folded(segment).collect();
        self.literals.binary_search(&segment).is_ok()
    }
}

impl<T> Rule<T> {
    fn compile(
        index: usize,
        rule: &config::rules::Rule,
        security_headers: &config::security_headers::SecurityHeaders,
        target_of: &mut impl FnMut(usize) -> T,
    ) -> Self {
        let protected = rule.session == Requirement::Required;
        let first = rule.paths.first().map_or("/**", |pattern| &pattern.text);
        let action = match &rule.action {
            config::rules::Action::Forward(upstream) => Action::Forward(Split::one(target_of(*upstream))),
            config::rules::Action::Split(shares) => {
                let sides = shares.iter().map(|share| (target_of(share.upstream), share.name.as_str(), share.weight));
                Action::Forward(Split::of(sides))
            }
            config::rules::Action::Redirect(location) => Action::Redirect(location.clone()),
            config::rules::Action::Respond { status, body } => {
                Action::Respond { status: *status, body: Bytes::from(body.clone()) }
            }
        };
        Self {
            index,
            name: format!("rules[{index}] {first}").into(),
            access: Access::compile(rule),
            on_refusal: rule.on_refusal,
            action,
            rewrite: Rewrite::compile(rule),
            body_bytes_max: rule.body_bytes,
            limits: rule.limits.clone(),
            security_headers: SecurityHeaders::compile(security_headers, &rule.security_headers, protected),
            request_headers: rule.request_headers.clone(),
            response_headers: rule.response_headers.clone(),
            timeout: rule.timeout,
            total_timeout: rule.total_timeout,
            touches: rule.touch,
            keeps_encoded_slash: rule.keeps_encoded_slash,
            keeps_empty_segments: rule.keeps_empty_segments,
            patterns: patterns(rule),
            methods: rule.methods.clone(),
            spelling: spelling(rule),
            overlooked: Vec::new(),
        }
    }

    /// The form in which a path that it governs is forwarded: with its empty segments, where the rule keeps them and
    /// matches the path with them, too.
    pub fn form<'p>(&self, path: &'p NormalPath) -> &'p NormalPath {
        let unmerged = path.unmerged().filter(|_| self.keeps_empty_segments);
        unmerged.filter(|unmerged| self.matches(unmerged, self.spelling)).unwrap_or(path)
    }

    /// Whether the rule is for this method. Methods are case-sensitive (RFC 9110 section 9.1), but not to every upstream:
    /// Django reads `post` as POST.
    fn takes(&self, method: &Method, spelling: Spelling) -> bool {
        let same = |known: &Method, method: &Method| match spelling {
            Spelling::Exact => known == method,
            Spelling::Folded => known.as_str().eq_ignore_ascii_case(method.as_str()),
        };
        let listed = |method: &Method| self.methods.iter().any(|known| same(known, method));
        self.methods.is_empty() || listed(method) || same(&Method::HEAD, method) && listed(&Method::GET)
    }

    fn matches(&self, path: &NormalPath, spelling: Spelling) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(path.as_str(), spelling))
    }

    fn judge(&self, method: &Method, path: &NormalPath) -> Outcome {
        let exact = self.matches(path, Spelling::Exact);
        match (exact || self.matches(path, Spelling::Folded), self.spelling) {
            (false, _) => Outcome::Miss(Miss::Path),
            (true, Spelling::Exact) if !exact => Outcome::Miss(Miss::Spelling),
            (true, _) if !self.takes(method, self.spelling) => Outcome::Miss(Miss::Method),
            (true, _) => Outcome::Match { folded: !exact },
        }
    }
}

/// The patterns of a rule; none written = everything.
pub(super) fn patterns(rule: &config::rules::Rule) -> Vec<Pattern> {
    if rule.paths.is_empty() {
        return vec![Pattern::everything()];
    }
    rule.paths.iter().map(|pattern| Pattern::parse(&pattern.text)).collect()
}

/// Rules that protect or refuse err on the side of matching, as likely upstreams fold too.
pub(super) fn spelling(rule: &config::rules::Rule) -> Spelling {
    match (rule.session, &rule.action) {
        (Requirement::Required, _) | (_, config::rules::Action::Respond { .. }) => Spelling::Folded,
        (Requirement::Optional | Requirement::Off, _) => Spelling::Exact,
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Match { folded: false } => "matches",
            Self::Match { folded: true } => "matches (case and a trailing slash do not count on a protected rule)",
            Self::Miss(Miss::Path) => "the path does not match",
            Self::Miss(Miss::Spelling) => {
                "the path differs in case or a trailing slash, and only protected rules ignore these"
            }
            Self::Miss(Miss::Method) => "the method does not match",
        })
    }
}

#[cfg(test)]
mod tests;
