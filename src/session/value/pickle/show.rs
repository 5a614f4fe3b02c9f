//! From a pickle's nodes to a value: what is shared is copied and paid for, what lies within itself is cut.

use super::machine::{Node, Object};
use crate::session::value::{Fault, Value, budget::Budget, uuid};
use smol_str::{SmolStr, format_smolstr};

/// The value that `root` stands for.
pub(super) fn show(nodes: &[Node<'_>], root: usize, budget: Budget) -> Result<Value, Fault> {
    Show { nodes, open: Vec::new(), budget }.value(root)
}

struct Show<'a, 'r> {
    nodes: &'a [Node<'r>],
    /// The nodes within which we are.
    open: Vec<usize>,
    budget: Budget,
}

impl<'a, 'r> Show<'a, 'r> {
    fn value(&mut self, node: usize) -> Result<Value, Fault> {
        self.budget.node()?;
        let nodes = self.nodes;
        match &nodes[node] {
            Node::Plain(value) => {
                if let Value::Text(text) | Value::Integer(text) | Value::Float(text) = value {
                    self.budget.text(text.len())?;
                }
                Ok(value.clone())
            }
            Node::Bytes(bytes) => self.bytes(bytes),
            Node::Encoded(bytes) => self.bytes(bytes),
            Node::Global(name) => self.shown(name.clone()),
            Node::Tuple(items) | Node::List(items) | Node::Set(items) => self.within(node, |show| show.list(items)),
            Node::Dict(entries) => self.within(node, |show| show.map(entries)),
            Node::Object(object) => self.within(node, |show| show.object(object)),
        }
    }

    fn within(&mut self, node: usize, read: impl FnOnce(&mut Self) -> Result<Value, Fault>) -> Result<Value, Fault> {
        if self.open.contains(&node) {
            return Ok(Value::Null);
        }
        self.budget.open()?;
        self.open.push(node);
        let value = read(self)?;
        self.open.pop();
        self.budget.close();
        Ok(value)
    }

    fn list(&mut self, items: &[usize]) -> Result<Value, Fault> {
        items.iter().map(|item| self.value(*item)).collect::<Result<_, _>>().map(Value::List)
    }

    fn map(&mut self, entries: &[(usize, usize)]) -> Result<Value, Fault> {
        let entry = |(key, value): &(usize, usize)| Ok((self.value(*key)?.into_key(), self.value(*value)?));
        entries.iter().map(entry).collect::<Result<_, _>>().map(Value::Map)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Value, Fault> {
        self.budget.text(bytes.len().div_ceil(3) * 4)?;
        Ok(Value::bytes(bytes))
    }

    fn shown(&mut self, text: SmolStr) -> Result<Value, Fault> {
        self.budget.text(text.len())?;
        Ok(Value::Shown(text))
    }

    fn object(&mut self, object: &Object) -> Result<Value, Fault> {
        let class = match self.class(object.class) {
            // As protocols 0 and 1 write an object: by the function that would make it.
            "copy_reg._reconstructor" | "copyreg._reconstructor" => {
                self.arguments(object).first().map_or("", |class| self.class(*class))
            }
            class => class,
        };
        if let Some(known) = self.known(class, object)? {
            return Ok(known);
        }
        if !object.entries.is_empty() || matches!(class, "collections.OrderedDict" | "collections.defaultdict") {
            return self.map(&object.entries);
        }
        if !object.items.is_empty() {
            return self.list(&object.items);
        }
        match (object.state.map(|state| &self.nodes[state]), self.arguments(object)) {
            // A member of an enumeration, a text or a number with a class of its own.
            (None, [only]) if matches!(self.nodes[*only], Node::Plain(_)) => {
                let text = self.value(*only)?.into_key();
                Ok(Value::Shown(text))
            }
            (Some(Node::Tuple(both)), _) => {
                let mut fields = Vec::new();
                for part in both {
                    self.budget.node()?;
                    if let Node::Dict(entries) = &self.nodes[*part] {
                        fields.extend(self.fields(entries)?);
                    }
                }
                Ok(Value::Map(fields))
            }
            (Some(Node::Dict(entries)), _) => self.fields(entries).map(Value::Map),
            _ => Ok(Value::Map(Vec::new())),
        }
    }

    /// The public fields; a model of Django's holds the hash of its user's password, too.
    fn fields(&mut self, entries: &[(usize, usize)]) -> Result<Vec<(SmolStr, Value)>, Fault> {
        let mut fields = Vec::new();
        for (key, value) in entries {
            match &self.nodes[*key] {
                Node::Plain(Value::Text(key)) if !key.starts_with('_') && key != "password" => {
                    self.budget.text(key.len())?;
                    fields.push((key.clone(), self.value(*value)?));
                }
                // Paid for as well: the object may be shared.
                _ => self.budget.node()?,
            }
        }
        Ok(fields)
    }

    /// What a class of Python's own stands for.
    fn known(&mut self, class: &str, object: &Object) -> Result<Option<Value>, Fault> {
        let first = self.argument(object, 0);
        let shown = match (class, first) {
            ("datetime.datetime", Some(state)) => self.datetime(state, self.argument(object, 1)),
            ("datetime.date", Some(state)) => bytes(state).and_then(date),
            ("datetime.time", Some(state)) => bytes(state).and_then(time),
            ("uuid.UUID", _) => object.state.and_then(|state| self.uuid(state)),
            ("decimal.Decimal", Some(Node::Plain(Value::Text(digits)))) => Some(digits.clone()),
            ("django.utils.safestring.SafeString" | "markupsafe.Markup", Some(Node::Plain(Value::Text(_)))) => {
                return self.value(self.arguments(object)[0]).map(Some);
            }
            (
                "builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset",
                Some(Node::List(items) | Node::Tuple(items)),
            ) => return self.list(items).map(Some),
            ("collections.Counter", Some(Node::Dict(entries))) => return self.map(entries).map(Some),
            ("builtins.bytearray" | "__builtin__.bytearray", Some(Node::Plain(Value::Text(text)))) => {
                self.budget.text(text.len())?;
                let decoded: Option<Vec<u8>> = text.chars().map(|byte| byte.try_into().ok()).collect();
                return decoded.map(|decoded| self.bytes(&decoded)).transpose();
            }
            ("builtins.bytearray" | "__builtin__.bytearray", Some(state)) => {
                return bytes(state).map(|bytes| self.bytes(bytes)).transpose();
            }
            // A dict or a list with a class of its own: its content is the third argument of the function that makes it.
            (_, Some(Node::Global(_))) if object.state.is_none() => match self.argument(object, 2) {
                Some(Node::Dict(entries)) => return self.map(entries).map(Some),
                Some(Node::List(items)) => return self.list(items).map(Some),
                _ => None,
            },
            _ => None,
        };
        shown.map(|text| self.shown(text)).transpose()
    }

    /// The name of a class; empty if it is not by name that it is known.
    fn class(&self, node: usize) -> &'a str {
        match &self.nodes[node] {
            Node::Global(name) => name,
            // A method of a class.
            Node::Object(method) => match (&self.nodes[method.class], self.argument(method, 0)) {
                (Node::Global(getter), Some(Node::Global(name))) if getter.ends_with(".getattr") => name,
                _ => "",
            },
            _ => "",
        }
    }

    fn arguments(&self, object: &Object) -> &'a [usize] {
        match &self.nodes[object.arguments] {
            Node::Tuple(arguments) => arguments,
            _ => &[],
        }
    }

    fn argument(&self, object: &Object, index: usize) -> Option<&'a Node<'r>> {
        self.arguments(object).get(index).map(|argument| &self.nodes[*argument])
    }

    /// With a zone that is known a point in time (RFC 3339), without one the time on some wall.
    fn datetime(&self, state: &Node<'_>, zone: Option<&Node<'_>>) -> Option<SmolStr> {
        let state = bytes(state)?;
        let (day, clock) = state.split_at_checked(4)?;
        let local = format_smolstr!("{}T{}", date(day)?, time(clock)?);
        let Some(Node::Object(zone)) = zone else { return Some(local) };
        let offset = match (self.class(zone.class), self.argument(zone, 0)) {
            ("datetime.timezone", Some(Node::Object(delta))) if self.class(delta.class) == "datetime.timedelta" => {
                let number = |index| match self.argument(delta, index) {
                    Some(Node::Plain(Value::Integer(text))) => text.parse::<i64>().ok(),
                    _ => None,
                };
                number(0)?.checked_mul(86_400)?.checked_add(number(1)?)?
            }
            ("zoneinfo.ZoneInfo" | "zoneinfo.ZoneInfo._unpickle", Some(Node::Plain(Value::Text(zone))))
                if zone == "UTC" =>
            {
                0
            }
            ("pytz._UTC" | "django.utils.timezone.UTC", _) => 0,
            _ => return Some(local),
        };
        if offset == 0 {
            return Some(format_smolstr!("{local}Z"));
        }
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
        (minutes < 24 * 60).then(|| format_smolstr!("{local}{sign}{:02}:{:02}", minutes / 60, minutes % 60))
    }

    fn uuid(&self, state: usize) -> Option<SmolStr> {
        let Node::Dict(entries) = &self.nodes[state] else { return None };
        let number = entries.iter().take(4).find_map(|(key, value)| match (&self.nodes[*key], &self.nodes[*value]) {
            (Node::Plain(Value::Text(key)), Node::Plain(Value::Integer(number))) if key == "int" => Some(number),
            _ => None,
        });
        Some(uuid(&number?.parse::<u128>().ok()?.to_be_bytes()))
    }
}

fn bytes<'a>(node: &'a Node<'_>) -> Option<&'a [u8]> {
    match node {
        Node::Bytes(bytes) => Some(bytes),
        Node::Encoded(bytes) => Some(bytes),
        _ => None,
    }
}

fn date(state: &[u8]) -> Option<SmolStr> {
    let [high, low, month @ 1..=12, day @ 1..=31] = state else { return None };
    Some(format_smolstr!("{:04}-{month:02}-{day:02}", u16::from_be_bytes([*high, *low])))
}

fn time(state: &[u8]) -> Option<SmolStr> {
    let [hour @ 0..=23, minute @ 0..=59, second @ 0..=59, micros @ ..] = state else { return None };
    let [high, middle, low] = micros else { return None };
    let micros = u32::from_be_bytes([0, *high, *middle, *low]);
    let whole = format_smolstr!("{hour:02}:{minute:02}:{second:02}");
    match micros {
        0 => Some(whole),
        1..=999_999 => Some(format_smolstr!("{whole}.{micros:06}")),
        _ => None,
    }
}
