//! Java's object serialisation (protocol 2), read as data: no class is loaded, no object is made.

mod shape;
mod text;

use super::{Fault, Value, budget::Budget, input::Input};
use smol_str::SmolStr;
use std::rc::Rc;

/// The four bytes before every stream.
const HEADER: [u8; 4] = [0xac, 0xed, 0, 5];
/// Handles are counted from here.
const FIRST_HANDLE: u32 = 0x7e_0000;
/// Flags of a class: it writes more than its fields, its fields, as it pleases, in blocks.
const WRITES_MORE: u8 = 1;
const SERIALIZABLE: u8 = 2;
const EXTERNALIZABLE: u8 = 4;
const IN_BLOCKS: u8 = 8;

/// Reads a stream of one object. Text, numbers, the common collections, times and UUIDs become what they stand for;
/// any other object becomes a map of its fields, with its class as `@class`. What refers back to an object that holds
/// it is `Null`.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let mut input = Input::new(bytes);
    if input.array() != Ok(HEADER) {
        return Err(Fault("not a Java object"));
    }
    let mut reader = Reader { input, nodes: Vec::new(), handles: Vec::new(), budget: Budget::of(bytes)? };
    let root = reader.object()?;
    if !reader.input.is_empty() {
        return Err(Fault("something follows the object"));
    }
    shape::read(&reader.nodes, root, Budget::of(bytes)?)
}

/// Where a node stands; objects refer to one another by it.
type Place = usize;

/// An object as it stands in the stream.
enum Node<'a> {
    /// A handle was given out, and what it stands for is still being read.
    Open,
    Null,
    Plain(Value),
    Bytes(&'a [u8]),
    Array(Vec<Place>),
    Object(Object<'a>),
    Class(Rc<Class>),
}

/// An instance: the fields of all its classes, the most general class first, and what these wrote besides.
struct Object<'a> {
    class: Rc<Class>,
    fields: Vec<(SmolStr, Place)>,
    notes: Vec<Note<'a>>,
}

/// What a class writes by itself.
enum Note<'a> {
    Block(&'a [u8]),
    Object(Place),
}

struct Class {
    name: SmolStr,
    flags: u8,
    fields: Vec<(u8, SmolStr)>,
    parent: Option<Rc<Class>>,
}

struct Reader<'a> {
    input: Input<'a>,
    nodes: Vec<Node<'a>>,
    handles: Vec<Place>,
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn object(&mut self) -> Result<Place, Fault> {
        let tag = self.input.byte()?;
        self.tagged(tag)
    }

    fn tagged(&mut self, tag: u8) -> Result<Place, Fault> {
        self.budget.open()?;
        let place = match tag {
            0x70 => self.add(Node::Null)?,
            0x71 => self.referred()?,
            0x72 | 0x7d => {
                let place = self.handle()?;
                self.describe(tag, place)?;
                place
            }
            0x73 => self.instance()?,
            0x74 => self.string(2)?,
            0x75 => self.array()?,
            0x76 => {
                let class = self.class()?.ok_or(CLASS)?;
                let place = self.handle()?;
                self.fill(place, Node::Plain(Value::Text(class.name.clone())))
            }
            0x7c => self.string(8)?,
            0x7e => {
                self.class()?.ok_or(CLASS)?;
                let place = self.handle()?;
                let name = self.object()?;
                let name = self.text(name)?;
                self.fill(place, Node::Plain(Value::Text(name)))
            }
            0x79 => return Err(Fault("a stream that starts anew")),
            _ => return Err(Fault("not a Java object")),
        };
        self.budget.close();
        Ok(place)
    }

    fn add(&mut self, node: Node<'a>) -> Result<Place, Fault> {
        self.budget.node()?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// Gives out the next handle.
    fn handle(&mut self) -> Result<Place, Fault> {
        let place = self.add(Node::Open)?;
        self.handles.push(place);
        Ok(place)
    }

    fn fill(&mut self, place: Place, node: Node<'a>) -> Place {
        self.nodes[place] = node;
        place
    }

    fn referred(&mut self) -> Result<Place, Fault> {
        let handle = u32::from_be_bytes(self.input.array()?).checked_sub(FIRST_HANDLE);
        let place = handle.and_then(|handle| self.handles.get(handle as usize));
        place.copied().ok_or(Fault("a reference to nothing"))
    }

    /// Text after its length in so many bytes.
    fn string(&mut self, length: usize) -> Result<Place, Fault> {
        let place = self.handle()?;
        let length = self.input.take(length)?.iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
        let text = text::read(self.input.take(length)?)?;
        Ok(self.fill(place, Node::Plain(Value::Text(text))))
    }

    fn name(&mut self) -> Result<SmolStr, Fault> {
        let length = u16::from_be_bytes(self.input.array()?);
        text::read(self.input.take(length)?)
    }

    fn text(&self, place: Place) -> Result<SmolStr, Fault> {
        match &self.nodes[place] {
            Node::Plain(Value::Text(text)) => Ok(text.clone()),
            _ => Err(CLASS),
        }
    }

    /// The description of a class; `None` where there is no (more general) class.
    fn class(&mut self) -> Result<Option<Rc<Class>>, Fault> {
        let place = self.object()?;
        match &self.nodes[place] {
            Node::Class(class) => Ok(Some(class.clone())),
            Node::Null => Ok(None),
            _ => Err(CLASS),
        }
    }

    fn describe(&mut self, tag: u8, place: Place) -> Result<(), Fault> {
        let class = if tag == 0x72 { self.plain_class()? } else { self.proxy_class()? };
        self.fill(place, Node::Class(Rc::new(class)));
        Ok(())
    }

    fn plain_class(&mut self) -> Result<Class, Fault> {
        let name = self.name()?;
        self.input.take(8_usize)?;
        let flags = self.input.byte()?;
        let mut fields = Vec::new();
        for _ in 0..u16::from_be_bytes(self.input.array()?) {
            self.budget.node()?;
            let kind = self.input.byte()?;
            fields.push((kind, self.name()?));
            if matches!(kind, b'[' | b'L') {
                let kind = self.object()?;
                self.text(kind)?;
            }
        }
        self.notes()?;
        Ok(Class { name, flags, fields, parent: self.class()? })
    }

    /// A class made at run time, of which only the interfaces are known.
    fn proxy_class(&mut self) -> Result<Class, Fault> {
        for _ in 0..u32::from_be_bytes(self.input.array()?) {
            self.name()?;
        }
        self.notes()?;
        Ok(Class {
            name: SmolStr::new_static("java.lang.reflect.Proxy"),
            flags: SERIALIZABLE,
            fields: Vec::new(),
            parent: self.class()?,
        })
    }

    /// What a class wrote by itself, up to the mark at its end.
    fn notes(&mut self) -> Result<Vec<Note<'a>>, Fault> {
        let mut notes = Vec::new();
        loop {
            let length = match self.input.byte()? {
                0x77 => self.input.byte()?.into(),
                0x7a => u32::from_be_bytes(self.input.array()?),
                0x78 => return Ok(notes),
                tag => {
                    notes.push(Note::Object(self.tagged(tag)?));
                    continue;
                }
            };
            self.budget.node()?;
            notes.push(Note::Block(self.input.take(length)?));
        }
    }

    fn instance(&mut self) -> Result<Place, Fault> {
        let class = self.class()?.ok_or(CLASS)?;
        let place = self.handle()?;
        let lineage: Vec<_> = std::iter::successors(Some(&class), |class| class.parent.as_ref()).collect();
        let (mut fields, mut notes) = (Vec::new(), Vec::new());
        for class in lineage.into_iter().rev() {
            self.budget.node()?;
            if class.flags & SERIALIZABLE != 0 {
                for (kind, name) in &class.fields {
                    fields.push((name.clone(), self.field(*kind)?));
                }
            }
            let in_blocks = match class.flags & (SERIALIZABLE | EXTERNALIZABLE) {
                SERIALIZABLE => class.flags & WRITES_MORE != 0,
                EXTERNALIZABLE if class.flags & IN_BLOCKS != 0 => true,
                0 => false,
                _ => return Err(CLASS),
            };
            if in_blocks {
                notes.extend(self.notes()?);
            }
        }
        Ok(self.fill(place, Node::Object(Object { class, fields, notes })))
    }

    fn array(&mut self) -> Result<Place, Fault> {
        let class = self.class()?.ok_or(CLASS)?;
        let place = self.handle()?;
        let length = u32::from_be_bytes(self.input.array()?);
        let kind = *class.name.as_bytes().get(1).ok_or(CLASS)?;
        if kind == b'B' {
            let bytes = self.input.take(length)?;
            return Ok(self.fill(place, Node::Bytes(bytes)));
        }
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(self.field(kind)?);
        }
        Ok(self.fill(place, Node::Array(items)))
    }

    /// A field or an element; `kind` is the letter of its type.
    fn field(&mut self, kind: u8) -> Result<Place, Fault> {
        let value = match kind {
            b'L' | b'[' => return self.object(),
            b'B' => Value::integer(i8::from_be_bytes(self.input.array()?)),
            b'S' => Value::integer(i16::from_be_bytes(self.input.array()?)),
            b'I' => Value::integer(i32::from_be_bytes(self.input.array()?)),
            b'J' => Value::integer(i64::from_be_bytes(self.input.array()?)),
            b'F' => Value::float(f32::from_be_bytes(self.input.array()?).into()),
            b'D' => Value::float(f64::from_be_bytes(self.input.array()?)),
            b'Z' => Value::Bool(self.input.byte()? != 0),
            b'C' => Value::Text(text::of_units(&[u16::from_be_bytes(self.input.array()?)])?),
            _ => return Err(CLASS),
        };
        self.add(Node::Plain(value))
    }
}

const CLASS: Fault = Fault("a class that is described wrongly");

#[cfg(test)]
mod tests;
