//! MessagePack as data.

use super::{Fault, Value, budget::Budget, input::Input};
use jiff::Timestamp;

/// Reads one value and nothing else.
///
/// Timestamps are shown in RFC 3339, other extensions as bytes. Text that is not UTF-8 and maps as keys are faults.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    read_with(bytes, Keys::Any)
}

/// What a map's keys may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Anything but maps.
    Any,
    /// Text or bytes: Python's `msgpack` reads nothing else.
    Texts,
    /// Text alone: so does Rust where it reads into maps of text.
    TextAlone,
}

/// As [`read`], where not every key will do.
pub fn read_with(bytes: &[u8], keys: Keys) -> Result<Value, Fault> {
    let mut reader = Reader { input: Input::new(bytes), budget: Budget::of(bytes)?, keys };
    let value = reader.value()?;
    if reader.input.is_empty() { Ok(value) } else { Err(Fault("something follows the value")) }
}

struct Reader<'a> {
    input: Input<'a>,
    budget: Budget,
    keys: Keys,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, Fault> {
        self.budget.node()?;
        let kind = self.input.byte()?;
        match kind {
            0x00..=0x7f => Ok(Value::integer(kind)),
            0xe0..=0xff => Ok(Value::integer(kind.cast_signed())),
            0x80..=0x8f => self.map(u64::from(kind & 0x0f)),
            0x90..=0x9f => self.list(u64::from(kind & 0x0f)),
            0xa0..=0xbf => self.text(u64::from(kind & 0x1f)),
            0xc0 => Ok(Value::Null),
            0xc2 | 0xc3 => Ok(Value::Bool(kind == 0xc3)),
            0xc4..=0xc6 => {
                let length = self.uint(kind - 0xc4)?;
                self.bytes(length)
            }
            0xc7..=0xc9 => {
                let length = self.uint(kind - 0xc7)?;
                self.extension(length)
            }
            0xca => Ok(Value::float(f64::from(f32::from_be_bytes(self.input.array()?)))),
            0xcb => Ok(Value::float(f64::from_be_bytes(self.input.array()?))),
            0xcc..=0xcf => self.uint(kind - 0xcc).map(Value::integer),
            0xd0 => Ok(Value::integer(i8::from_be_bytes(self.input.array()?))),
            0xd1 => Ok(Value::integer(i16::from_be_bytes(self.input.array()?))),
            0xd2 => Ok(Value::integer(i32::from_be_bytes(self.input.array()?))),
            0xd3 => Ok(Value::integer(i64::from_be_bytes(self.input.array()?))),
            0xd4..=0xd8 => self.extension(1 << (kind - 0xd4)),
            0xd9..=0xdb => {
                let length = self.uint(kind - 0xd9)?;
                self.text(length)
            }
            0xdc | 0xdd => {
                let count = self.uint(kind - 0xdc + 1)?;
                self.list(count)
            }
            0xde | 0xdf => {
                let count = self.uint(kind - 0xde + 1)?;
                self.map(count)
            }
            0xc1 => Err(Fault("not MessagePack")),
        }
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes.
    fn uint(&mut self, width: u8) -> Result<u64, Fault> {
        let bytes = self.input.take(1_usize << width)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, length: u64) -> Result<Value, Fault> {
        let text = str::from_utf8(self.input.take(length)?).map_err(|_| Fault("text that is not UTF-8"))?;
        Ok(Value::Text(text.into()))
    }

    fn bytes(&mut self, length: u64) -> Result<Value, Fault> {
        self.input.take(length).map(Value::bytes)
    }

    fn list(&mut self, count: u64) -> Result<Value, Fault> {
        self.budget.open()?;
        // Grown as values are found: nothing is set aside for a number that the record claims.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.value()?);
        }
        self.budget.close();
        Ok(Value::List(items))
    }

    fn map(&mut self, count: u64) -> Result<Value, Fault> {
        self.budget.open()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let is_text = match self.input.peek() {
                Some(0xa0..=0xbf | 0xd9..=0xdb) => true,
                Some(0xc4..=0xc6) => self.keys == Keys::Texts,
                _ => false,
            };
            let key = match self.value()? {
                Value::Map(_) => return Err(Fault("a map as a key")),
                _ if !is_text && self.keys != Keys::Any => return Err(Fault("a key that is no text")),
                key => key.into_key(),
            };
            entries.push((key, self.value()?));
        }
        self.budget.close();
        Ok(Value::Map(entries))
    }

    fn extension(&mut self, length: u64) -> Result<Value, Fault> {
        let kind = i8::from_be_bytes(self.input.array()?);
        let data = self.input.take(length)?;
        if kind != -1 {
            return Ok(Value::bytes(data));
        }
        let (seconds, nanoseconds) = match data {
            [a, b, c, d] => (i64::from(u32::from_be_bytes([*a, *b, *c, *d])), 0),
            [a, b, c, d, e, f, g, h] => {
                let both = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                ((both & 0x3_ffff_ffff).cast_signed(), (both >> 34) as u32)
            }
            [a, b, c, d, seconds @ ..] => match seconds.try_into() {
                Ok(seconds) => (i64::from_be_bytes(seconds), u32::from_be_bytes([*a, *b, *c, *d])),
                Err(_) => return Err(NO_TIME),
            },
            _ => return Err(NO_TIME),
        };
        let nanoseconds = i32::try_from(nanoseconds).ok().filter(|count| *count < 1_000_000_000).ok_or(NO_TIME)?;
        let time = Timestamp::new(seconds, nanoseconds).map_err(|_| NO_TIME)?;
        Ok(Value::Shown(time.to_string().into()))
    }
}

const NO_TIME: Fault = Fault("not a time");

#[cfg(test)]
mod tests;
