//! JSON, read within bounds as its language reads it, and written compactly.

mod writer;

use super::{Fault, Value, budget::Budget, input::ENDED, selection::Selection};
use smol_str::SmolStr;
use std::mem::take;

pub use writer::{write, write_ascii, write_map};

/// Whose JSON it is: languages write, and read, more than RFC 8259 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// Nobody's in particular.
    Anyone,
    /// Text may hold half of a surrogate pair, as is left of an emoji where text was cut. It is shown without it, and is
    /// never a user's id or a role.
    JavaScript,
    /// So may Python's. Numbers may be `NaN` or infinite, which are read as `null`.
    Python,
    /// To serde_json `-0` and what 64 bits cannot hold are no whole numbers.
    Rust,
}

/// Reads one JSON text (RFC 8259), white space around it allowed and nothing else.
///
/// Of equal keys all are kept and the last counts. Invalid UTF-8, a byte order mark and lone surrogates are faults,
/// and so is whatever lies beyond the [`Budget`].
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    read_as(Author::Anyone, bytes)
}

/// As [`read`], with what its author writes beside.
pub fn read_as(author: Author, bytes: &[u8]) -> Result<Value, Fault> {
    read_selected(author, bytes, &Selection::whole())
}

/// As [`read_as`], faults included, but of maps only the selected members are kept.
pub fn read_selected(author: Author, bytes: &[u8], selection: &Selection) -> Result<Value, Fault> {
    let budget = Budget::of(bytes)?;
    let text = std::str::from_utf8(bytes).map_err(|_| Fault("not UTF-8"))?;
    let mut reader = Reader { text, at: 0, budget, author, is_halved: false };
    let value = reader.value(selection)?;
    reader.skip_space();
    if reader.at != text.len() { Err(Fault("text after the value")) } else { Ok(value) }
}

/// The place in a text, and what may still be read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    budget: Budget,
    author: Author,
    /// The text that was read last holds half of a surrogate pair.
    is_halved: bool,
}

impl Reader<'_> {
    fn value(&mut self, selection: &Selection) -> Result<Value, Fault> {
        self.budget.node()?;
        self.skip_space();
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                Ok(if take(&mut self.is_halved) { Value::Shown(text) } else { Value::Text(text) })
            }
            Some(b'{') => self.map(selection),
            Some(b'[') => self.list(),
            Some(b'N' | b'I' | b'-') if self.skips_not_finite() => Ok(Value::Null),
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
            Some(b'"') => {
                self.skip_string()?;
                self.is_halved = false;
                Ok(())
            }
            Some(b'{') => self.skip_all(b'}', |reader| {
                reader.begin_key()?;
                reader.skip_string()?;
                reader.end_key()?;
                reader.skip()
            }),
            Some(b'[') => self.skip_all(b']', Self::skip),
            Some(b'N' | b'I' | b'-') if self.skips_not_finite() => Ok(()),
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
        if self.is_halved {
            return Err(LONE_SURROGATE);
        }
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
        let behind = self.at;
        if unit < 0xdc00 && self.text[behind..].starts_with("\\u") {
            self.at += 2;
            if let Some(low) = self.hex_unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400) {
                return char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low).ok_or(LONE_SURROGATE);
            }
            self.at = behind;
        }
        if matches!(self.author, Author::Anyone | Author::Rust) {
            return Err(LONE_SURROGATE);
        }
        self.is_halved = true;
        Ok(char::REPLACEMENT_CHARACTER)
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

    /// Steps over one of Python's words for what is no finite number.
    fn skips_not_finite(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let words = ["NaN", "Infinity", "-Infinity"].into_iter().filter(|_| self.author == Author::Python);
        let length = words.filter(|word| rest.starts_with(word)).map(str::len).next();
        self.at += length.unwrap_or(0);
        length.is_some()
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let whole = self.skip_number()?;
        let is_rust = self.author == Author::Rust;
        Ok(match &self.text[start..self.at] {
            text if is_rust && (text == "-0" || text.parse::<i64>().is_err() && text.parse::<u64>().is_err()) => {
                Value::Float(text.into())
            }
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

#[cfg(test)]
mod tests;
