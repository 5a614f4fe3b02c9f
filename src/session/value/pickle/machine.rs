//! The stack machine that a pickle is a program for.

use super::text;
use crate::session::value::{
    Fault, Value,
    budget::{BYTES_MAX, NODES_MAX},
    input::Input,
};
use smol_str::SmolStr;
use std::collections::HashMap;

/// The most nodes: keys are nodes, too.
const ARENA_MAX: usize = 2 * NODES_MAX;

/// What comes out of the machine, as places in [`Machine::nodes`]: values may be shared, and lie within themselves.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// Complete as it is.
    Plain(Value),
    Bytes(&'a [u8]),
    /// Bytes that older protocols write as text.
    Encoded(Vec<u8>),
    Tuple(Vec<usize>),
    List(Vec<usize>),
    Set(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    /// A class or a function, by its name.
    Global(SmolStr),
    Object(Box<Object>),
}

/// What a class would be made from.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) class: usize,
    /// A tuple.
    pub(super) arguments: usize,
    pub(super) state: Option<usize>,
    pub(super) items: Vec<usize>,
    pub(super) entries: Vec<(usize, usize)>,
}

pub(super) struct Machine<'a> {
    input: Input<'a>,
    pub(super) nodes: Vec<Node<'a>>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: HashMap<usize, usize>,
    /// How many bytes may still be decoded from text, which may be shared.
    encoded: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        Self {
            input,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            encoded: BYTES_MAX,
        }
    }

    /// Runs to the end; the node that is left.
    pub(super) fn run(&mut self) -> Result<usize, Fault> {
        loop {
            let opcode = self.input.byte()?;
            if opcode == b'.' {
                let root = self.pop()?;
                return if self.input.is_empty() { Ok(root) } else { Err(Fault("something follows the pickle")) };
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            0x80 => match self.input.byte()? {
                0..=5 => Ok(()),
                _ => Err(Fault("a pickle of an unknown protocol")),
            },
            0x95 => {
                let length = u64::from_le_bytes(self.input.array()?);
                let mut ahead = self.input;
                ahead.take(length).map(|_| ())
            }
            b'N' => self.plain(Value::Null),
            0x88 | 0x89 => self.plain(Value::Bool(opcode == 0x88)),
            b'I' | b'L' | b'F' | b'J' | b'K' | b'M' | b'G' | 0x8a | 0x8b => self.number(opcode),
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d => self.text(opcode),
            b'B' | b'C' | 0x8e | 0x96 => {
                let length = self.length(match opcode {
                    b'B' => 4,
                    b'C' => 1,
                    _ => 8,
                })?;
                let bytes = self.input.take(length)?;
                self.push(Node::Bytes(bytes))
            }
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.remember(opcode),
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..opcode {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Node::Tuple(items))
            }
            b't' | b'l' | 0x91 | b'd' => {
                let items = self.pop_mark()?;
                self.push(match opcode {
                    b't' => Node::Tuple(items),
                    b'l' => Node::List(items),
                    0x91 => Node::Set(items),
                    _ => Node::Dict(self.pairs(&items)?),
                })
            }
            b'a' | b'e' | 0x90 | b's' | b'u' => self.extend(opcode),
            _ => self.class(opcode),
        }
    }

    fn number(&mut self, opcode: u8) -> Result<(), Fault> {
        let value = match opcode {
            b'I' => match self.input.until(b'\n')? {
                b"00" => Value::Bool(false),
                b"01" => Value::Bool(true),
                digits => text::integer(digits)?,
            },
            b'L' => {
                let digits = self.input.until(b'\n')?;
                text::integer(digits.strip_suffix(b"L").unwrap_or(digits))?
            }
            b'F' => text::float(self.input.until(b'\n')?)?,
            b'J' => Value::integer(i32::from_le_bytes(self.input.array()?)),
            b'K' => Value::integer(self.input.byte()?),
            b'M' => Value::integer(u16::from_le_bytes(self.input.array()?)),
            b'G' => Value::float(f64::from_be_bytes(self.input.array()?)),
            _ => {
                let length = self.length(if opcode == 0x8a { 1 } else { 4 })?;
                text::long(self.input.take(length)?)?
            }
        };
        self.plain(value)
    }

    fn text(&mut self, opcode: u8) -> Result<(), Fault> {
        let text: SmolStr = match opcode {
            b'S' => text::quoted(self.input.until(b'\n')?)?.into(),
            b'V' => text::raw_unicode(self.input.until(b'\n')?)?.into(),
            _ => {
                let length = self.length(match opcode {
                    b'T' | b'X' => 4,
                    b'U' | 0x8c => 1,
                    _ => 8,
                })?;
                let bytes = self.input.take(length)?;
                // Texts of Python 2 are read as ASCII by Python 3.
                let is_old = matches!(opcode, b'T' | b'U');
                let text = str::from_utf8(bytes).ok().filter(|text| !is_old || text.is_ascii());
                text.ok_or(text::NO_TEXT)?.into()
            }
        };
        self.plain(Value::Text(text))
    }

    fn remember(&mut self, opcode: u8) -> Result<(), Fault> {
        let place = match opcode {
            b'p' | b'g' => text::place(self.input.until(b'\n')?)?,
            b'q' | b'h' => usize::from(self.input.byte()?),
            0x94 => self.memo.len(),
            _ => self.length(4)?,
        };
        if matches!(opcode, b'g' | b'h' | b'j') {
            let known = *self.memo.get(&place).ok_or(Fault("a reference to nothing"))?;
            self.stack.push(known);
        } else {
            let top = self.top()?;
            self.memo.insert(place, top);
        }
        Ok(())
    }

    /// Adds what lies on the stack to a list, a set or a map, or to an object that is one.
    fn extend(&mut self, opcode: u8) -> Result<(), Fault> {
        let added = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let is_map = matches!(opcode, b's' | b'u');
        let pairs = if is_map { self.pairs(&added)? } else { Vec::new() };
        let target = self.top()?;
        match (&mut self.nodes[target], opcode) {
            (Node::Dict(entries), b's' | b'u') => entries.extend(pairs),
            (Node::Object(object), b's' | b'u') => object.entries.extend(pairs),
            (Node::List(items), b'a' | b'e') | (Node::Set(items), 0x90) => items.extend(added),
            (Node::Object(object), b'a' | b'e' | 0x90) => object.items.extend(added),
            _ => return Err(Fault("something is added to what holds nothing")),
        }
        Ok(())
    }

    fn class(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            b'c' => {
                let name = self.named()?;
                self.push(name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Plain(Value::Text(module)), Node::Plain(Value::Text(name))) =
                    (&self.nodes[module], &self.nodes[name])
                else {
                    return Err(Fault("a class without a name"));
                };
                let name = text::global(module, name)?;
                self.push(Node::Global(name))
            }
            b'i' => {
                let name = self.named()?;
                let arguments = self.pop_mark()?;
                self.push(name)?;
                self.push(Node::Tuple(arguments))?;
                self.object()
            }
            b'o' => {
                let mut arguments = self.pop_mark()?;
                if arguments.is_empty() {
                    return Err(Fault("an object without a class"));
                }
                let class = arguments.remove(0);
                self.stack.push(class);
                self.push(Node::Tuple(arguments))?;
                self.object()
            }
            b'R' | 0x81 | 0x92 => {
                if opcode == 0x92 {
                    self.pop()?;
                }
                self.object()
            }
            b'b' => {
                let (state, target) = (self.pop()?, self.top()?);
                let Node::Object(object) = &mut self.nodes[target] else {
                    return Err(Fault("a state for what is no object"));
                };
                object.state = Some(state);
                Ok(())
            }
            _ => Err(Fault("not a pickle")),
        }
    }

    /// The module and the name of a class, on two lines.
    fn named(&mut self) -> Result<Node<'a>, Fault> {
        let (module, name) = (self.input.until(b'\n')?, self.input.until(b'\n')?);
        let both = str::from_utf8(module).ok().zip(str::from_utf8(name).ok());
        let (module, name) = both.ok_or(text::NO_TEXT)?;
        Ok(Node::Global(text::global(module, name)?))
    }

    /// An object of the class and the tuple of arguments that lie on the stack.
    fn object(&mut self) -> Result<(), Fault> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        match (&self.nodes[class], &self.nodes[arguments]) {
            (Node::Global(name), Node::Tuple(items)) => {
                if let Some(encoded) = self.encoded(name, items)? {
                    self.encoded = self.encoded.checked_sub(encoded.len()).ok_or(Fault("too much text"))?;
                    return self.push(Node::Encoded(encoded));
                }
            }
            (Node::Object(_), Node::Tuple(_)) => {}
            _ => return Err(Fault("an object without a class or arguments")),
        }
        let (state, items, entries) = (None, Vec::new(), Vec::new());
        self.push(Node::Object(Box::new(Object { class, arguments, state, items, entries })))
    }

    /// Bytes as protocols without a kind for them write them: as text of which each character is a byte.
    fn encoded(&self, class: &str, arguments: &[usize]) -> Result<Option<Vec<u8>>, Fault> {
        let texts = |text: usize, encoding: usize| match (&self.nodes[text], &self.nodes[encoding]) {
            (Node::Plain(Value::Text(text)), Node::Plain(Value::Text(encoding))) if encoding == "latin1" => Some(text),
            _ => None,
        };
        match (class, arguments) {
            ("_codecs.encode", [text, encoding]) => {
                let Some(text) = texts(*text, *encoding) else { return Ok(None) };
                if text.len() > 2 * self.encoded {
                    return Err(Fault("too much text"));
                }
                let bytes: Result<_, _> = text.chars().map(u8::try_from).collect();
                bytes.map(Some).map_err(|_| Fault("bytes that are none"))
            }
            ("builtins.bytes" | "__builtin__.bytes", []) => Ok(Some(Vec::new())),
            _ => Ok(None),
        }
    }

    /// Keys and values in turn. What can change cannot be a key.
    fn pairs(&self, items: &[usize]) -> Result<Vec<(usize, usize)>, Fault> {
        let pair = |pair: &[usize]| match pair {
            [key, _] if matches!(self.nodes[*key], Node::List(_) | Node::Set(_) | Node::Dict(_)) => {
                Err(Fault("a key that is a list or a map"))
            }
            [key, value] => Ok((*key, *value)),
            _ => Err(Fault("a key without a value")),
        };
        items.chunks(2).map(pair).collect()
    }

    /// A length of 1, 4 or 8 bytes.
    fn length(&mut self, width: usize) -> Result<usize, Fault> {
        let bytes = self.input.take(width)?;
        let length = bytes.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
        usize::try_from(length).map_err(|_| Fault("a length beyond the end"))
    }

    fn plain(&mut self, value: Value) -> Result<(), Fault> {
        self.push(Node::Plain(value))
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), Fault> {
        if self.nodes.len() == ARENA_MAX {
            return Err(Fault("too many values"));
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    /// What lies on top, and above the last mark.
    fn top(&self) -> Result<usize, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[_]>::last).copied().ok_or(NOTHING)
    }

    fn pop(&mut self) -> Result<usize, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<usize>, Fault> {
        let mark = self.marks.pop().ok_or(NOTHING)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }
}

const NOTHING: Fault = Fault("nothing is where a value should be");
