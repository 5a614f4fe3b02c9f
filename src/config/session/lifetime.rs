//! How long a session is good beyond what the store says: `max_age`, `started_at`, `idle_timeout`, `touch`.

use super::preset::Preset;
use crate::config::{diagnostic::Fault, path::RecordPath, section::Section};
use std::time::Duration;

/// The limits of sessions that apps write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// `max_age`: from `started_at`. Never without it.
    pub max_age: Option<Duration>,
    /// `started_at`
    pub started_at: Option<StartedAt>,
    /// `idle_timeout`
    pub idle_timeout: Option<Duration>,
    /// `touch`
    pub touch: Touch,
}

/// `started_at`: where the login time is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartedAt {
    /// `"first_seen"`: the gateway notes when it first sees a user under an id.
    FirstSeen,
    /// In the record.
    Path(RecordPath),
}

/// `touch`: whether the gateway renews records as their app would on a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Touch {
    /// `"never"`
    #[default]
    Never,
    /// `"auto"`
    Auto {
        /// `ttl`: for how long, where the record does not say so itself.
        ttl: Option<Duration>,
    },
}

/// Reads the limits. Those of the gateway's own sessions are the format's.
pub(super) fn read(section: &mut Section<'_>, preset: &Preset) -> Lifetime {
    if preset.format == "onedoor" {
        section.refuse("started_at", "sessions of the gateway's own know when they began", "leave it out");
        section.refuse("idle_timeout", "sessions of the gateway's own have `ttl` for this", "write `ttl`");
        section.refuse("touch", "sessions of the gateway's own are renewed whenever they are used", "leave it out");
        return Lifetime::default();
    }
    let (max_age, started_at) = (section.optional_duration("max_age"), section.parsed("started_at", parse_started_at));
    if section.has("max_age") && !section.has("started_at") {
        let remedy = "name the path to the login time, such as `started_at = \"user.loggedInAt\"`, \
                      or write \"first_seen\": when the gateway first saw the user under this id";
        section.reader.error(section.span_of("max_age"), "`max_age` needs `started_at`", remedy);
    }
    let idle_timeout = section.optional_duration("idle_timeout");
    Lifetime { max_age, started_at, idle_timeout, touch: read_touch(section, preset) }
}

fn read_touch(section: &mut Section<'_>, preset: &Preset) -> Touch {
    let auto = section.choice("touch") == Some("auto");
    let ttl = section.optional_duration("ttl");
    if !auto {
        if section.has("ttl") {
            let remedy = "write `touch = \"auto\"`, or leave `ttl` out: the app decides how long its records live";
            section.reader.error(section.span_of("ttl"), "`ttl` means nothing without `touch = \"auto\"`", remedy);
        }
        return Touch::Never;
    }
    let span = section.span_of("touch");
    if !preset.renews_on_read {
        let message = format!("a read alone does not renew sessions of `format = \"{}\"`", preset.format);
        section.reader.error(span, message, "leave `touch` out: the app renews them itself");
    } else if !section.has("ttl") && preset.format == "express" {
        let message = "sessions whose cookie has no `maxAge` are not renewed";
        section.reader.warning(span, message, "add the `ttl` of the app's store, by default `ttl = \"1d\"`");
    } else if !section.has("ttl") {
        let message =
            format!("`touch` needs `ttl`: records of `format = \"{}\"` do not say how long they live", preset.format);
        section.reader.error(span, message, "write how long the app lets its sessions live, such as `ttl = \"1d\"`");
    }
    Touch::Auto { ttl }
}

fn parse_started_at(text: &str) -> Result<StartedAt, Fault> {
    if text == "first_seen" { Ok(StartedAt::FirstSeen) } else { RecordPath::parse(text).map(StartedAt::Path) }
}
