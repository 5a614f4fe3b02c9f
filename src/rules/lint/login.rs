//! A login page that nobody without a session can see.

use super::{Book, name};
use crate::config::{
    diagnostic::Diagnostics,
    rules::{OnRefusal, Requirement, Rule},
    session::Session,
};
use http::Method;

pub(super) fn lint(book: &Book<'_>, sessions: &[Session], diagnostics: &mut Diagnostics) {
    if !book.rules.iter().any(is_closed) {
        return;
    }
    for session in sessions.iter().filter(|session| session.login.starts_with('/')) {
        lint_page(book, session, diagnostics);
    }
}

fn lint_page(book: &Book<'_>, session: &Session, diagnostics: &mut Diagnostics) {
    let page = session.login.split(['?', '#']).next().unwrap_or_default();
    let remedy = format!("add a rule for `{page}` with `session = \"optional\"` before the rules that protect");
    match book.first(&Method::GET, page) {
        None => {
            let message = format!("no rule matches the login page `{page}`: nobody could log in");
            return diagnostics.error(session.span.clone(), message, remedy);
        }
        Some((index, rule)) if is_closed(rule) => {
            let governed = name(index, rule);
            let message = format!(
                "the login page `{page}` is governed by {governed}, which requires a session: nobody could log in"
            );
            // Who is not sent there goes in no circle: programs may well have their sessions from elsewhere.
            return match rule.on_refusal {
                OnRefusal::Status => diagnostics.warning(session.span.clone(), message, remedy),
                OnRefusal::Auto | OnRefusal::Redirect => diagnostics.error(session.span.clone(), message, remedy),
            };
        }
        Some(_) => {}
    }

    let Some(twin) = other_slash(page) else { return };
    if let Some((index, rule)) = book.first(&Method::GET, &twin)
        && is_closed(rule)
    {
        let governed = name(index, rule);
        let message =
            format!("the login page is `{page}`, but `{twin}` is governed by {governed}, which requires a session");
        let remedy = format!("add `{twin}` to the rule of `{page}`: servers that redirect between the two would loop");
        diagnostics.warning(session.span.clone(), message, remedy);
    }
}

fn is_closed(rule: &Rule) -> bool {
    rule.session == Requirement::Required && rule.enforce && rule.action.forwards()
}

/// The page with one trailing slash more or less.
fn other_slash(page: &str) -> Option<String> {
    match page.strip_suffix('/') {
        Some("") => None,
        Some(shorter) => Some(shorter.to_owned()),
        None => Some(format!("{page}/")),
    }
}
