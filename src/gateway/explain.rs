//! What would happen to a request, and why: the steps of the data path up to the decision, narrated.

use super::{
    HEALTH,
    exchange::Exchange,
    refusal::Refusal,
    snapshot::{Snapshot, is_own, question},
};
use crate::{
    access::Grant,
    caller::{Caller, Question},
    clock,
    config::rules::Requirement,
    http::{Head, body::BodyFault, host::HostFault, message, path::NormalPath, peer::Peer},
    rules::{Action, Rule, Split, Unmatched},
    session::{Absence, Activity, Keep, Verdict},
    tasks::Worker,
    telemetry::access_log::milliseconds,
    upstream::{Origin, Target},
};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use std::{fmt::Write as _, time::Duration};

impl Snapshot {
    /// Narrates a request, line by line: topic, then what is known. Nothing is sent to an upstream.
    pub async fn explain(&self, head: Head, peer: &Peer) -> String {
        let mut exchange = Exchange::begin(&head, peer, self);
        exchange.be_silent();
        let mut story = String::new();
        tell(&mut story, "request", format_args!("{} {}", head.method, head.uri));
        let client = exchange.arrival().client.map_or("a unix socket".to_owned(), |client| client.to_string());
        let scheme = if exchange.arrival().https { "https" } else { "http" };
        tell(&mut story, "client", format_args!("{client} over {scheme}"));
        if head.uri.path() == HEALTH {
            tell(&mut story, "rule", format_args!("none: this page is the gateway's own, under any Host"));
            tell(&mut story, "answer", format_args!("200, or 503 while the gateway drains"));
            return story;
        }
        if let Err(refusal) = self.decide_aloud(head, peer, &mut exchange, &mut story).await {
            let (face, cause) = (refusal.reason.face(), refusal.cause.clone());
            let response = self.answers().refuse(refusal, &mut exchange);
            tell(&mut story, "refused", format_args!("{} ({cause})", face.label));
            let to = response.headers().get("location").and_then(|to| to.to_str().ok());
            let to = to.map_or(String::new(), |to| format!(" to {to}"));
            tell(&mut story, "answer", format_args!("{}{to}", response.status().as_u16()));
            if face.label == "session_required" && self.logins.watches(&exchange) {
                tell(&mut story, "loop", format_args!("508 instead, if login has just led back here five times"));
            }
        }
        story
    }

    /// Tells what the session cookies of a Cookie header stand for, line by line: topic, then what is known.
    pub async fn decode(&self, headers: &HeaderMap, https: bool) -> String {
        let mut story = String::new();
        for sessions in &self.sessions {
            for (topic, text) in sessions.decode(headers, https, Worker(0)).await {
                tell(&mut story, topic, format_args!("{text}"));
            }
        }
        story
    }

    async fn decide_aloud(
        &self,
        head: Head,
        peer: &Peer,
        exchange: &mut Exchange,
        story: &mut String,
    ) -> Result<(), Refusal> {
        message::vet(&head, &self.limits)?;
        let path = NormalPath::of(&head.uri)?;
        if let Err(HostFault::Elsewhere) = exchange.arrival().host {
            tell(story, "answer", format_args!("308 to public_url: the host is one of redirect_hosts"));
            return Ok(());
        }
        let host = exchange.arrival().host.as_ref().map_err(|fault| *fault)?;
        tell(story, "host", format_args!("{}", host.authority.to_str().unwrap_or_default()));
        tell(story, "path", format_args!("{}", path.as_str()));
        exchange.normalised(&path);
        if is_own(&path) {
            tell(story, "rule", format_args!("none: paths under /_onedoor are the gateway's own"));
            return Err(Unmatched::NoRule.into());
        }
        for examined in self.rules.examine(&head.method, &path) {
            tell(story, "rule", format_args!("{}: {}", examined.rule.name, examined.outcome));
        }
        let rule = self.rules.find(&head.method, &path)?;
        exchange.matched(rule);
        let declared = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if rule.body_bytes_max.zip(declared).is_some_and(|(max, declared)| declared > max) {
            return Err(BodyFault::TooLarge.into());
        }

        let overlooked: Vec<_> = self.rules.overlooked(rule, &head.method, &path).collect();
        for rule in &overlooked {
            tell(
                story,
                "rule",
                format_args!("{}: its guards hold, too: an upstream may read this path as its own", rule.name),
            );
        }
        for place in self.rules.limits(rule, &head.method, &path) {
            tell(story, "limit", format_args!("{}", self.config.limits[place].name));
        }
        let overlooked = overlooked.into_iter().map(|rule| &rule.access);
        let entry = rule.access.admit(&head, exchange.arrival(), &self.site, overlooked)?;
        if entry.is_preflight() {
            tell(story, "preflight", format_args!("goes on without cookie or identity"));
        }

        let mut question = question(rule, &entry);
        if let Question::User(need) = &mut question {
            // To be explained is no use of a session.
            need.activity = Activity::Ignored;
        }
        let begun = clock::now();
        let caller = self.callers.identify(question, &head, exchange.arrival(), peer.worker).await;
        tell(story, "session", format_args!("{} by {}", requirement(rule.access.requirement()), rule.name));
        tell_caller(story, &caller, begun.elapsed());
        let grant = rule.access.decide(entry, caller)?;
        self.tell_grant(story, &grant);
        match &rule.action {
            Action::Forward(sides) => {
                let origin = Origin { grant: &grant, arrival: exchange.arrival(), head: &head };
                tell_forward(story, rule, sides, &path, origin)?;
            }
            Action::Redirect(to) => tell(story, "answer", format_args!("308 to {}", to.to_str().unwrap_or_default())),
            Action::Respond { status, .. } => tell(story, "answer", format_args!("{} by the rule", status.as_u16())),
        }
        Ok(())
    }

    /// What the upstream sees of the session, and what it does not.
    fn tell_grant(&self, story: &mut String, grant: &Grant) {
        for edit in grant.cookie_edits() {
            let kept = match edit.keep {
                Keep::Nothing => "not forwarded",
                Keep::Only(_) => "only the one that counts is forwarded",
                Keep::AllBut(_) => "those of ended sessions are not forwarded",
            };
            tell(story, "cookie", format_args!("{}: {kept}", edit.name));
        }
        if let Some(denial) = grant.would_refuse() {
            tell(story, "enforce", format_args!("false: would be refused ({denial:?}), passes"));
        }
        if let Some(session) = grant.session() {
            for (name, value) in self.identity.preview(session) {
                tell_header(story, &name, &value);
            }
        }
    }
}

/// Who it is, and how long the store took to say so.
fn tell_caller(story: &mut String, caller: &Caller, took: Duration) {
    let is_hopeless = matches!(
        caller.verdict,
        Verdict::NotAsked | Verdict::Absent(Absence::NoCookie | Absence::Malformed | Absence::BadSignature)
    );
    if !is_hopeless {
        let took = milliseconds(took);
        tell(story, "store", format_args!("asked within {took} ms, connecting included"));
    }
    match &caller.verdict {
        Verdict::NotAsked => tell(story, "verdict", format_args!("not asked")),
        Verdict::Known(session) => {
            let roles = if session.roles.is_empty() { "none".into() } else { session.roles.join(", ") };
            tell(story, "verdict", format_args!("valid {} session", session.name));
            tell(story, "user", format_args!("{} (roles: {roles})", session.user.escape_debug()));
        }
        Verdict::Absent(absence) => tell(story, "verdict", format_args!("no valid session: {absence}")),
        Verdict::Unknown(outage) => tell(story, "verdict", format_args!("unknown: {}", outage.0)),
    }
    if let Some(source) = caller.source {
        tell(story, "source", format_args!("{}", source.word()));
    }
}

/// Where the request would go, and as what.
fn tell_forward(
    story: &mut String,
    rule: &Rule<Target>,
    sides: &Split<Target>,
    path: &NormalPath,
    origin: Origin<'_>,
) -> Result<(), Refusal> {
    let (target, _) = sides.side(|| origin.caller(), Target::is_reachable);
    let form = rule.form(path);
    if form != path {
        let kept = form.as_str();
        tell(story, "path", format_args!("{kept} with its empty segments, which this rule keeps"));
    }
    let rewritten = rule.rewrite.apply(form)?;
    let mut arrival = HeaderMap::new();
    origin.arrival.write(&mut arrival);
    arrival.extend(rewritten.prefix.map(|prefix| (HeaderName::from_static("x-forwarded-prefix"), prefix.clone())));
    message::edit(&mut arrival, &rule.request_headers);
    for (name, value) in &arrival {
        tell_header(story, name, value);
    }
    tell(story, "upstream", format_args!("{}", target.name()));
    let key = target.key(origin);
    tell(story, "endpoint", format_args!("{}", target.next_endpoint(key)));
    for sick in target.sick_endpoints() {
        tell(story, "endpoint", format_args!("{sick} gets no requests: it fails"));
    }
    tell(story, "answer", format_args!("forwarded as {} {}", origin.head.method, rewritten.target));
    Ok(())
}

fn requirement(requirement: Requirement) -> &'static str {
    match requirement {
        Requirement::Required => "required",
        Requirement::Optional => "optional",
        Requirement::Off => "off",
    }
}

fn tell_header(story: &mut String, name: &HeaderName, value: &HeaderValue) {
    tell(story, "header", format_args!("{name}: {}", value.to_str().unwrap_or_default()));
}

fn tell(story: &mut String, topic: &str, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(story, "{topic:<9} {text}");
}
