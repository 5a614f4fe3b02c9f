//! What serialised Java objects stand for.

use super::{Node, Note, Object, Place};
use crate::session::value::{Fault, Value, budget::Budget, uuid};
use jiff::Timestamp;
use smol_str::SmolStr;

/// The value that begins at `root`; what is shared is paid for wherever it is met.
pub(super) fn read(nodes: &[Node<'_>], root: Place, budget: Budget) -> Result<Value, Fault> {
    let mut shaper = Shaper { nodes, within: vec![false; nodes.len()], budget };
    shaper.value(root)
}

struct Shaper<'a> {
    nodes: &'a [Node<'a>],
    /// The objects that the current one is part of.
    within: Vec<bool>,
    budget: Budget,
}

impl<'a> Shaper<'a> {
    fn value(&mut self, place: Place) -> Result<Value, Fault> {
        self.budget.node()?;
        match &self.nodes[place] {
            Node::Null | Node::Open => return Ok(Value::Null),
            Node::Plain(value) => {
                if let Value::Text(text) | Value::Integer(text) | Value::Float(text) = value {
                    self.budget.text(text.len())?;
                }
                return Ok(value.clone());
            }
            Node::Bytes(bytes) => {
                self.budget.text(bytes.len())?;
                return Ok(Value::bytes(bytes));
            }
            Node::Class(class) => {
                self.budget.text(class.name.len())?;
                return Ok(Value::Text(class.name.clone()));
            }
            Node::Array(_) | Node::Object(_) => {}
        }
        if self.within[place] {
            return Ok(Value::Null);
        }
        self.within[place] = true;
        self.budget.open()?;
        let value = match &self.nodes[place] {
            Node::Array(items) => self.list(items.iter().copied())?,
            Node::Object(object) => self.object(object)?,
            _ => Value::Null,
        };
        self.budget.close();
        self.within[place] = false;
        Ok(value)
    }

    fn list(&mut self, places: impl Iterator<Item = Place>) -> Result<Value, Fault> {
        places.map(|place| self.value(place)).collect::<Result<_, _>>().map(Value::List)
    }

    fn object(&mut self, object: &Object<'a>) -> Result<Value, Fault> {
        let name = object.class.name.as_str();
        let short = name.strip_prefix("java.util.").or(name.strip_prefix("java.lang.")).unwrap_or(name);
        match short {
            "Boolean" | "Byte" | "Short" | "Integer" | "Long" | "Float" | "Double" | "Character" => {
                self.field(object, "value")
            }
            "ArrayList"
            | "LinkedList"
            | "ArrayDeque"
            | "HashSet"
            | "LinkedHashSet"
            | "concurrent.CopyOnWriteArrayList" => self.list(object.written()),
            // The comparator comes first.
            "TreeSet" => self.list(object.written().skip(1)),
            "HashMap" | "LinkedHashMap" | "TreeMap" | "Hashtable" | "Properties" => {
                self.map(&object.written().collect::<Vec<_>>())
            }
            "concurrent.ConcurrentHashMap" => {
                // A key that is null ends it.
                let written: Vec<_> = object.written().collect();
                let end = written.chunks(2).position(|pair| matches!(self.nodes[pair[0]], Node::Null));
                self.map(&written[..end.map_or(written.len(), |end| end * 2)])
            }
            "CollSer" => self.immutable(object),
            "Arrays$ArrayList" => self.field(object, "a"),
            "Collections$EmptyList" | "Collections$EmptySet" => Ok(Value::List(Vec::new())),
            "Collections$EmptyMap" => Ok(Value::Map(Vec::new())),
            "Collections$SingletonList" | "Collections$SingletonSet" => {
                Ok(Value::List(vec![self.field(object, "element")?]))
            }
            "Collections$SingletonMap" => {
                let key = self.field(object, "k")?.into_key();
                Ok(Value::Map(vec![(key, self.field(object, "v")?)]))
            }
            wrapper if wrapper.starts_with("Collections$Unmodifiable") || wrapper.starts_with("Collections$Sync") => {
                let inner = if object.has("m") { "m" } else { "c" };
                self.field(object, inner)
            }
            "Date" => Ok(object.block().and_then(date).unwrap_or(Value::Null)),
            "UUID" => {
                let half = |name| match object.field(name).map(|place| &self.nodes[place]) {
                    Some(Node::Plain(Value::Integer(text))) => text.parse::<i64>().ok().map(i64::to_be_bytes),
                    _ => None,
                };
                let halves = half("mostSigBits").zip(half("leastSigBits"));
                Ok(halves.map_or(Value::Null, |halves| Value::Text(uuid(&[halves.0, halves.1].concat()))))
            }
            "java.math.BigInteger" => {
                let negative = self.field(object, "signum")? == Value::integer(-1);
                let magnitude = match object.field("magnitude").map(|place| &self.nodes[place]) {
                    Some(Node::Bytes(bytes)) => bytes.iter().rev().copied().collect::<Vec<_>>(),
                    _ => return Ok(Value::Null),
                };
                let number = Value::big_integer(negative, &magnitude)?;
                self.budget.copy(&number)
            }
            "java.time.Ser" => match object.block().and_then(instant) {
                Some(value) => Ok(value),
                None => self.plain(object),
            },
            _ => self.plain(object),
        }
    }

    /// A class that is not known: its fields, those of more general classes first.
    fn plain(&mut self, object: &Object<'a>) -> Result<Value, Fault> {
        self.budget.text(object.class.name.len())?;
        let mut entries = vec![(SmolStr::new_static("@class"), Value::Text(object.class.name.clone()))];
        for (name, place) in &object.fields {
            self.budget.text(name.len())?;
            entries.push((name.clone(), self.value(*place)?));
        }
        Ok(Value::Map(entries))
    }

    fn field(&mut self, object: &Object<'a>, name: &str) -> Result<Value, Fault> {
        object.field(name).map_or(Ok(Value::Null), |place| self.value(place))
    }

    fn map(&mut self, written: &[Place]) -> Result<Value, Fault> {
        let mut entries = Vec::new();
        for pair in written.chunks_exact(2) {
            let key = self.value(pair[0])?.into_key();
            entries.push((key, self.value(pair[1])?));
        }
        Ok(Value::Map(entries))
    }

    /// `List.of`, `Set.of`, `Map.of`: which one is in the lowest byte of `tag`.
    fn immutable(&mut self, object: &Object<'a>) -> Result<Value, Fault> {
        let written: Vec<_> = object.written().collect();
        match self.field(object, "tag")? {
            Value::Integer(tag) if tag == "3" => self.map(&written),
            _ => self.list(written.into_iter()),
        }
    }
}

impl<'a> Object<'a> {
    /// The field of the most special class that has one of this name.
    fn field(&self, name: &str) -> Option<Place> {
        self.fields.iter().rev().find(|(known, _)| known == name).map(|(_, place)| *place)
    }

    fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The objects that its classes wrote besides their fields.
    fn written(&self) -> impl Iterator<Item = Place> {
        self.notes.iter().filter_map(|note| match note {
            Note::Object(place) => Some(*place),
            Note::Block(_) => None,
        })
    }

    fn block(&self) -> Option<&'a [u8]> {
        self.notes.iter().find_map(|note| match note {
            Note::Block(block) => Some(*block),
            Note::Object(_) => None,
        })
    }
}

/// `java.util.Date`: milliseconds.
fn date(block: &[u8]) -> Option<Value> {
    let milliseconds = i64::from_be_bytes(*block.first_chunk()?);
    Some(Value::Shown(Timestamp::from_millisecond(milliseconds).ok()?.to_string().into()))
}

/// `java.time.Instant`: its mark, seconds, nanoseconds.
fn instant(block: &[u8]) -> Option<Value> {
    let (seconds, nanoseconds) = block.strip_prefix(&[2])?.split_first_chunk()?;
    let nanoseconds = i32::from_be_bytes(nanoseconds.try_into().ok()?);
    let time = Timestamp::new(i64::from_be_bytes(*seconds), nanoseconds).ok()?;
    Some(Value::Shown(time.to_string().into()))
}
