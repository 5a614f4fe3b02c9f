//! Rules that change the path, and so lead to pages of the same upstream that a stricter rule protects.

use super::{Book, is_weaker, name, samples};
use crate::{
    config::{
        diagnostic::Diagnostics,
        rules::{Action, Rule},
    },
    http::path::NormalPath,
    rules::{rewrite::Rewrite, table},
};
use http::Method;

pub(super) fn lint(book: &Book<'_>, diagnostics: &mut Diagnostics) {
    for (index, rule) in book.numbered().filter(|(_, rule)| rewrites(rule)) {
        let stricter = book.numbered().filter(|(_, other)| is_weaker(rule, other) && share_an_upstream(rule, other));
        let mut ways = stricter.filter_map(|(other, stricter)| Some((way_into(book, index, rule, stricter)?, other)));
        if let Some(((path, seen), other)) = ways.next() {
            let stricter = book.rules.get(other).map_or_else(String::new, |rule| name(other, rule));
            let message = format!("`{path}` is forwarded as `{seen}`, which {stricter} protects at the same upstream");
            let remedy = format!("protect `{path}` in a rule before this one, or send this rule to another upstream");
            diagnostics.warning(rule.span.clone(), message, remedy);
        }
    }
}

fn rewrites(rule: &Rule) -> bool {
    rule.strip_prefix.is_some() || rule.add_prefix.is_some()
}

/// A path that `rule` governs and forwards as one that `stricter` protects and forwards as it is, and the latter.
fn way_into(book: &Book<'_>, index: usize, rule: &Rule, stricter: &Rule) -> Option<(String, String)> {
    let methods = [&rule.methods, &stricter.methods].into_iter().find(|methods| !methods.is_empty());
    let method = methods.and_then(|methods| methods.first()).unwrap_or(&Method::GET);
    let rewrite = Rewrite::compile(rule);
    let seen = table::patterns(stricter).into_iter().filter(|_| !rewrites(stricter)).flat_map(|inner| samples(&inner));
    seen.into_iter().find_map(|seen| {
        let rest = seen.strip_prefix(rule.add_prefix.as_deref().unwrap_or_default())?;
        let path = format!("{}{rest}", rule.strip_prefix.as_deref().unwrap_or_default());
        let (first, _) = book.first(method, &path)?;
        let forwarded = rewrite.apply(&NormalPath::of(&path.parse().ok()?).ok()?).ok()?;
        (first == index && forwarded.target.path() == seen).then_some((path, seen))
    })
}

fn share_an_upstream(one: &Rule, other: &Rule) -> bool {
    upstreams(one).iter().any(|upstream| upstreams(other).contains(upstream))
}

fn upstreams(rule: &Rule) -> Vec<usize> {
    match &rule.action {
        Action::Forward(upstream) => vec![*upstream],
        Action::Split(shares) => shares.iter().map(|share| share.upstream).collect(),
        Action::Redirect(_) | Action::Respond { .. } => Vec::new(),
    }
}
