//! `on_outage`: what a rule does while the store cannot be asked.

use super::Requirement;
use crate::config::{
    section::Section,
    store::{OnOutage, Store},
};

/// Reads it; without it the store's policy holds.
pub(super) fn read(section: &mut Section<'_>, requirement: Requirement, store: &Store) -> OnOutage {
    let written = section.choice("on_outage");
    let span = section.span_of("on_outage");
    match written {
        Some("anonymous") if requirement == Requirement::Required => {
            let remedy = "write `session = \"optional\"`, or \"refuse\" or \"stale\" here";
            section.reader.error(span, "a rule that requires a session cannot let anonymous requests pass", remedy);
        }
        Some("stale") if store.cache.entries == 0 => {
            let remedy = "leave out `entries = 0` in [store.cache], or write \"refuse\"";
            section.reader.error(span, "nothing is kept in memory that could be stale", remedy);
        }
        _ => {}
    }
    match written {
        Some("refuse") => OnOutage::Refuse,
        Some("stale") => OnOutage::Stale,
        Some("anonymous") => OnOutage::Anonymous,
        _ => store.outage.policy,
    }
}
