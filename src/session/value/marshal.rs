//! Ruby's Marshal 4.8 as data: an object is the map of its variables, and nothing is ever made or called.

use super::{
    Fault, Value,
    budget::Budget,
    input::{ENDED, Input},
    shared::Shared,
};
use jiff::{Timestamp, civil::DateTime, tz::Offset};
use smol_str::{SmolStr, format_smolstr};

/// What every dump begins with: the version.
pub const MAGIC: &[u8] = &[4, 8];

/// Reads one dump and nothing else.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let budget = Budget::of(bytes)?;
    let dump = bytes.strip_prefix(MAGIC).ok_or(Fault("not Marshal 4.8"))?;
    let mut reader = Reader { input: Input::new(dump), budget, symbols: Vec::new(), shared: Shared::default() };
    let value = reader.value()?;
    if reader.input.is_empty() { Ok(value) } else { Err(Fault("something follows the value")) }
}

struct Reader<'a> {
    input: Input<'a>,
    budget: Budget,
    symbols: Vec<SmolStr>,
    shared: Shared<'a>,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, Fault> {
        self.value_from(self.input)
    }

    /// Reads a value whose wrappers, if it has any, begin at `start`.
    fn value_from(&mut self, start: Input<'a>) -> Result<Value, Fault> {
        self.budget.node()?;
        match self.input.byte()? {
            b'0' => Ok(Value::Null),
            b'T' => Ok(Value::Bool(true)),
            b'F' => Ok(Value::Bool(false)),
            b'i' => self.long().map(Value::integer),
            b':' => self.new_symbol().map(Value::Text),
            b';' => self.known_symbol().map(Value::Text),
            b'@' => self.reference(),
            b'I' => self.with_variables(start),
            b'C' | b'e' => {
                self.symbol()?;
                self.deeper(|reader| reader.value_from(start))
            }
            b'u' => self.dumped_by_class(start, false),
            kind => {
                self.shared.number(start);
                self.shared.enter(start);
                let value = self.object(kind)?;
                self.shared.leave();
                Ok(value)
            }
        }
    }

    /// What has a number of its own.
    fn object(&mut self, kind: u8) -> Result<Value, Fault> {
        match kind {
            b'"' => self.bytes().map(Value::text),
            b'l' => self.big_integer(),
            b'f' => match self.bytes()? {
                b"nan" | b"inf" | b"-inf" => Ok(Value::Null),
                number => Value::decimal(number),
            },
            b'[' => {
                let count = self.count()?;
                self.deeper(|reader| (0..count).map(|_| reader.value()).collect()).map(Value::List)
            }
            b'{' | b'}' => {
                let pairs = self.pairs(kind)?.into_iter();
                Ok(Value::Map(pairs.map(|(key, value)| (key.into_key(), value)).collect()))
            }
            b'o' => self.instance(),
            b'S' => {
                self.symbol()?;
                self.variables().map(Value::Map)
            }
            b'U' => {
                let class = self.symbol()?;
                let dump = self.deeper(Self::value)?;
                Ok(loaded(&class, dump))
            }
            b'd' => {
                self.symbol()?;
                self.deeper(Self::value)
            }
            // Classes and modules are shown by name, a regular expression by its text.
            b'c' | b'm' | b'M' | b'/' => {
                let shown: SmolStr = String::from_utf8_lossy(self.bytes()?).into();
                if kind != b'/' && shown.is_empty() {
                    return Err(Fault("a class without a name"));
                }
                if kind == b'/' {
                    // Its options.
                    self.input.byte()?;
                }
                Ok(Value::Shown(shown))
            }
            _ => Err(Fault("not a Marshal value")),
        }
    }

    /// A value followed by variables: those of a string say how it is encoded.
    fn with_variables(&mut self, start: Input<'a>) -> Result<Value, Fault> {
        match self.input.peek() {
            Some(b'u') => {
                self.input.byte()?;
                return self.dumped_by_class(start, true);
            }
            // What can have none.
            Some(b'I' | b'i' | b'l' | b'f' | b'T' | b'F' | b'0') => return Err(Fault("not a Marshal value")),
            _ => {}
        }
        let value = self.value_from(start)?;
        let variables = self.variables()?;
        let foreign = variables.iter().any(|(name, _)| &**name == "encoding");
        Ok(match value {
            // Two bytes a letter, or shifts between alphabets, show by their control characters.
            Value::Text(text) if foreign && !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                Value::bytes(text.as_bytes())
            }
            value => value,
        })
    }

    /// The class itself wrote the bytes; it gets its number only behind its variables.
    fn dumped_by_class(&mut self, start: Input<'a>, has_variables: bool) -> Result<Value, Fault> {
        let class = self.symbol()?;
        let bytes = self.bytes()?;
        let variables = if has_variables { self.variables()? } else { Vec::new() };
        self.shared.number(start);
        Ok(match (&*class, bytes) {
            ("Time", bytes) => time(bytes, &variables).unwrap_or(Value::Null),
            // `18:0.15e1`: the precision, then the number.
            ("BigDecimal", bytes) => {
                let number = bytes.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default();
                Value::Shown(String::from_utf8_lossy(number).into())
            }
            _ => Value::Null,
        })
    }

    /// An object is the map of its variables, a Set the list of what it holds.
    fn instance(&mut self) -> Result<Value, Fault> {
        let class = self.symbol()?;
        if &*class != "Set" {
            return self.variables().map(Value::Map);
        }
        let count = self.count()?;
        let mut items = Vec::new();
        for _ in 0..count {
            let (name, start) = (self.symbol()?, self.input);
            match self.input.peek() {
                Some(kind @ (b'{' | b'}')) if &*name == "@hash" => {
                    self.input.byte()?;
                    self.shared.number(start);
                    items = self.pairs(kind)?.into_iter().map(|(item, _)| item).collect();
                }
                _ => drop(self.deeper(Self::value)?),
            }
        }
        Ok(Value::List(items))
    }

    /// Names and values, the names without their `@`.
    fn variables(&mut self) -> Result<Vec<(SmolStr, Value)>, Fault> {
        let count = self.count()?;
        self.deeper(|reader| {
            (0..count)
                .map(|_| {
                    let name = reader.symbol()?;
                    Ok((name.trim_start_matches('@').into(), reader.value()?))
                })
                .collect()
        })
    }

    /// What a hash holds; one of the kind `}` has a default behind it.
    fn pairs(&mut self, kind: u8) -> Result<Vec<(Value, Value)>, Fault> {
        let count = self.count()?;
        let pairs = self.deeper(|reader| (0..count).map(|_| Ok((reader.value()?, reader.value()?))).collect())?;
        if kind == b'}' {
            self.deeper(Self::value)?;
        }
        Ok(pairs)
    }

    fn reference(&mut self) -> Result<Value, Fault> {
        let number = self.count()?;
        let target = self.shared.find(number)?;
        let Some(way) = self.shared.go(&mut self.input, target) else { return Ok(Value::Null) };
        let value = self.deeper(Self::value)?;
        self.budget.text(self.shared.come_back(&mut self.input, way))?;
        Ok(value)
    }

    /// A symbol where only a symbol may stand.
    fn symbol(&mut self) -> Result<SmolStr, Fault> {
        self.budget.node()?;
        match self.input.byte()? {
            b':' => self.new_symbol(),
            b';' => self.known_symbol(),
            b'I' if self.input.byte()? == b':' => {
                let symbol = self.new_symbol()?;
                self.variables()?;
                Ok(symbol)
            }
            _ => Err(Fault("a symbol is missing")),
        }
    }

    fn new_symbol(&mut self) -> Result<SmolStr, Fault> {
        let symbol = Value::text(self.bytes()?).into_key();
        if !self.shared.is_again() {
            self.symbols.push(symbol.clone());
        }
        Ok(symbol)
    }

    fn known_symbol(&mut self) -> Result<SmolStr, Fault> {
        let number = self.count()?;
        let symbol = self.symbols.get(number).ok_or(Fault("a symbol that is not there"))?;
        self.budget.text(symbol.len())?;
        Ok(symbol.clone())
    }

    fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.count()?;
        self.input.take(length)
    }

    fn count(&mut self) -> Result<usize, Fault> {
        self.long()?.try_into().map_err(|_| Fault("a length below zero"))
    }

    /// Marshal's own way to write a small number: in the first byte itself, or in as many as it says.
    fn long(&mut self) -> Result<i64, Fault> {
        let first = i64::from(self.input.byte()?.cast_signed());
        Ok(match first {
            0 => 0,
            5.. => first - 5,
            ..=-5 => first + 5,
            length => {
                let bytes = self.input.take(length.unsigned_abs())?;
                let padding = if length < 0 { -1_i64 << (8 * bytes.len()) } else { 0 };
                bytes.iter().rev().fold(0, |number, byte| number << 8 | i64::from(*byte)) | padding
            }
        })
    }

    fn big_integer(&mut self) -> Result<Value, Fault> {
        let negative = self.input.byte()? == b'-';
        let magnitude = self.count()?.checked_mul(2).ok_or(ENDED)?;
        Value::big_integer(negative, self.input.take(magnitude)?)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.budget.open()?;
        let read = read(self)?;
        self.budget.close();
        Ok(read)
    }
}

/// What classes make of a dump of their own that is known to be a time or a number; of others it is shown itself.
fn loaded(class: &str, dump: Value) -> Value {
    let Value::List(parts) = &dump else { return dump };
    let number = |at: usize| match parts.get(at) {
        Some(Value::Integer(number)) => number.parse::<i64>().ok(),
        _ => None,
    };
    let shown = match (class, parts.as_slice()) {
        ("ActiveSupport::TimeWithZone", [Value::Shown(utc), ..]) => Some(utc.clone()),
        ("Rational", [Value::Integer(numerator), Value::Integer(denominator)]) => {
            Some(format_smolstr!("{numerator}/{denominator}"))
        }
        ("Date", _) => {
            number(1).and_then(|day| timestamp(day, 0, 0)).map(|noon| format_smolstr!("{noon:.0}")[..10].into())
        }
        ("DateTime", _) => number(1)
            .zip(number(2))
            .zip(number(3))
            .and_then(|((day, second), nanosecond)| timestamp(day, second, nanosecond))
            .map(|time| format_smolstr!("{time}")),
        _ => None,
    };
    shown.map_or(dump, Value::Shown)
}

/// A time from a Julian day and what lies behind its beginning.
fn timestamp(julian_day: i64, second: i64, nanosecond: i64) -> Option<Timestamp> {
    /// The Julian day of 1970-01-01.
    const EPOCH: i64 = 2_440_588;
    let seconds = julian_day.checked_sub(EPOCH)?.checked_mul(86_400)?.checked_add(second)?;
    Timestamp::new(seconds, nanosecond.try_into().ok()?).ok()
}

/// A Time: its fields in UTC, packed into 64 bits; what is finer than a microsecond is a variable.
fn time(bytes: &[u8], variables: &[(SmolStr, Value)]) -> Option<Value> {
    let bits = u64::from_le_bytes(bytes.try_into().ok()?);
    let field = |at: u32, width: u32| bits >> at & ((1 << width) - 1);
    if field(31, 1) == 0 {
        let time = Timestamp::new(field(0, 31).cast_signed(), (field(32, 32) * 1000).try_into().ok()?).ok()?;
        return Some(Value::Shown(format_smolstr!("{time}")));
    }
    let nanoseconds = match variables.iter().find(|(name, _)| &**name == "nano_num") {
        Some((_, Value::Integer(number))) => number.parse::<i32>().ok().filter(|number| (0..1000).contains(number))?,
        _ => 0,
    };
    let small = |at, width| i8::try_from(field(at, width)).ok();
    let time = DateTime::new(
        i16::try_from(field(14, 16) + 1900).ok()?,
        small(10, 4)? + 1,
        small(5, 5)?,
        small(0, 5)?,
        small(58, 6)?,
        small(52, 6)?,
        i32::try_from(field(32, 20)).ok()? * 1000 + nanoseconds,
    );
    let time = Offset::UTC.to_timestamp(time.ok()?).ok()?;
    Some(Value::Shown(format_smolstr!("{time}")))
}

#[cfg(test)]
mod tests;
