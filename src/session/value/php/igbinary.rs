//! igbinary as data: PHP's values in a compact form, an object as the map of its public fields.

use super::{Budget, Fault, Input, Key, Shared, Value, array, case_of_enum, object};

/// What every record begins with: the version, 1 or 2.
pub const MAGIC: [&[u8]; 2] = [&[0, 0, 0, 1], &[0, 0, 0, 2]];

/// Reads one value and nothing else.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let budget = Budget::of(bytes)?;
    let body = MAGIC.iter().find_map(|magic| bytes.strip_prefix(*magic)).ok_or(Fault("not igbinary"))?;
    let mut reader = Reader { input: Input::new(body), budget, strings: Vec::new(), shared: Shared::default() };
    let value = reader.value()?;
    if reader.input.is_empty() { Ok(value) } else { Err(Fault("something follows the value")) }
}

struct Reader<'a> {
    input: Input<'a>,
    budget: Budget,
    /// The texts met so far, those of keys and classes included.
    strings: Vec<&'a [u8]>,
    shared: Shared<'a>,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, Fault> {
        let start = self.input;
        let kind = self.input.byte()?;
        self.value_of(kind, start, false)
    }

    /// Reads what follows `kind`. Lists, maps and objects have numbers, and so has whatever a `reference` makes
    /// a shared variable.
    fn value_of(&mut self, kind: u8, start: Input<'a>, reference: bool) -> Result<Value, Fault> {
        self.budget.node()?;
        let shares_itself = matches!(kind, 0x01..=0x03 | 0x22..=0x25);
        if matches!(kind, 0x14..=0x1c) || reference && !shares_itself {
            self.shared.number(start);
        }
        match kind {
            0x00 => Ok(Value::Null),
            0x04 => Ok(Value::Bool(false)),
            0x05 => Ok(Value::Bool(true)),
            0x06..=0x0b | 0x20 | 0x21 => self.whole(kind).map(Value::integer),
            0x0c => Ok(Value::float(f64::from_be_bytes(self.input.array()?))),
            0x0d..=0x13 | 0x26 => self.string(kind).map(Value::text),
            0x14..=0x16 => self.entries(kind, start).map(array),
            0x17..=0x1c => self.object(kind, start),
            0x01..=0x03 => self.reference(kind - 0x01),
            0x22..=0x24 => self.reference(kind - 0x22),
            0x25 if !reference => {
                let kind = self.input.byte()?;
                self.value_of(kind, start, true)
            }
            _ => Err(Fault("not an igbinary value")),
        }
    }

    /// The kinds come in pairs, above and below zero, of 8, 16, 32 and, apart from them, 64 bits.
    fn whole(&mut self, kind: u8) -> Result<i64, Fault> {
        let magnitude = match kind {
            0x06 | 0x07 => self.number(0)?,
            0x08 | 0x09 => self.number(1)?,
            0x0a | 0x0b => self.number(2)?,
            _ => self.number(3)?,
        };
        let number = i128::from(magnitude) * if kind % 2 == 1 { -1 } else { 1 };
        number.try_into().map_err(|_| Fault("a number that PHP has not"))
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes.
    fn number(&mut self, width: u8) -> Result<u64, Fault> {
        Ok(match width {
            0 => self.input.byte()?.into(),
            1 => u16::from_be_bytes(self.input.array()?).into(),
            2 => u32::from_be_bytes(self.input.array()?).into(),
            _ => u64::from_be_bytes(self.input.array()?),
        })
    }

    /// Text, new or met before; the name of a class is of kinds of its own.
    fn string(&mut self, kind: u8) -> Result<&'a [u8], Fault> {
        match kind {
            0x0d => Ok(b""),
            0x0e..=0x10 => self.known_string(kind - 0x0e),
            0x1a..=0x1c => self.known_string(kind - 0x1a),
            0x11..=0x13 => self.new_string(kind - 0x11),
            0x17..=0x19 => self.new_string(kind - 0x17),
            0x26 => self.new_string(3),
            _ => Err(Fault("a text is missing")),
        }
    }

    fn new_string(&mut self, width: u8) -> Result<&'a [u8], Fault> {
        let length = self.number(width)?;
        let string = self.input.take(length)?;
        if !self.shared.is_again() {
            self.strings.push(string);
        }
        Ok(string)
    }

    fn known_string(&mut self, width: u8) -> Result<&'a [u8], Fault> {
        let number = usize::try_from(self.number(width)?).ok();
        let string = number.and_then(|number| self.strings.get(number)).ok_or(Fault("a text that is not there"))?;
        self.budget.text(string.len())?;
        Ok(string)
    }

    fn object(&mut self, kind: u8, start: Input<'a>) -> Result<Value, Fault> {
        let class = self.string(kind)?;
        match self.input.byte()? {
            kind @ 0x14..=0x16 => self.entries(kind, start).and_then(|fields| object(class, fields)),
            // The class itself wrote the bytes, and it alone could read them.
            kind @ 0x1d..=0x1f => {
                let length = self.number(kind - 0x1d)?;
                self.input.take(length)?;
                Ok(Value::Null)
            }
            0x27 => {
                let kind = self.input.byte()?;
                let case = self.string(kind)?;
                case_of_enum(&[class, b":", case].concat())
            }
            _ => Err(Fault("not an igbinary object")),
        }
    }

    fn entries(&mut self, kind: u8, start: Input<'a>) -> Result<Vec<(Key<'a>, Value)>, Fault> {
        let count = self.number(kind - 0x14)?;
        self.budget.open()?;
        self.shared.enter(start);
        let mut entries = Vec::new();
        for _ in 0..count {
            let key = match self.input.byte()? {
                // An entry that has gone.
                0x00 => continue,
                kind @ (0x06..=0x0b | 0x20 | 0x21) => Key::Number(self.whole(kind)?),
                kind @ (0x0d..=0x13 | 0x26) => Key::Text(self.string(kind)?),
                _ => return Err(Fault("not an igbinary key")),
            };
            entries.push((key, self.value()?));
        }
        self.shared.leave();
        self.budget.close();
        Ok(entries)
    }

    fn reference(&mut self, width: u8) -> Result<Value, Fault> {
        let number = self.number(width)?.try_into().map_err(|_| Fault("a reference to nothing"))?;
        let target = self.shared.find(number)?;
        let Some(way) = self.shared.go(&mut self.input, target) else { return Ok(Value::Null) };
        self.budget.open()?;
        let value = self.value()?;
        self.budget.close();
        self.budget.text(self.shared.come_back(&mut self.input, way))?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
