//! `onedoor check`: everything that is wrong with a configuration, at once.

use super::{Outcome, load, say};
use crate::{config::Config, reload::Source};

pub(super) fn run(source: &Source) -> Outcome {
    let loaded = load(source)?;
    let Some(config) = &loaded.config else { return Ok(()) };
    say(format_args!("{} is good: {}", loaded.source.name(), summary(config)))
}

fn summary(config: &Config) -> String {
    let rules = counted(config.rules.len(), "rule");
    let upstreams = counted(config.upstreams.len(), "upstream");
    let names: Vec<_> = config.sessions.iter().map(|session| session.name.as_str()).collect();
    let sessions = if names.is_empty() { "no session".to_owned() } else { format!("sessions: {}", names.join(", ")) };
    format!("{rules}, {upstreams}, {sessions}")
}

fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
