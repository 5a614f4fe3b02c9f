//! `[store.cache]` and `[store.outage]`: what is kept in memory, and what it is worth while the store is out of reach.

use crate::config::{
    keys::{Key, Shape, Table},
    section::Section,
};
use std::time::Duration;

/// The keys of `[store.cache]`.
pub(super) static TABLE: Table = Table {
    name: "[store.cache]",
    keys: &[
        Key {
            name: "entries",
            shape: Shape::Count { default: Some(100_000), from: 0, to: 100_000_000 },
            meaning: "How many sessions are kept in memory; 0 asks the store on every request. A record of more than \
                      4 KiB counts for several.",
        },
        Key {
            name: "max_staleness",
            shape: Shape::Duration { default: Some("2s"), zero: false },
            meaning: "Nothing is answered from memory that was not proven to be current within this time.",
        },
        Key {
            name: "invalidation",
            shape: Shape::Choice { default: Some("auto"), of: &["auto", "events", "tracking"] },
            meaning: "How Redis says that a session changed: `events` (keyspace events, which leave out renewals), \
                      `tracking` (client tracking), `auto`: events where the server has them on, else tracking.",
        },
        Key {
            name: "configure",
            shape: Shape::Flag(false),
            meaning: "Lets the gateway add the flags that `events` needs to the server's `notify-keyspace-events`.",
        },
    ],
};

/// The keys of `[store.outage]`.
pub(super) static OUTAGE: Table = Table {
    name: "[store.outage]",
    keys: &[
        Key {
            name: "policy",
            shape: Shape::Choice { default: Some("refuse"), of: &["refuse", "stale"] },
            meaning: "While the store cannot be asked: 503, or let sessions pass that were proven within `stale_for`.",
        },
        Key {
            name: "stale_for",
            shape: Shape::Duration { default: Some("5m"), zero: false },
            meaning: "How long after its last proof a session may pass where `stale` rules.",
        },
    ],
};

/// `[store.cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// `entries`: how many sessions; 0 = none.
    pub entries: usize,
    /// `max_staleness`
    pub max_staleness: Duration,
    /// `invalidation`
    pub invalidation: Invalidation,
    /// `configure`
    pub configure: bool,
}

/// `invalidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalidation {
    /// Events where they are on, else tracking.
    Auto,
    /// Keyspace events.
    Events,
    /// Client tracking.
    Tracking,
}

/// `[store.outage]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// `policy`
    pub policy: OnOutage,
    /// `stale_for`
    pub stale_for: Duration,
}

/// What a request gets that needs the store while that cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOutage {
    /// 503.
    Refuse,
    /// Passes with a session that was proven not long ago; else 503.
    Stale,
    /// Passes without identity and without the session's cookie; on optional rules only.
    Anonymous,
}

/// Reads `[store.cache]`.
pub(super) fn read(mut section: Section<'_>) -> Cache {
    let cache = Cache {
        entries: section.count("entries").unwrap_or_default(),
        max_staleness: section.duration("max_staleness"),
        invalidation: match section.choice("invalidation") {
            Some("events") => Invalidation::Events,
            Some("tracking") => Invalidation::Tracking,
            _ => Invalidation::Auto,
        },
        configure: section.flag("configure"),
    };
    if cache.configure && cache.invalidation == Invalidation::Tracking {
        let message = "`configure` means nothing with `invalidation = \"tracking\"`, which needs no events";
        section.reader.error(section.span_of("configure"), message, "leave one of them out");
    }
    if cache.entries == 0 {
        for name in ["max_staleness", "invalidation", "configure"] {
            if section.has(name) {
                let message = format!("`{name}` means nothing with `entries = 0`: nothing is kept in memory");
                section.reader.warning(section.span_of(name), message, "leave it out");
            }
        }
    }
    section.finish();
    cache
}

/// Reads `[store.outage]`.
pub(super) fn read_outage(mut section: Section<'_>, cache: &Cache) -> Outage {
    let policy = match section.choice("policy") {
        Some("stale") => OnOutage::Stale,
        _ => OnOutage::Refuse,
    };
    if policy == OnOutage::Stale && cache.entries == 0 {
        let remedy = "leave out `entries = 0` in [store.cache], or write `policy = \"refuse\"`";
        section.reader.error(section.span_of("policy"), "nothing is kept in memory that could be stale", remedy);
    }
    let outage = Outage { policy, stale_for: section.duration("stale_for") };
    section.finish();
    outage
}
