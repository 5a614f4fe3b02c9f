//! `[limits.NAME]`.

use super::{
    Span,
    diagnostic::Fault,
    keys::{Key, Shape, Table},
    section::Section,
};
use http::{HeaderName, StatusCode};
use std::time::Duration;

/// The keys of one limit.
pub(super) static TABLE: Table = Table {
    name: "[limits.NAME]",
    keys: &[
        Key {
            name: "requests",
            shape: Shape::Count { default: None, from: 1, to: 1_000_000_000 },
            meaning: "So many requests for each `per`. Required.",
        },
        Key {
            name: "per",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "The time in which `requests` come back, one after the other. Required.",
        },
        Key {
            name: "by",
            shape: Shape::Texts(&["ip"]),
            meaning: "What is counted: `ip` (IPv6 by /64), `user`, `session`, `header:NAME`, `response:NAME` (a header of \
                      the service, which the client does not see), or several together.",
        },
        Key {
            name: "burst",
            shape: Shape::Count { default: None, from: 1, to: 1_000_000_000 },
            meaning: "So many requests at once. By default `requests`.",
        },
        Key {
            name: "count",
            shape: Shape::Texts(&[]),
            meaning: "Only answers with these statuses count. By default all.",
        },
        Key {
            name: "scope",
            shape: Shape::Choice { default: Some("shared"), of: &["shared", "local"] },
            meaning: "`shared`: counted in the store, for all gateways together. `local`: in this process.",
        },
    ],
};

/// One limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Its name.
    pub name: String,
    /// `requests`
    pub requests: u32,
    /// `per`
    pub per: Duration,
    /// `by`: at least one.
    pub by: Vec<By>,
    /// `burst`
    pub burst: u32,
    /// `count`; empty = all.
    pub count: Vec<StatusCode>,
    /// `scope = "shared"`
    pub shared: bool,
}

/// What a limit counts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// `ip`
    Ip,
    /// `user`
    User,
    /// `session`
    Session,
    /// `header:NAME`
    Header(HeaderName),
    /// `response:NAME`
    Response(HeaderName),
}

/// Reads all of `[limits]`; each with where it stands.
pub(super) fn read(section: &Section<'_>) -> Vec<(Limit, Span)> {
    let entries = section.everything().into_iter();
    entries
        .filter_map(|(key, value)| {
            let name = key.get_ref().as_ref();
            section.reader.noted(&key.span(), check_name(name));
            let Some(entries) = value.get_ref().as_table() else {
                section.reader.wrong_type(name, value, "a table", format!("write it as {}", TABLE.name));
                return None;
            };
            let limit = read_one(Section::new(section.reader, &TABLE, Some(entries), key.span()), name);
            Some((limit, key.span()))
        })
        .collect()
}

fn read_one(mut section: Section<'_>, name: &str) -> Limit {
    section.require("requests", "say how many: `requests = 5`");
    section.require("per", "say in which time: `per = \"15m\"`");
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let requests = section.count("requests").map_or(1, narrow);
    let limit = Limit {
        name: name.to_owned(),
        requests,
        per: section.optional_duration("per").unwrap_or(Duration::from_secs(1)),
        by: section.parsed_list("by", parse_by),
        burst: section.count("burst").map_or(requests, narrow),
        count: section.parsed_list("count", parse_status),
        shared: section.choice("scope") == Some("shared"),
    };
    section.refuse_repeated("by", "thing", &limit.by);
    if limit.by.iter().filter(|by| matches!(by, By::Response(_))).count() > 1 {
        section.reader.error(section.span_of("by"), "`by` names two headers of one response", "keep one of them");
    }
    section.finish();
    limit
}

fn check_name(name: &str) -> Result<(), Fault> {
    let sane = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if name.is_empty() || !sane {
        return Err(Fault::new(format!("`{name}` is not a name for a limit"), "letters, digits, `-` and `_`"));
    }
    Ok(())
}

fn parse_by(text: &str) -> Result<By, Fault> {
    let remedy = "`ip`, `user`, `session`, `header:NAME` or `response:NAME`";
    let header = |name: &str| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Fault::new(format!("`{name}` is not a header name"), "such as `header:X-Api-Key`"))
    };
    match text.split_once(':') {
        None if text == "ip" => Ok(By::Ip),
        None if text == "user" => Ok(By::User),
        None if text == "session" => Ok(By::Session),
        Some(("header", name)) => header(name).map(By::Header),
        Some(("response", name)) => header(name).map(By::Response),
        _ => Err(Fault::new(format!("nothing can be counted by `{text}`"), remedy)),
    }
}

fn parse_status(text: &str) -> Result<StatusCode, Fault> {
    text.parse().map_err(|_| Fault::new(format!("`{text}` is not a status"), "such as \"401\""))
}
