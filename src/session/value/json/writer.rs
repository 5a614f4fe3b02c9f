//! JSON, written compactly.

use super::Value;
use smol_str::SmolStr;
use std::fmt::Write;

/// Writes `value` without white space, text as UTF-8.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value, false);
    out
}

/// Writes a map without white space, text as UTF-8.
pub fn write_map<'a>(entries: impl Iterator<Item = &'a (SmolStr, Value)>) -> String {
    let mut out = String::new();
    push_map(&mut out, entries, false);
    out
}

/// Writes `value` without white space and in ASCII alone, everything else as `\uXXXX`.
pub fn write_ascii(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value, true);
    out
}

fn push(out: &mut String, value: &Value, ascii: bool) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Integer(text) | Value::Float(text) => out.push_str(text),
        Value::Text(text) | Value::Shown(text) => push_text(out, text, ascii),
        Value::List(items) => {
            push_all(out, ['[', ']'], items, |out, item| push(out, item, ascii));
        }
        Value::Map(entries) => push_map(out, entries.iter(), ascii),
    }
}

fn push_map<'a>(out: &mut String, entries: impl Iterator<Item = &'a (SmolStr, Value)>, ascii: bool) {
    push_all(out, ['{', '}'], entries, |out, (key, item)| {
        push_text(out, key, ascii);
        out.push(':');
        push(out, item, ascii);
    });
}

fn push_all<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl IntoIterator<Item = T>,
    mut push_one: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_one(out, item);
    }
    out.push(close);
}

fn push_text(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            _ if character >= ' ' && !ascii => out.push(character),
            _ => push_units(out, character),
        }
    }
    out.push('"');
}

fn push_units(out: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        write!(out, "\\u{unit:04x}").expect("a String takes whatever is written");
    }
}
