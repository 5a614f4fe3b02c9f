//! `encoded_slash = "keep"` where an upstream that decodes `%2F` would see a path of a stricter rule.

use super::{Book, algebra::meetings, is_weaker, name};
use crate::{
    config::{diagnostic::Diagnostics, rules::Rule},
    rules::{
        pattern::{Pattern, Segment},
        table,
    },
};
use http::Method;

pub(super) fn lint(book: &Book<'_>, diagnostics: &mut Diagnostics) {
    for rule in book.rules.iter().filter(|rule| rule.keeps_encoded_slash) {
        let mut stricter = book.rules.iter().filter(|other| is_weaker(rule, other));
        let way = stricter.find_map(|other| way_into(book, rule, other));
        if let Some((path, stricter)) = way {
            let stricter = book.rules.get(stricter).map_or_else(String::new, |rule| name(stricter, rule));
            let message = format!(
                "a path with `%2F` that this rule lets through is `{path}` once decoded, which {stricter} protects"
            );
            let remedy = "remove `encoded_slash`, or narrow the path of this rule";
            diagnostics.error(rule.span.clone(), message, remedy);
        }
    }
}

/// A path that `rule` matches while its slash is encoded and that a stricter rule governs once it is decoded.
fn way_into(book: &Book<'_>, rule: &Rule, stricter: &Rule) -> Option<(String, usize)> {
    let methods = [&rule.methods, &stricter.methods].into_iter().find(|methods| !methods.is_empty());
    let method = methods.and_then(|methods| methods.first()).unwrap_or(&Method::GET);
    let inner = table::patterns(stricter);
    let outer = table::patterns(rule).into_iter().filter_map(|pattern| decoded(&pattern));
    let mut meetings = outer.flat_map(|outer| {
        inner.iter().flat_map(move |inner| meetings(&outer, inner.without_slash())).collect::<Vec<_>>()
    });
    meetings.find_map(|path| {
        let (index, first) = book.first(method, &path)?;
        is_weaker(rule, first).then_some((path, index))
    })
}

/// What the paths of a pattern may become when a server decodes `%2F` in them; `None` if none of them can hold one.
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
