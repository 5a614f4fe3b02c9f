//! One bounded value, whatever the format that a record was written in.

pub mod json;
pub mod patch;

use crate::config::path::RecordPath;
use smol_str::SmolStr;

/// A record or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number as decimal text, exact at any size.
    Integer(SmolStr),
    /// Any other number, as text.
    Float(SmolStr),
    /// Text.
    Text(SmolStr),
    /// A list.
    List(Vec<Value>),
    /// A map in the order written; of equal keys the last counts.
    Map(Vec<(SmolStr, Value)>),
}

impl Value {
    /// What lies at `path`. A step made of digits alone also steps into a list.
    pub fn at(&self, path: &RecordPath) -> Option<&Value> {
        path.0.iter().try_fold(self, |value, step| value.member(step))
    }

    /// One step: a map's key or a list's index.
    pub fn member(&self, step: &str) -> Option<&Value> {
        match self {
            Self::Map(entries) => entries.iter().rev().find(|(key, _)| &**key == step).map(|(_, value)| value),
            Self::List(items) if step.bytes().all(|byte| byte.is_ascii_digit()) => {
                items.get(step.parse::<usize>().ok()?)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(json: &str, steps: &[&str]) -> Option<String> {
        let value = json::read(json.as_bytes()).expect("the test's JSON is readable");
        let path = RecordPath(steps.iter().map(|step| (*step).to_owned()).collect());
        value.at(&path).map(json::write)
    }

    #[test]
    fn a_path_steps_into_maps_and_lists() {
        let record = r#"{"user":{"id":42},"warden.user.user.key":[[7],"salt"],"0":"zero"}"#;
        assert_eq!(at(record, &["user", "id"]).as_deref(), Some("42"));
        assert_eq!(at(record, &["warden.user.user.key", "0", "0"]).as_deref(), Some("7"));
        assert_eq!(at(record, &["0"]).as_deref(), Some("\"zero\""));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_not_there() {
        let record = r#"{"user":[1],"text":"abc"}"#;
        for steps in
            [&["no"][..], &["user", "1"], &["user", "+0"], &["user", "length"], &["text", "0"], &["user", "", "x"]]
        {
            assert_eq!(at(record, steps), None, "{steps:?}");
        }
    }
}
