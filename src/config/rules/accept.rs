//! `accept` of a rule: which sessions count.

use crate::config::{
    keys::{quoted_list, similar},
    rules::{Requirement, Site},
    section::Section,
    session::Session,
};

/// Reads `accept` as places in the configuration's list of sessions, in the order in which they are tried. Without the
/// key all count.
pub(super) fn read(section: &mut Section<'_>, requirement: Requirement, site: &Site<'_>) -> Vec<usize> {
    let texts = section.texts("accept");
    let sessions = site.sessions.unwrap_or_default();
    let all = (0..sessions.len()).collect();
    if !section.has("accept") {
        return all;
    }
    let span = section.span_of("accept");
    if requirement == Requirement::Off {
        section.reader.error(span, "`accept` means nothing with `session = \"off\"`: nobody is asked", "leave it out");
        return all;
    }
    let names = || sessions.iter().map(|session| session.name.as_str());
    for text in texts.iter().filter(|text| site.sessions.is_some() && !names().any(|name| name == text.text)) {
        let remedy = match similar(&text.text, names()) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!("some of {}", quoted_list(names())),
        };
        section.reader.error(text.span.clone(), format!("there is no session `{}`", text.text), remedy);
    }
    let is_accepted = |session: &Session| texts.iter().any(|text| text.text == session.name);
    (0..sessions.len()).filter(|index| is_accepted(&sessions[*index])).collect()
}
