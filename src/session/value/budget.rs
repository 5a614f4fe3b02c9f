//! What reading one record may cost, the same in every format.

use super::{Fault, Value};

/// The deepest nesting that is read.
pub const DEPTH_MAX: usize = 64;
/// The most values that one record may hold; a value that is shared counts wherever it is met.
pub const NODES_MAX: usize = 100_000;
/// The longest record that is read, and the most text that its values may hold together.
pub const BYTES_MAX: usize = 1024 * 1024;

/// What may still be read of one record.
#[derive(Debug)]
pub struct Budget {
    depth: usize,
    nodes: usize,
    bytes: usize,
}

impl Budget {
    /// The whole budget, for a record that is not too long.
    pub fn of(record: &[u8]) -> Result<Self, Fault> {
        if record.len() > BYTES_MAX {
            return Err(Fault("longer than 1 MiB"));
        }
        Ok(Self { depth: DEPTH_MAX, nodes: NODES_MAX, bytes: BYTES_MAX })
    }

    /// Pays for one value.
    pub fn node(&mut self) -> Result<(), Fault> {
        self.nodes = self.nodes.checked_sub(1).ok_or(Fault("too many values"))?;
        Ok(())
    }

    /// Pays for text that may come out longer than it stands in the record, because it is shared or encoded.
    pub fn text(&mut self, length: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.checked_sub(length).ok_or(Fault("too much text"))?;
        Ok(())
    }

    /// Steps into a list or a map.
    pub fn open(&mut self) -> Result<(), Fault> {
        self.depth = self.depth.checked_sub(1).ok_or(Fault("nested too deeply"))?;
        Ok(())
    }

    /// Steps out of it.
    pub fn close(&mut self) {
        self.depth += 1;
    }

    /// A copy of a value that the record refers to once more, paid for as if it stood there.
    pub fn copy(&mut self, value: &Value) -> Result<Value, Fault> {
        self.pay(value)?;
        Ok(value.clone())
    }

    fn pay(&mut self, value: &Value) -> Result<(), Fault> {
        self.node()?;
        match value {
            Value::Null | Value::Bool(_) => Ok(()),
            Value::Integer(text) | Value::Float(text) | Value::Text(text) | Value::Shown(text) => self.text(text.len()),
            Value::List(items) => {
                self.open()?;
                items.iter().try_for_each(|item| self.pay(item))?;
                self.close();
                Ok(())
            }
            Value::Map(entries) => {
                self.open()?;
                for (key, item) in entries {
                    self.text(key.len())?;
                    self.pay(item)?;
                }
                self.close();
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_costs_what_it_holds() {
        let mut budget = Budget::of(b"").expect("an empty record is not too long");
        let text = Value::Text("x".repeat(BYTES_MAX / 4).into());
        let mut value = Value::List(vec![text; 2]);
        value = Value::List(vec![budget.copy(&value).expect("half of the text is left"), value]);
        assert_eq!(budget.copy(&value), Err(Fault("too much text")));

        let mut budget = Budget::of(b"").expect("an empty record is not too long");
        let mut value = Value::Null;
        let doubled = (0..40).try_for_each(|_| {
            value = Value::List(vec![budget.copy(&value)?, budget.copy(&value)?]);
            Ok(())
        });
        assert_eq!(doubled, Err(Fault("too many values")));

        let mut value = Value::Null;
        for _ in 0..DEPTH_MAX {
            value = Value::List(vec![value]);
        }
        let mut budget = Budget::of(b"").expect("an empty record is not too long");
        assert!(budget.copy(&value).is_ok());
        assert_eq!(budget.open().and_then(|()| budget.copy(&value)), Err(Fault("nested too deeply")));
        assert!(Budget::of(&vec![0; BYTES_MAX + 1]).is_err());
    }
}
