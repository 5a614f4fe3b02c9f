//! TOML that cannot be parsed: one finding a line.

use super::reader::Reader;

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
}

fn remedy(message: &str) -> &'static str {
    let says = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    match () {
        () if says(&["duplicate key"]) => "a name may stand here only once: rename one, or remove it",
        () if says(&["must be quoted", "expected nothing"]) => "put the text in double quotes",
        () if says(&["boolean"]) => "write true or false, in lower case",
        () if says(&["escape"]) => "write `\\\\` for a backslash, or put the text in single quotes",
        () if says(&["comma"]) => "put a comma before it",
        () if says(&["unclosed", " string"]) => "close here, or earlier, what was opened",
        () => "a line is `key = value`, or names a section: `[server]`, `[[rules]]`",
    }
}

fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count()
}
