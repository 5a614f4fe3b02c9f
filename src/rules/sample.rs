//! Rules for tests, in few words.

use crate::config::rules::{Pattern, Requirement, Rule, sample};

/// A rule on these paths that forwards to the upstream 0. Its spans are 0.
pub(super) fn rule(paths: &[&str], session: Requirement) -> Rule {
    let paths = paths.iter().map(|text| Pattern { text: (*text).to_owned(), span: 0..0 }).collect();
    Rule { paths, ..sample::rule(session) }
}
