//! One line a request: who asked for what, what was decided and why, who answered, how long it took.

use super::output::Output;
use crate::clock;
use serde::Serialize;
use std::{fmt::Write as _, io, net::IpAddr, time::Duration};

/// Writes the lines.
#[derive(Debug, Clone)]
pub struct AccessLog {
    output: Output,
    pretty: bool,
    query: bool,
}

/// One request. Fields that do not apply are left out of the line.
#[derive(Debug, Default, Serialize)]
pub struct Entry<'a> {
    /// When the request was over, RFC 3339.
    #[serde(rename = "timestamp")]
    pub time: String,
    /// Always `request`.
    pub message: &'static str,
    /// The status that was answered; 499 when the client left before the answer.
    pub status: u16,
    /// The method.
    pub method: &'a str,
    /// The path, normalised where that was possible.
    pub path: &'a str,
    /// The raw query, where `[log] query` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<&'a str>,
    /// Host as the client sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The request's id.
    pub request_id: &'a str,
    /// The rule that governed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// What is known about the caller: `session`, `anonymous`, `unknown`, `not_asked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    /// How long it took to find out who is calling, in milliseconds; left out where that was less than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ms: Option<f64>,
    /// Where the verdict comes from: `store`, `memory`, `stale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict_from: Option<&'static str>,
    /// Of a verdict from the store: whether memory was `armed`, or `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<&'static str>,
    /// The user's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Why the gateway itself answered, as the client was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Why, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'a str>,
    /// What would have been refused, were the rule enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_refuse: Option<&'static str>,
    /// The upstream that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// Until the upstream's head, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<f64>,
    /// Whole exchange, in milliseconds.
    pub ms: f64,
    /// Bytes of the response's body, or of a WebSocket to the client.
    pub bytes: u64,
    /// Bytes of a WebSocket from the client.
    #[serde(skip_serializing_if = "is_none")]
    pub received: u64,
    /// Cookies of the session's name that the upstream tried to set, and may not.
    #[serde(skip_serializing_if = "is_zero")]
    pub cookies_removed: usize,
    /// The session's record was too long for its header.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub record_left_out: bool,
    /// The body did not reach its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl AccessLog {
    /// A log for people or as JSON, with or without queries.
    pub fn new(output: Output, pretty: bool, query: bool) -> Self {
        Self { output, pretty, query }
    }

    /// Writes one line.
    pub fn write(&self, mut entry: Entry<'_>) {
        entry.time = now();
        entry.message = "request";
        if !self.query {
            entry.query = None;
        }
        let line = if self.pretty { pretty(&entry) } else { json(&entry) };
        self.output.line(line);
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_none(bytes: &u64) -> bool {
    *bytes == 0
}

/// A duration as milliseconds, to the microsecond.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn now() -> String {
    let since_epoch = jiff::SignedDuration::try_from(clock::since_epoch()).unwrap_or_default();
    let time = jiff::Timestamp::from_duration(since_epoch).unwrap_or_default();
    format!("{time:.3}")
}

fn json(entry: &Entry<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Escaping);
    // Writing to memory does not fail, and an entry holds nothing that JSON cannot.
    let _ = entry.serialize(&mut serializer);
    line.push(b'\n');
    line
}

fn pretty(entry: &Entry<'_>) -> Vec<u8> {
    let mut line = format!("{} {} {} {}", entry.time, entry.status, entry.method, entry.path);
    if let Some(query) = entry.query {
        let _ = write!(line, "?{query}");
    }
    let texts = [
        ("rule", entry.rule),
        ("verdict", entry.verdict),
        ("verdict_from", entry.verdict_from),
        ("memory", entry.memory),
        ("user", entry.user),
        ("reason", entry.reason),
        ("cause", entry.cause),
        ("would_refuse", entry.would_refuse),
        ("upstream", entry.upstream),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            let _ = match text.contains([' ', '"', '=']) {
                true => write!(line, " {name}={text:?}"),
                false => write!(line, " {name}={text}"),
            };
        }
    }
    let _ = write!(line, " {:.1}ms", entry.ms);
    if entry.record_left_out {
        line.push_str(" record_left_out");
    }
    if entry.cut {
        line.push_str(" cut");
    }
    let mut escaped = String::with_capacity(line.len() + 1);
    for character in line.chars() {
        if is_unsafe(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped.push('\n');
    escaped.into_bytes()
}

/// Characters that could forge a line or turn it around: controls, line separators, bidirectional overrides.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// JSON whose text holds no unsafe character even where JSON would allow it.
struct Escaping;

impl serde_json::ser::Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !fragment.contains(is_unsafe) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if is_unsafe(character) {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            } else {
                write!(writer, "{character}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry { user: Some("a\n\u{202e}\u{7f}\"b"), method: "GET", path: "/", ..Entry::default() }
    }

    #[test]
    fn control_and_bidirectional_characters_cannot_forge_a_line() {
        for line in [json(&entry()), pretty(&entry())] {
            let text = String::from_utf8(line).unwrap();
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.trim_end().contains(is_unsafe), "{text}");
        }
    }

    #[test]
    fn a_json_line_reads_back_as_what_was_written() {
        let line: serde_json::Value = serde_json::from_slice(&json(&entry())).unwrap();
        assert_eq!(line["user"], "a\n\u{202e}\u{7f}\"b");
        assert!(line.get("rule").is_none());
    }
}
