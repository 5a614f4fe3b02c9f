//! Where secrets stand in a file, so that no finding shows them: rather too much than too little.

use super::{Span, reader::Value};
use toml::de::{DeTable, DeValue};

/// The places in a file that was parsed: what keys call secret, and URLs with a user.
///
/// A value that only names an environment variable may be seen.
pub(super) fn in_table(entries: &DeTable<'_>) -> Vec<Span> {
    let mut spans = Vec::new();
    collect_all(entries, false, &mut spans);
    spans
}

fn collect_all(entries: &DeTable<'_>, secret: bool, spans: &mut Vec<Span>) {
    entries.iter().for_each(|(key, value)| collect(value, secret || is_secretive(key.get_ref()), spans));
}

fn is_secretive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["secret", "password", "token", "block_key"].iter().any(|word| key.contains(word)) && !key.ends_with("_file")
}

fn collect(value: &Value<'_>, secret: bool, spans: &mut Vec<Span>) {
    match value.get_ref() {
        DeValue::Array(values) => values.iter().for_each(|value| collect(value, secret, spans)),
        DeValue::Table(entries) => collect_all(entries, secret, spans),
        DeValue::String(text) if secret => spans.extend((!names_variable(text)).then(|| value.span())),
        // `scheme://user:password@host`, also misspelled.
        DeValue::String(text) if text.contains(':') && text.contains('@') => spans.push(value.span()),
        _ if secret => spans.push(value.span()),
        _ => {}
    }
}

fn names_variable(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1) && !text.contains(":-")
}

/// The places in a text whose structure is unknown, because it cannot be parsed.
pub(super) fn in_text(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for line in lines(text) {
        let content = &text[line.clone()];
        let key = content.to_ascii_lowercase().find("secret");
        if let Some((key, equals)) = key.and_then(|key| Some((key, content[key..].find('=')?))) {
            spans.push(value_span(text, line.start + key + equals + 1, line.end));
        } else if let (Some(scheme), Some(at)) = (content.find("://"), content.rfind('@')) {
            spans.push(line.start + scheme + 3..line.start + at.max(scheme + 3));
        }
    }
    spans
}

/// The value from `start`: to the end of the line, or for what is opened there, to where it seems to be closed.
fn value_span(text: &str, start: usize, line_end: usize) -> Span {
    let value = text[start..].trim_start();
    let close =
        ["[", "\"\"\"", "'''"].into_iter().zip(["]", "\"\"\"", "'''"]).find(|(open, _)| value.starts_with(open));
    let Some((open, close)) = close else { return start..line_end };
    let inside = text.len() - value.len() + open.len();
    let end = text[inside..].find(close).map_or(text.len(), |length| inside + length);
    start..end.max(line_end)
}

fn lines(text: &str) -> impl Iterator<Item = Span> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let span = start..start + line.trim_end_matches('\n').len();
        start += line.len();
        span
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_secretive_table_is_covered_and_its_header_is_not() {
        for text in [
            "[token]\nkeys = ['hunter2']",
            "token = { a = { b = 'hunter2' } }",
            "[a.token.b]\nc = 'x'\nd = 'hunter2'",
            "[store]\nurl = 'redis://u:hunter2@h'",
        ] {
            let spans = in_table(DeTable::parse(text).expect("the text is TOML").get_ref());
            let at = text.find("hunter2").expect("the secret");
            assert!(spans.iter().any(|span| span.start <= at && at + 7 <= span.end), "{text}: {spans:?}");
            assert!(spans.iter().all(|span| span.start > 0), "{text}: {spans:?}");
        }
    }

    #[test]
    fn whatever_may_be_a_secret_is_covered() {
        for text in [
            "secrets = [\"hunter2\"",
            "secrets = [\n  \"a\",\n  \"hunter2\n]\nx = 1",
            "  \"secret\" = hunter2",
            "Secrets=\"\"\"\nhunter2",
            "url = \"redis://u:hunter2@h",
            "session = { secrets = 'hunter2",
        ] {
            let spans = in_text(text);
            let at = text.find("hunter2").expect("the secret");
            assert!(spans.iter().any(|span| span.start <= at && at + 7 <= span.end), "{text}: {spans:?}");
        }
        assert_eq!(in_text("url = \"http://x\"\ndest = \"a@b\""), Vec::<Span>::new());
    }
}
