//! Rules, or paths of rules, that no request reaches because an earlier rule takes it.

use super::{Book, algebra::covers, name};
use crate::{
    config::{Span, diagnostic::Diagnostics, rules::Rule},
    rules::{
        pattern::{Pattern, Spelling},
        table,
    },
};

pub(super) fn lint(book: &Book<'_>, diagnostics: &mut Diagnostics) {
    for (index, rule) in book.numbered() {
        let spelling = table::spelling(rule);
        let taken: Vec<_> =
            places(rule).map(|(pattern, span)| (taker(book, index, rule, &pattern, spelling), pattern, span)).collect();
        if let [(Some(taker), ..), ..] = taken.as_slice()
            && taken.iter().all(|(taker, ..)| taker.is_some())
        {
            let message = format!("this rule can never match: {} takes every request before it", named(book, *taker));
            diagnostics.error(rule.span.clone(), message, format!("move it before rules[{taker}], or remove it"));
            continue;
        }
        for (taker, pattern, span) in taken {
            if let Some(taker) = taker {
                let message = format!("this path never matches here: {} takes it before", named(book, taker));
                diagnostics.warning(span, message, "remove it here, or move this rule up");
            } else if let Some(taker) = exact_taker(book, index, rule, &pattern, spelling) {
                let taker = named(book, taker);
                let message = format!(
                    "only other spellings of this path (case, a trailing slash) match here: {taker} takes it before"
                );
                diagnostics.warning(span, message, "remove it from one of the two rules");
            }
        }
    }
}

/// A rule's patterns and where each stands.
fn places(rule: &Rule) -> impl Iterator<Item = (Pattern, Span)> {
    let spans = rule.paths.iter().map(|path| path.span.clone()).chain([rule.span.clone()]);
    table::patterns(rule).into_iter().zip(spans)
}

/// The earlier rule that takes every request that `pattern` of `rule` could match.
fn taker(book: &Book<'_>, index: usize, rule: &Rule, pattern: &Pattern, spelling: Spelling) -> Option<usize> {
    let earlier = book.numbered().take(index).filter(|(_, earlier)| takes_methods_of(earlier, rule));
    let takes = |earlier: &Rule| {
        table::patterns(earlier).iter().any(|outer| covers(outer, table::spelling(earlier), pattern, spelling))
    };
    earlier.into_iter().find(|(_, earlier)| takes(earlier)).map(|(index, _)| index)
}

/// The earlier rule that takes the path of a folding rule as it is written, and leaves it the other spellings.
fn exact_taker(book: &Book<'_>, index: usize, rule: &Rule, pattern: &Pattern, spelling: Spelling) -> Option<usize> {
    (spelling == Spelling::Folded).then(|| taker(book, index, rule, pattern, Spelling::Exact)).flatten()
}

fn takes_methods_of(earlier: &Rule, rule: &Rule) -> bool {
    earlier.methods.is_empty()
        || !rule.methods.is_empty() && rule.methods.iter().all(|method| earlier.methods.contains(method))
}

fn named(book: &Book<'_>, index: usize) -> String {
    book.rules.get(index).map_or_else(String::new, |rule| name(index, rule))
}
