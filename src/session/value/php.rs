//! PHP's `serialize` as data: an object is the map of its public fields, and nothing is ever made or called.

pub mod igbinary;

use super::{Fault, Value, budget::Budget, input::Input, shared::Shared};
use jiff::Timestamp;
use smol_str::{SmolStr, format_smolstr};

/// Reads one value and nothing else: what `serialize` and the session handler `php_serialize` write.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let mut reader = Reader::new(bytes)?;
    let value = reader.value()?;
    if reader.input.is_empty() { Ok(value) } else { Err(Fault("something follows the value")) }
}

/// Reads what the session handler `php` writes: a name, `|` and a value, again and again.
pub fn read_session(bytes: &[u8]) -> Result<Value, Fault> {
    let mut reader = Reader::new(bytes)?;
    let mut entries = Vec::new();
    while !reader.input.is_empty() {
        let name = reader.input.until(b'|')?;
        entries.push((Value::text(name).into_key(), reader.value()?));
    }
    Ok(Value::Map(entries))
}

/// Takes the bytes of one text and nothing else.
pub fn read_bytes(bytes: &[u8]) -> Result<&[u8], Fault> {
    let mut reader = Reader::new(bytes)?;
    reader.expect(b"s:")?;
    let text = reader.quoted()?;
    reader.expect(b";")?;
    if reader.input.is_empty() { Ok(text) } else { Err(Fault("something follows the value")) }
}

/// Classes of PHP's own whose objects it refuses to read, and so the whole session.
const BARRED: [&str; 12] = [
    "Closure",
    "Fiber",
    "Generator",
    "Iterator",
    "PDO",
    "PDOStatement",
    "ReflectionClass",
    "SimpleXMLElement",
    "SplFileInfo",
    "Traversable",
    "WeakMap",
    "WeakReference",
];

struct Reader<'a> {
    input: Input<'a>,
    budget: Budget,
    shared: Shared<'a>,
    /// A class has written bytes of its own, in which values may have been numbered, too.
    has_gaps: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let budget = Budget::of(bytes)?;
        Ok(Self { input: Input::new(bytes), budget, shared: Shared::default(), has_gaps: false })
    }

    fn value(&mut self) -> Result<Value, Fault> {
        self.budget.node()?;
        let start = self.input;
        let kind = self.input.byte()?;
        // A second name of the same variable has no number of its own.
        if kind != b'R' {
            self.shared.number(start);
        }
        if kind == b'N' {
            return self.expect(b";").map(|()| Value::Null);
        }
        self.expect(b":")?;
        match kind {
            b'b' => match self.input.until(b';')? {
                b"0" => Ok(Value::Bool(false)),
                b"1" => Ok(Value::Bool(true)),
                _ => Err(Fault("neither true nor false")),
            },
            b'i' => self.whole(b';').map(Value::integer),
            b'd' => match self.input.until(b';')? {
                b"NAN" | b"INF" | b"-INF" => Ok(Value::Null),
                number => Value::decimal(number),
            },
            b's' => {
                let text = self.quoted()?;
                self.expect(b";")?;
                Ok(Value::text(text))
            }
            b'S' => self.escaped().map(|text| Value::text(&text)),
            b'a' => self.entries(start).map(array),
            b'O' => {
                let class = self.class()?;
                self.entries(start).and_then(|fields| object(class, fields))
            }
            b'E' => {
                let case = self.quoted()?;
                self.expect(b";")?;
                case_of_enum(case)
            }
            b'C' => self.own_bytes(),
            b'r' | b'R' => self.reference(kind),
            _ => Err(Fault("not a PHP value")),
        }
    }

    /// A whole number that fits PHP's own, up to the mark behind it.
    fn whole(&mut self, end: u8) -> Result<i64, Fault> {
        let text = str::from_utf8(self.input.until(end)?).unwrap_or_default();
        text.parse().map_err(|_| Fault("not a whole number"))
    }

    /// A length or number of things, which has no sign.
    fn count(&mut self) -> Result<u64, Fault> {
        if !self.input.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(Fault("not a length"));
        }
        self.whole(b':')?.try_into().map_err(|_| Fault("a length below zero"))
    }

    /// `length:"bytes"`
    fn quoted(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.count()?;
        self.expect(b"\"")?;
        let text = self.input.take(length)?;
        self.expect(b"\"")?;
        Ok(text)
    }

    /// `length:"bytes";` in which a backslash and two hex digits stand for a byte.
    fn escaped(&mut self) -> Result<Vec<u8>, Fault> {
        let length = self.count()?;
        self.expect(b"\"")?;
        let mut text = Vec::new();
        for _ in 0..length {
            let byte = match self.input.byte()? {
                b'\\' => {
                    let digits = self.input.array::<2>()?.map(|digit| char::from(digit).to_digit(16));
                    let [Some(high), Some(low)] = digits else { return Err(Fault("not two hex digits")) };
                    (high * 16 + low) as u8
                }
                byte => byte,
            };
            text.push(byte);
        }
        self.expect(b"\";")?;
        Ok(text)
    }

    /// `count:{key value …}`
    fn entries(&mut self, start: Input<'a>) -> Result<Vec<(Key<'a>, Value)>, Fault> {
        let count = self.count()?;
        self.expect(b"{")?;
        self.budget.open()?;
        self.shared.enter(start);
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push((self.key()?, self.value()?));
        }
        self.shared.leave();
        self.budget.close();
        self.expect(b"}")?;
        Ok(entries)
    }

    fn key(&mut self) -> Result<Key<'a>, Fault> {
        match &self.input.array()? {
            b"i:" => self.whole(b';').map(Key::Number),
            b"s:" => {
                let text = self.quoted()?;
                self.expect(b";")?;
                Ok(Key::Text(text))
            }
            _ => Err(Fault("not a PHP key")),
        }
    }

    /// The name of a class that PHP would make an object of, and the colon behind it.
    fn class(&mut self) -> Result<&'a [u8], Fault> {
        let name = self.quoted()?;
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\\' | 0x7f..);
        let is_barred = BARRED.iter().any(|barred| barred.as_bytes().eq_ignore_ascii_case(name));
        if name.is_empty() || is_barred || !name.iter().all(is_plain) {
            return Err(Fault("not the name of a class that can be stored"));
        }
        self.expect(b":").map(|()| name)
    }

    /// `length:"Class":length:{bytes}`: only the class itself could read them.
    fn own_bytes(&mut self) -> Result<Value, Fault> {
        self.class()?;
        let length = self.count()?;
        self.expect(b"{")?;
        self.input.take(length)?;
        self.expect(b"}")?;
        self.has_gaps = true;
        Ok(Value::Null)
    }

    /// `r` is one more mention of an object, `R` another name of a variable.
    fn reference(&mut self, kind: u8) -> Result<Value, Fault> {
        let number = self.whole(b';')?.checked_sub(1).and_then(|number| number.try_into().ok());
        if self.has_gaps {
            return Err(Fault("a reference behind a class's own bytes"));
        }
        let target = self.shared.find(number.ok_or(Fault("a reference to nothing"))?)?;
        if kind == b'r' && !matches!(target.peek(), Some(b'O' | b'C' | b'E' | b'r')) {
            return Err(Fault("a mention of what is no object"));
        }
        let Some(way) = self.shared.go(&mut self.input, target) else { return Ok(Value::Null) };
        self.budget.open()?;
        let value = self.value()?;
        self.budget.close();
        self.budget.text(self.shared.come_back(&mut self.input, way))?;
        Ok(value)
    }

    fn expect(&mut self, mark: &'static [u8]) -> Result<(), Fault> {
        if self.input.take(mark.len())? == mark { Ok(()) } else { Err(Fault("not as PHP writes it")) }
    }
}

/// A key of an array, or the name of a field.
#[derive(PartialEq)]
enum Key<'a> {
    Number(i64),
    Text(&'a [u8]),
}

impl Key<'_> {
    fn into_text(self) -> SmolStr {
        match self {
            Self::Number(number) => Value::integer(number).into_key(),
            Self::Text(text) => Value::text(text).into_key(),
        }
    }
}

/// The case of an enumeration, `Class:Name`. To the app it is an object and no text.
fn case_of_enum(case: &[u8]) -> Result<Value, Fault> {
    match str::from_utf8(case).ok().and_then(|case| case.split_once(':')) {
        Some((class, name)) if !class.is_empty() && !name.is_empty() => {
            Ok(Value::Shown(format_smolstr!("{class}:{name}")))
        }
        _ => Err(Fault("not the case of an enumeration")),
    }
}

/// A list where the keys count from 0, else a map.
fn array(entries: Vec<(Key<'_>, Value)>) -> Value {
    if entries.iter().enumerate().all(|(index, (key, _))| *key == Key::Number(index as i64)) {
        return Value::List(entries.into_iter().map(|(_, value)| value).collect());
    }
    Value::Map(entries.into_iter().map(|(key, value)| (key.into_text(), value)).collect())
}

/// Private and protected fields, whose names begin with their class or `*` between two NULs, stay where they are.
fn object(class: &[u8], mut fields: Vec<(Key<'_>, Value)>) -> Result<Value, Fault> {
    if fields.iter().any(|(name, _)| matches!(name, Key::Text([0, rest @ ..]) if !rest.contains(&0))) {
        return Err(Fault("not the name of a field"));
    }
    fields.retain(|(name, _)| !matches!(name, Key::Text([0, ..])));
    let fields = Value::Map(fields.into_iter().map(|(name, value)| (name.into_text(), value)).collect());
    let is_time = [&b"DateTime"[..], b"DateTimeImmutable"].iter().any(|time| time.eq_ignore_ascii_case(class));
    if is_time && !is_whole_time(&fields) {
        return Err(Fault("a time that PHP would not read"));
    }
    Ok(time(&fields).unwrap_or(fields))
}

/// Whether a DateTime's fields are there, and its date begins as dates do.
fn is_whole_time(fields: &Value) -> bool {
    let text = |name| match fields.member(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let is_date = |text: &str| text.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit());
    let has_zone = text("timezone").is_some() && matches!(fields.member("timezone_type"), Some(Value::Integer(_)));
    has_zone && text("date").is_some_and(is_date)
}

/// What a DateTime and its kind stand for, unless only a table of time zones would say.
fn time(fields: &Value) -> Option<Value> {
    let text = |name| match fields.member(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    fields.member("timezone_type")?;
    let offset = match text("timezone")? {
        "UTC" | "GMT" | "Z" => "Z",
        offset if offset.starts_with(['+', '-']) => offset,
        _ => return None,
    };
    let time: Timestamp = [text("date")?, offset].concat().parse().ok()?;
    Some(Value::Shown(format_smolstr!("{time}")))
}

#[cfg(test)]
mod tests;
