//! Rules for tests, in few words.

use crate::config::rules::{Action, OnRefusal, Pattern, Requirement, Rule};

/// A rule on these paths that forwards to the upstream 0. Its spans are 0.
pub(super) fn rule(paths: &[&str], session: Requirement) -> Rule {
    Rule {
        paths: paths.iter().map(|text| Pattern { text: (*text).to_owned(), span: 0..0 }).collect(),
        methods: Vec::new(),
        action: Action::Forward(0),
        session,
        roles: Vec::new(),
        on_refusal: OnRefusal::Auto,
        enforce: true,
        strip_prefix: None,
        add_prefix: None,
        keeps_encoded_slash: false,
        span: 0..0,
    }
}
