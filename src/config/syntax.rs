//! TOML that cannot be parsed: one finding a line, and no secret in it.

use super::{Span, section::Reader};

/// Whether two keys of one name are all that is wrong: then the rest of the file means what it says.
pub(super) fn only_repeats(faults: &[toml::de::Error]) -> bool {
    faults.iter().all(|fault| fault.message().contains("duplicate key"))
}

/// Reports syntax errors, the first of each line: the others follow from it.
pub(super) fn report(reader: &Reader<'_>, text: &str, faults: &[toml::de::Error]) {
    let mut faults: Vec<_> = faults.iter().map(|fault| (fault.span().unwrap_or(0..0), fault.message())).collect();
    faults.sort_by_key(|(span, _)| span.start);
    faults.dedup_by_key(|(span, _)| line_of(text, span.start));
    for (span, message) in faults {
        reader.error(span, format!("this is not TOML: {message}"), remedy(message));
    }
    for span in likely_secrets(text) {
        reader.hide(span);
    }
}

fn remedy(message: &str) -> &'static str {
    match message {
        _ if message.contains("duplicate key") => "a name may stand here only once: rename one, or remove it",
        _ if message.contains("must be quoted") => "put the text in double quotes",
        _ => "",
    }
}

fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count()
}

/// Where secrets probably stand in a text whose structure is unknown. Too much rather than too little.
fn likely_secrets(text: &str) -> Vec<Span> {
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
    fn whatever_may_be_a_secret_is_covered() {
        for text in [
            "secrets = [\"hunter2\"",
            "secrets = [\n  \"a\",\n  \"hunter2\n]\nx = 1",
            "  \"secret\" = hunter2",
            "Secrets=\"\"\"\nhunter2",
            "url = \"redis://u:hunter2@h",
            "session = { secrets = 'hunter2",
        ] {
            let spans = likely_secrets(text);
            let at = text.find("hunter2").expect("the secret");
            assert!(spans.iter().any(|span| span.start <= at && at + 7 <= span.end), "{text}: {spans:?}");
        }
        assert_eq!(likely_secrets("url = \"http://x\"\ndest = \"a@b\""), Vec::<Span>::new());
    }
}
