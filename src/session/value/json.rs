//! JSON, read within bounds as `JSON.parse` reads it, and written compactly.

use super::{Fault, Value, budget::Budget, input::ENDED, selection::Selection};
use smol_str::SmolStr;
use std::fmt::Write;

/// Reads one JSON text (RFC 8259), white space around it allowed and nothing else.
///
/// Of equal keys all are kept and the last counts. Invalid UTF-8, a byte order mark and lone surrogates are faults,
/// and so is whatever lies beyond the [`Budget`].
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    read_selected(bytes, &Selection::whole())
}

/// As [`read`], faults included, but of maps only the selected members are kept.
pub fn read_selected(bytes: &[u8], selection: &Selection) -> Result<Value, Fault> {
    let budget = Budget::of(bytes)?;
    let text = std::str::from_utf8(bytes).map_err(|_| Fault("not UTF-8"))?;
    let mut reader = Reader { text, at: 0, budget };
    let value = reader.value(selection)?;
    reader.skip_space();
    if reader.at != text.len() { Err(Fault("text after the value")) } else { Ok(value) }
}

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

/// The place in a text, and what may still be read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    budget: Budget,
}

impl Reader<'_> {
    fn value(&mut self, selection: &Selection) -> Result<Value, Fault> {
        self.budget.node()?;
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'{') => self.map(selection),
            Some(b'[') => self.list(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err(NO_VALUE),
            None => Err(ENDED),
        }
    }

    /// Steps over a value that nobody will look at.
    fn skip(&mut self) -> Result<(), Fault> {
        self.budget.node()?;
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => self.skip_all(b'}', |reader| {
                reader.begin_key()?;
                reader.skip_string()?;
                reader.end_key()?;
                reader.skip()
            }),
            Some(b'[') => self.skip_all(b']', Self::skip),
            Some(b'-' | b'0'..=b'9') => self.skip_number().map(|_whole| ()),
            Some(b't') => self.word("true", ()),
            Some(b'f') => self.word("false", ()),
            Some(b'n') => self.word("null", ()),
            Some(_) => Err(NO_VALUE),
            None => Err(ENDED),
        }
    }

    fn skip_all(&mut self, close: u8, skip_one: impl Fn(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.opens_empty(close)? {
            return Ok(());
        }
        loop {
            skip_one(self)?;
            if self.closes(close)? {
                return Ok(());
            }
        }
    }

    fn map(&mut self, selection: &Selection) -> Result<Value, Fault> {
        let mut entries = Vec::new();
        if self.opens_empty(b'}')? {
            return Ok(Value::Map(entries));
        }
        loop {
            self.begin_key()?;
            let key = self.string()?;
            self.end_key()?;
            match selection.member(&key) {
                Some(selection) => entries.push((key, self.value(selection)?)),
                None => self.skip()?,
            }
            if self.closes(b'}')? {
                return Ok(Value::Map(entries));
            }
        }
    }

    fn begin_key(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.peek() == Some(b'"') { Ok(()) } else { Err(Fault("a key is missing")) }
    }

    fn end_key(&mut self) -> Result<(), Fault> {
        self.skip_space();
        self.expect(b':')
    }

    /// A list is kept whole: seldom does a path step into one.
    fn list(&mut self) -> Result<Value, Fault> {
        let whole = Selection::whole();
        let mut items = Vec::new();
        if self.opens_empty(b']')? {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(&whole)?);
            if self.closes(b']')? {
                return Ok(Value::List(items));
            }
        }
    }

    /// Steps over the opening bracket, and over the closing one if nothing lies between.
    fn opens_empty(&mut self, close: u8) -> Result<bool, Fault> {
        self.budget.open()?;
        self.at += 1;
        self.skip_space();
        let empty = self.peek() == Some(close);
        if empty {
            self.at += 1;
            self.budget.close();
        }
        Ok(empty)
    }

    /// Steps over a comma (`false`) or the closing bracket (`true`).
    fn closes(&mut self, close: u8) -> Result<bool, Fault> {
        self.skip_space();
        let next = self.peek().ok_or(ENDED)?;
        if next != close && next != b',' {
            return Err(Fault("a comma is missing"));
        }
        self.at += 1;
        if next == close {
            self.budget.close();
        }
        Ok(next == close)
    }

    fn string(&mut self) -> Result<SmolStr, Fault> {
        self.at += 1;
        let start = self.at;
        match self.plain_run()? {
            b'"' => Ok(self.text[start..self.at - 1].into()),
            _ => self.escaped_string(start),
        }
    }

    fn skip_string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        while self.plain_run()? == b'\\' {
            self.escape()?;
        }
        Ok(())
    }

    /// Reads on from the first backslash, which lies just before the place.
    fn escaped_string(&mut self, start: usize) -> Result<SmolStr, Fault> {
        let mut out = String::from(&self.text[start..self.at - 1]);
        loop {
            out.push(self.escape()?);
            let run = self.at;
            let end = self.plain_run()?;
            out.push_str(&self.text[run..self.at - 1]);
            if end == b'"' {
                return Ok(out.into());
            }
        }
    }

    /// Steps over text without escapes and over the quote or backslash that ends it, which is returned.
    fn plain_run(&mut self) -> Result<u8, Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| ENDS_RUN[usize::from(*byte)]).ok_or(ENDED)?;
        self.at += length + 1;
        match rest[length] {
            end @ (b'"' | b'\\') => Ok(end),
            _ => Err(Fault("a control character in text")),
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let kind = self.peek().ok_or(ENDED)?;
        self.at += 1;
        Ok(match kind {
            b'"' | b'\\' | b'/' => kind.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(Fault("an unknown escape")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let unit = self.hex_unit()?;
        if let Some(character) = char::from_u32(unit) {
            return Ok(character);
        }
        let paired = unit < 0xdc00 && self.text[self.at..].starts_with("\\u");
        if !paired {
            return Err(LONE_SURROGATE);
        }
        self.at += 2;
        let low = self.hex_unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(LONE_SURROGATE)?;
        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low).ok_or(LONE_SURROGATE)
    }

    fn hex_unit(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or(Fault("not four hex digits"))?;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let whole = self.skip_number()?;
        Ok(match &self.text[start..self.at] {
            // One number, one text: JavaScript prints this one without its sign.
            "-0" => Value::Integer("0".into()),
            text if whole => Value::Integer(text.into()),
            text => Value::Float(text.into()),
        })
    }

    /// Steps over a number; whether it is a whole one.
    fn skip_number(&mut self) -> Result<bool, Fault> {
        self.at += usize::from(self.peek() == Some(b'-'));
        let leading_zero = self.peek() == Some(b'0');
        if self.digits()? > 1 && leading_zero {
            return Err(Fault("a number with a leading zero"));
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(whole)
    }

    fn digits(&mut self) -> Result<usize, Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(Fault("a digit is missing")) } else { Ok(count) }
    }

    fn word<T>(&mut self, word: &str, value: T) -> Result<T, Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(NO_VALUE);
        }
        self.at += word.len();
        Ok(value)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(Fault("a colon is missing"));
        }
        self.at += 1;
        Ok(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The bytes that end a run of plain text.
static ENDS_RUN: [bool; 256] = {
    let mut ends = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        ends[control] = true;
        control += 1;
    }
    ends[b'"' as usize] = true;
    ends[b'\\' as usize] = true;
    ends
};

const NO_VALUE: Fault = Fault("not a JSON value");
const LONE_SURROGATE: Fault = Fault("a lone surrogate");

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

#[cfg(test)]
mod tests;
