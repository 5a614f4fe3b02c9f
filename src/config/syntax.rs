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
    match message {
        _ if message.contains("duplicate key") => "a name may stand here only once: rename one, or remove it",
        _ if message.contains("must be quoted") => "put the text in double quotes",
        _ => "",
    }
}

fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count()
}
