//! Public rules whose paths lie close to a protected one: another spelling of it, or the page above it.

use super::{Book, algebra::covers, name};
use crate::{
    config::{
        diagnostic::Diagnostics,
        rules::{Requirement, Rule},
    },
    rules::{
        pattern::{Pattern, Segment, Spelling},
        table,
    },
};

pub(super) fn lint(book: &Book<'_>, diagnostics: &mut Diagnostics) {
    for (index, public) in book.numbered().filter(|(_, rule)| is_public(rule)) {
        for path in &public.paths {
            let Some((near, rule)) = neighbour(book, index, public, &Pattern::parse(&path.text)) else { continue };
            let text = &path.text;
            let (message, remedy) = match near {
                Near::Spelling => (
                    format!("`{text}` is public, but {rule} protects it where case and a trailing slash do not count"),
                    "spell the path the same way in both rules, or protect it here too".to_owned(),
                ),
                Near::Above => (
                    format!("only `{text}` itself is public: what lies below is protected by {rule}"),
                    format!("write `{text}/**` if all of it is meant to be public"),
                ),
            };
            diagnostics.warning(path.span.clone(), message, remedy);
        }
    }
}

/// The first later rule that protects a path close to `pattern`, and how close.
fn neighbour(book: &Book<'_>, index: usize, public: &Rule, pattern: &Pattern) -> Option<(Near, String)> {
    let later = book.numbered().skip(index + 1);
    let mut protected = later.filter(|(_, rule)| rule.session == Requirement::Required && shares_methods(rule, public));
    protected.find_map(|(index, rule)| {
        let near = table::patterns(rule).iter().find_map(|protected| nearness(pattern, protected))?;
        Some((near, name(index, rule)))
    })
}

/// How a public path lies to a protected one.
enum Near {
    /// The same but for case or a trailing slash.
    Spelling,
    /// The protected rule begins right below it.
    Above,
}

fn nearness(public: &Pattern, protected: &Pattern) -> Option<Near> {
    // Rules that protect everything, or everything of some shape, are meant to have exceptions.
    let [Segment::Literal(first), ..] = protected.segments() else { return None };
    if first.is_empty() || !covers(protected, Spelling::Folded, public, Spelling::Exact) {
        return None;
    }
    if !covers(protected, Spelling::Exact, public, Spelling::Exact) {
        return Some(Near::Spelling);
    }
    let [above @ .., Segment::Any] = protected.segments() else { return None };
    (above == public.segments()).then_some(Near::Above)
}

fn is_public(rule: &Rule) -> bool {
    rule.session != Requirement::Required && rule.action.forwards()
}

fn shares_methods(one: &Rule, other: &Rule) -> bool {
    one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|method| other.methods.contains(method))
}
