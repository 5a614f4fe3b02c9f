//! Go's gob, read as data: a stream that describes its own types.

use super::{Fault, Value, budget::Budget, input::Input, uuid};
use jiff::Timestamp;
use smol_str::SmolStr;
use std::{collections::HashMap, rc::Rc};

/// The id of what may be of any type.
const INTERFACE: i64 = 8;
/// From here on ids are of types that the stream itself describes.
const FIRST_DESCRIBED: i64 = 64;
/// From Go's first instant, the beginning of the year 1, to the Unix epoch, in seconds.
const UNIX_EPOCH: i64 = 62_135_596_800;

/// Reads a stream of one value. Structs become maps; a field with its zero value is not in the stream and so not in
/// the map. `time.Time` is shown in RFC 3339, other types that encode themselves as bytes.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    read_if(bytes, |_| true)
}

/// As [`read`], but only a `map[interface{}]interface{}`.
pub fn read_interfaces(bytes: &[u8]) -> Result<Value, Fault> {
    read_if(bytes, |described| matches!(described, Some(Type::Map { key: INTERFACE, element: INTERFACE })))
}

fn read_if(bytes: &[u8], fits: impl FnOnce(Option<&Type>) -> bool) -> Result<Value, Fault> {
    let mut reader =
        Reader { rest: Input::new(bytes), message: Input::new(&[]), types: HashMap::new(), budget: Budget::of(bytes)? };
    let id = reader.type_id(false)?;
    if !fits(reader.types.get(&id).map(Rc::as_ref)) {
        return Err(Fault("a value of another type"));
    }
    let value = reader.whole(id)?;
    let ended = reader.message.is_empty() && reader.rest.is_empty();
    if ended { Ok(value) } else { Err(Fault("something follows the value")) }
}

/// A type that the stream describes.
enum Type {
    Array {
        element: i64,
        length: u64,
    },
    Slice {
        element: i64,
    },
    Struct(Vec<(SmolStr, i64)>),
    Map {
        key: i64,
        element: i64,
    },
    /// It wrote itself, in a way that only its name tells.
    Opaque(SmolStr),
}

/// A stream is a sequence of messages; a description of a type ends one, even in the middle of a value.
struct Reader<'a> {
    rest: Input<'a>,
    message: Input<'a>,
    types: HashMap<i64, Rc<Type>>,
    budget: Budget,
}

impl Reader<'_> {
    /// The id of the value that follows, after the descriptions of types before it.
    fn type_id(&mut self, in_interface: bool) -> Result<i64, Fault> {
        loop {
            if self.message.is_empty() {
                let length = uint(&mut self.rest)?;
                self.message = Input::new(self.rest.take(length)?);
            }
            let id = int(&mut self.message)?;
            if id >= 0 {
                return Ok(id);
            }
            self.describe(id.checked_neg().ok_or(DESCRIPTION)?)?;
            if !self.message.is_empty() {
                if !in_interface {
                    return Err(DESCRIPTION);
                }
                // The length of the message that goes on behind a nested description.
                self.uint()?;
            }
        }
    }

    /// A value that stands alone: nothing but structs names its fields.
    fn whole(&mut self, id: i64) -> Result<Value, Fault> {
        if !matches!(self.types.get(&id).map(Rc::as_ref), Some(Type::Struct(_))) && self.uint()? != 0 {
            return Err(Fault("a value is not where it should be"));
        }
        self.value(id)
    }

    fn value(&mut self, id: i64) -> Result<Value, Fault> {
        self.budget.node()?;
        Ok(match id {
            1 => Value::Bool(self.uint()? != 0),
            2 => Value::integer(int(&mut self.message)?),
            3 => Value::integer(self.uint()?),
            4 => self.float()?,
            5 => Value::bytes(self.counted()?),
            6 => Value::text(self.counted()?),
            7 => Value::List(vec![self.float()?, self.float()?]),
            INTERFACE => return self.interface(),
            _ => return self.described(id),
        })
    }

    fn described(&mut self, id: i64) -> Result<Value, Fault> {
        let described = self.types.get(&id).cloned().ok_or(Fault("a type that is not described"))?;
        self.budget.open()?;
        let value = match &*described {
            Type::Array { element, length } => {
                let count = self.uint()?;
                if count != *length {
                    return Err(Fault("an array of another length"));
                }
                self.list(*element, count)?
            }
            Type::Slice { element } => {
                let count = self.uint()?;
                self.list(*element, count)?
            }
            Type::Struct(fields) => Value::Map(self.fields(fields)?),
            Type::Map { key, element } => {
                let mut entries = Vec::new();
                for _ in 0..self.uint()? {
                    let key = self.value(*key)?.into_key();
                    entries.push((key, self.value(*element)?));
                }
                Value::Map(entries)
            }
            Type::Opaque(name) => opaque(name, self.counted()?),
        };
        self.budget.close();
        Ok(value)
    }

    fn list(&mut self, element: i64, count: u64) -> Result<Value, Fault> {
        (0..count).map(|_| self.value(element)).collect::<Result<_, _>>().map(Value::List)
    }

    fn fields(&mut self, fields: &[(SmolStr, i64)]) -> Result<Vec<(SmolStr, Value)>, Fault> {
        let mut entries = Vec::new();
        let mut number = 0;
        while let Some(next) = self.next_field(number)? {
            number = next;
            let (name, id) = fields.get(number - 1).ok_or(Fault("a field that is not described"))?;
            entries.push((name.clone(), self.value(*id)?));
        }
        Ok(entries)
    }

    /// The number of the next field of a struct, from 1; `None` = the struct ends.
    fn next_field(&mut self, before: usize) -> Result<Option<usize>, Fault> {
        match usize::try_from(self.uint()?).ok().and_then(|step| (step > 0).then(|| before.checked_add(step))) {
            None => Ok(None),
            Some(number) => number.map(Some).ok_or(DESCRIPTION),
        }
    }

    /// A value with the name of its type; no name is `nil`.
    fn interface(&mut self) -> Result<Value, Fault> {
        let name = self.counted()?.to_owned();
        if name.is_empty() {
            return Ok(Value::Null);
        }
        let id = self.type_id(true)?;
        if !may_be(&name, id) {
            return Err(Fault("a type that Go does not know"));
        }
        self.uint()?;
        self.budget.open()?;
        let value = self.whole(id)?;
        self.budget.close();
        Ok(value)
    }

    /// Takes in the description of a type: a struct with one field, which says of what kind it is.
    fn describe(&mut self, id: i64) -> Result<(), Fault> {
        self.budget.node()?;
        let kind = self.next_field(0)?.ok_or(DESCRIPTION)?;
        let mut name = SmolStr::default();
        let (mut first, mut second, mut fields, mut number) = (0, 0, Vec::new(), 0);
        while let Some(next) = self.next_field(number)? {
            number = next;
            match (kind, number) {
                (_, 1) => name = self.common()?,
                (3, 2) => fields = self.field_descriptions()?,
                (1 | 2 | 4, 2) => first = int(&mut self.message)?,
                (1 | 4, 3) => second = int(&mut self.message)?,
                _ => return Err(DESCRIPTION),
            }
        }
        if self.next_field(kind)?.is_some() {
            return Err(DESCRIPTION);
        }
        let described = match kind {
            1 => Type::Array { element: first, length: second.try_into().map_err(|_| DESCRIPTION)? },
            2 => Type::Slice { element: first },
            3 => Type::Struct(fields),
            4 => Type::Map { key: first, element: second },
            5..=7 => Type::Opaque(name),
            _ => return Err(DESCRIPTION),
        };
        if id < FIRST_DESCRIBED || self.types.insert(id, Rc::new(described)).is_some() {
            return Err(DESCRIPTION);
        }
        Ok(())
    }

    /// What all descriptions begin with: a name and an id. Returns the name.
    fn common(&mut self) -> Result<SmolStr, Fault> {
        let (mut name, mut number) = (SmolStr::default(), 0);
        while let Some(next) = self.next_field(number)? {
            number = next;
            match number {
                1 => name = self.name()?,
                2 => _ = int(&mut self.message)?,
                _ => return Err(DESCRIPTION),
            }
        }
        Ok(name)
    }

    fn field_descriptions(&mut self) -> Result<Vec<(SmolStr, i64)>, Fault> {
        let mut fields = Vec::new();
        for _ in 0..self.uint()? {
            self.budget.node()?;
            let (mut name, mut id, mut number) = (SmolStr::default(), 0, 0);
            while let Some(next) = self.next_field(number)? {
                number = next;
                match number {
                    1 => name = self.name()?,
                    2 => id = int(&mut self.message)?,
                    _ => return Err(DESCRIPTION),
                }
            }
            fields.push((name, id));
        }
        Ok(fields)
    }

    fn name(&mut self) -> Result<SmolStr, Fault> {
        str::from_utf8(self.counted()?).map(SmolStr::from).map_err(|_| DESCRIPTION)
    }

    fn counted(&mut self) -> Result<&[u8], Fault> {
        let length = self.uint()?;
        self.message.take(length)
    }

    /// The bytes of a float stand in reverse, so that round numbers are short.
    fn float(&mut self) -> Result<Value, Fault> {
        Ok(Value::float(f64::from_bits(self.uint()?.swap_bytes())))
    }

    fn uint(&mut self) -> Result<u64, Fault> {
        uint(&mut self.message)
    }
}

const DESCRIPTION: Fault = Fault("a type that is described wrongly");

/// A byte up to 127 is the number itself, a greater one says how many bytes follow, negated.
fn uint(input: &mut Input<'_>) -> Result<u64, Fault> {
    let first = input.byte()?;
    if first < 128 {
        return Ok(first.into());
    }
    let length = usize::from(first.wrapping_neg());
    if length > 8 {
        return Err(Fault("a number of too many bytes"));
    }
    Ok(input.take(length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The lowest bit says whether the others are complemented.
fn int(input: &mut Input<'_>) -> Result<i64, Fault> {
    let number = uint(input)?;
    let magnitude = (number >> 1) as i64;
    Ok(if number & 1 == 1 { !magnitude } else { magnitude })
}

fn opaque(name: &str, bytes: &[u8]) -> Value {
    match (name, bytes) {
        ("Time", _) => time(bytes).unwrap_or_else(|| Value::bytes(bytes)),
        ("UUID", _) if bytes.len() == 16 => Value::Text(uuid(bytes)),
        _ => Value::bytes(bytes),
    }
}

/// As `Time.MarshalBinary` writes it: a version, seconds, nanoseconds, and an offset that does not change the instant.
fn time(bytes: &[u8]) -> Option<Value> {
    let mut input = Input::new(bytes);
    let version = input.byte().ok().filter(|version| matches!(version, 1 | 2))?;
    let seconds = i64::from_be_bytes(input.array().ok()?).checked_sub(UNIX_EPOCH)?;
    let nanoseconds = i32::from_be_bytes(input.array().ok()?);
    input.take(if version == 1 { 2 } else { 3 }).ok()?;
    let time = Timestamp::new(seconds, nanoseconds).ok().filter(|_| input.is_empty() && nanoseconds >= 0)?;
    Some(Value::Shown(time.to_string().into()))
}

/// Whether Go knows a type by this name, written as the type of this id: those of the language are what they are, and what
/// an app has registered has its package in its name, or brackets.
fn may_be(name: &[u8], id: i64) -> bool {
    let known = match name {
        b"bool" => 1,
        b"int" | b"int8" | b"int16" | b"int32" | b"int64" => 2,
        b"uint" | b"uint8" | b"uint16" | b"uint32" | b"uint64" | b"uintptr" => 3,
        b"float32" | b"float64" => 4,
        b"string" => 6,
        b"complex64" | b"complex128" => 7,
        _ => return !(1..=7).contains(&id) || name.iter().any(|byte| b".[*/".contains(byte)),
    };
    id == known
}

#[cfg(test)]
mod tests;
