//! What is wrong with rules that are each well-formed: shadowed ones, a login page behind the door, ways around one.

mod algebra;
mod fall_through;
mod login;
mod rewrite;
mod shadow;
mod slash;
mod spelling;

use super::{
    pattern::{Pattern, Segment},
    table::Rules,
};
use crate::{
    config::{
        Config,
        diagnostic::Diagnostics,
        rules::{Requirement, Rule},
    },
    http::path::NormalPath,
};
use http::Method;

/// Examines the rules of a configuration that has no other errors, and notes what it finds.
pub fn lint(config: &Config, diagnostics: &mut Diagnostics) {
    let book = Book { rules: &config.rules, table: Rules::compile(&config.rules, &config.security_headers, |_| ()) };
    shadow::lint(&book, diagnostics);
    login::lint(&book, &config.sessions, diagnostics);
    fall_through::lint(&book, config.server.method_override, diagnostics);
    spelling::lint(&book, diagnostics);
    slash::lint(&book, diagnostics);
    rewrite::lint(&book, diagnostics);
}

/// The rules as they are written and as they are matched.
struct Book<'a> {
    rules: &'a [Rule],
    table: Rules<()>,
}

impl<'a> Book<'a> {
    /// The rule that governs a request, and its index.
    fn first(&self, method: &Method, path: &str) -> Option<(usize, &'a Rule)> {
        let path = NormalPath::of(&path.parse().ok()?).ok()?;
        let index = self.table.first(method, &path)?.index;
        Some((index, self.rules.get(index)?))
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &'a Rule)> {
        self.rules.iter().enumerate()
    }
}

/// Whether an upstream is easier to reach through `rule` than through `other`.
fn is_weaker(rule: &Rule, other: &Rule) -> bool {
    let protects = |rule: &Rule| rule.session == Requirement::Required && rule.enforce;
    if !protects(other) || !rule.action.forwards() {
        return false;
    }
    let admits_others = rule.roles.is_empty() || rule.roles.iter().any(|role| !other.roles.contains(role));
    !protects(rule) || !other.roles.is_empty() && admits_others
}

/// How a rule is named in a finding.
fn name(index: usize, rule: &Rule) -> String {
    match rule.paths.as_slice() {
        [] => format!("rules[{index}] (every path)"),
        [first, ..] => format!("rules[{index}] ({})", first.text),
    }
}

/// Paths that a pattern matches, one with `**` standing for nothing and one with it standing for a segment.
fn samples(pattern: &Pattern) -> [String; 2] {
    [None, Some("~")].map(|any| {
        let segments = pattern.segments().iter().filter_map(|segment| match segment {
            Segment::Literal(literal) => Some(&**literal),
            Segment::One => Some("~"),
            Segment::Any => any,
        });
        format!("/{}", segments.collect::<Vec<_>>().join("/"))
    })
}

#[cfg(test)]
mod tests;
