//! `[log]`.

use super::{
    keys::{Key, Shape, Table},
    section::Section,
};
use std::io::IsTerminal;
use tracing::Level;

/// The keys of `[log]`.
pub(super) static TABLE: Table = Table {
    name: "[log]",
    keys: &[
        Key {
            name: "format",
            shape: Shape::Choice { default: Some("auto"), of: &["auto", "pretty", "json"] },
            meaning: "`auto` is `pretty` on a terminal, else `json`.",
        },
        Key {
            name: "level",
            shape: Shape::Choice { default: Some("info"), of: &["error", "warn", "info", "debug", "trace"] },
            meaning: "The least important events that are logged.",
        },
        Key { name: "access", shape: Shape::Flag(true), meaning: "One line a request." },
        Key { name: "query", shape: Shape::Flag(false), meaning: "Log queries too; they may hold secrets." },
    ],
};

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `format`
    pub format: Format,
    /// `level`
    pub level: Level,
    /// `access`: one line a request.
    pub access: bool,
    /// `query`: queries are logged too.
    pub query: bool,
}

impl Log {
    /// Whether lines are for people: as configured, else whether a person is looking.
    pub fn is_pretty(&self) -> bool {
        match self.format {
            Format::Pretty => true,
            Format::Json => false,
            Format::Auto => std::io::stdout().is_terminal(),
        }
    }
}

/// `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `pretty` on a terminal, else `json`.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Reads `[log]`.
pub(super) fn read(mut section: Section<'_>) -> Log {
    let format = match section.choice("format") {
        Some("pretty") => Format::Pretty,
        Some("json") => Format::Json,
        _ => Format::Auto,
    };
    let level = section.choice("level").and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let log = Log { format, level, access: section.flag("access"), query: section.flag("query") };
    section.finish();
    log
}
