//! `encoded_slash = "keep"` and `empty_segments = "keep"` where an upstream that decodes `%2F` or merges `//` would see a
//! path of a stricter rule.

use super::{Book, algebra::meetings, is_weaker, name};
use crate::{
    config::{diagnostic::Diagnostics, rules::Rule},
    rules::{
        pattern::{Pattern, Segment},
        table,
    },
};
use http::Method;

/// What a rule lets through as it came, and what another server makes of it.
struct Kept {
    key: &'static str,
    what: &'static str,
    once: &'static str,
    /// What the paths of a pattern may become there; `None` if they hold nothing of the kind.
    reading: fn(&Pattern) -> Option<Vec<Segment>>,
}

const ENCODED: Kept = Kept { key: "encoded_slash", what: "%2F", once: "decoded", reading: decoded };
const EMPTY: Kept = Kept { key: "empty_segments", what: "//", once: "merged", reading: merged };

pub(super) fn lint(book: &Book<'_>, diagnostics: &mut Diagnostics) {
    for rule in book.rules {
        let kept = [rule.keeps_encoded_slash.then_some(ENCODED), rule.keeps_empty_segments.then_some(EMPTY)];
        for kept in kept.into_iter().flatten() {
            lint_reading(book, rule, &kept, diagnostics);
        }
    }
}

fn lint_reading(book: &Book<'_>, rule: &Rule, kept: &Kept, diagnostics: &mut Diagnostics) {
    let mut stricter = book.rules.iter().filter(|other| is_weaker(rule, other));
    if let Some((path, stricter)) = stricter.find_map(|other| way_into(book, rule, other, kept)) {
        let stricter = book.rules.get(stricter).map_or_else(String::new, |rule| name(stricter, rule));
        let Kept { key, what, once, .. } = kept;
        let message = format!(
            "a path with `{what}` that this rule lets through is `{path}` once {once}, which {stricter} protects"
        );
        diagnostics.error(rule.span.clone(), message, format!("remove `{key}`, or narrow the path of this rule"));
    }
}

/// A path that `rule` matches as it came and that a stricter rule governs in its other reading.
fn way_into(book: &Book<'_>, rule: &Rule, stricter: &Rule, kept: &Kept) -> Option<(String, usize)> {
    let methods = [&rule.methods, &stricter.methods].into_iter().find(|methods| !methods.is_empty());
    let method = methods.and_then(|methods| methods.first()).unwrap_or(&Method::GET);
    let inner = table::patterns(stricter);
    let outer = table::patterns(rule).into_iter().filter_map(|pattern| (kept.reading)(&pattern));
    let mut meetings = outer.flat_map(|outer| {
        inner.iter().flat_map(move |inner| meetings(&outer, inner.without_slash())).collect::<Vec<_>>()
    });
    meetings.find_map(|path| {
        let (index, first) = book.first(method, &path)?;
        is_weaker(rule, first).then_some((path, index))
    })
}

/// With `%2F` decoded.
fn decoded(pattern: &Pattern) -> Option<Vec<Segment>> {
    let mut may_hold_one = false;
    let mut segments = Vec::new();
    for segment in pattern.without_slash() {
        match segment {
            // One segment may hold several encoded slashes, or be nothing but one.
            Segment::One | Segment::Any => {
                may_hold_one = true;
                segments.push(Segment::Any);
            }
            Segment::Literal(literal) => {
                may_hold_one |= literal.contains("%2F");
                segments.extend(literal.split("%2F").map(|part| Segment::Literal(part.into())));
            }
        }
    }
    may_hold_one.then_some(segments)
}

/// With empty segments merged: only `**` matches some.
fn merged(pattern: &Pattern) -> Option<Vec<Segment>> {
    let segments = pattern.without_slash();
    segments.contains(&Segment::Any).then(|| segments.to_vec())
}
