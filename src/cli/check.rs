//! `onedoor check`: everything that is wrong with a configuration, at once.

use super::{Exit, Outcome, colour, load_aloud, say};
use crate::{config::Config, gateway::check::check, reload::Source};

pub(super) fn run(source: &Source) -> Outcome {
    let mut loaded = load_aloud(source)?;
    let Some(config) = &loaded.config else { return Ok(()) };
    check(config, &mut loaded.diagnostics);
    if loaded.diagnostics.has_errors() {
        return Err(Exit::misconfigured(loaded.diagnostics.render(&loaded.source, colour())));
    }
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
