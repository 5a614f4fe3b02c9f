//! `dest`: an upstream, or several with weights.

use super::{Action, Share, Site};
use crate::config::{
    Span,
    keys::{quoted_list, similar},
    reader::Reader,
    section::Section,
    upstreams,
};
use toml::de::{DeTable, DeValue};

/// Weights are small numbers; more says nothing that less could not say.
const WEIGHT_MAX: u32 = 1_000_000;

pub(super) fn read(section: &mut Section<'_>, site: &mut Site<'_>) -> Option<Action> {
    let value = section.take("dest")?;
    if let DeValue::Table(entries) = value.get_ref() {
        return read_shares(section.reader, entries, &value.span(), site);
    }
    let DeValue::String(_) = value.get_ref() else {
        let remedy = "write \"NAME\", a URL, or `{ app-v1 = 95, app-v2 = 5 }`; several endpoints stand in [upstreams]";
        section.reader.wrong_type("dest", value, "the name of an upstream, a URL, or a table of weights", remedy);
        return None;
    };
    let dest = section.reader.text("dest", value)?;
    find_upstream(section.reader, &dest.text, dest.span, site).map(Action::Forward)
}

fn read_shares(reader: &Reader<'_>, entries: &DeTable<'_>, span: &Span, site: &mut Site<'_>) -> Option<Action> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut shares = Vec::new();
    for (key, value) in &entries {
        let name = key.get_ref().as_ref();
        let upstream = find_upstream(reader, name, key.span(), site);
        let weight = value.get_ref().as_integer().and_then(|number| number.as_str().parse::<u32>().ok());
        match weight.filter(|weight| *weight <= WEIGHT_MAX) {
            Some(weight) => {
                shares.extend(upstream.map(|upstream| Share { upstream, name: name.to_owned(), weight }));
            }
            None => {
                let remedy = format!("a whole number between 0 and {WEIGHT_MAX}, without quotes");
                reader.error(value.span(), format!("this is not a weight for `{name}`"), remedy);
            }
        }
    }
    if shares.len() < entries.len() {
        return None;
    }
    if shares.iter().all(|share| share.weight == 0) {
        let remedy = "give one of them a weight: `dest = { app-v1 = 95, app-v2 = 5 }`";
        reader.error(span.clone(), "nobody would get a request of this rule", remedy);
        return None;
    }
    Some(Action::Split(shares))
}

/// The upstream called `dest`, or a new one for a URL.
fn find_upstream(reader: &Reader<'_>, dest: &str, span: Span, site: &mut Site<'_>) -> Option<usize> {
    let upstreams = &mut site.upstreams;
    if let Some(index) = upstreams.iter().position(|upstream| upstream.name == dest) {
        return Some(index);
    }
    if dest.contains("://") || dest.starts_with("unix:") {
        upstreams.push(upstreams::anonymous(reader, dest, site.identity, span));
        return Some(upstreams.len() - 1);
    }
    let names = || upstreams.iter().map(|upstream| upstream.name.as_str());
    let remedy = match similar(dest, names()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None if dest.contains(':') => format!("did you mean \"http://{dest}\"?"),
        None if upstreams.is_empty() => format!("add it: [upstreams] {dest} = \"http://127.0.0.1:8080\""),
        None => format!("a URL, or one of {}", quoted_list(names())),
    };
    reader.error(span, format!("there is no upstream `{dest}`"), remedy);
    None
}
