//! `onedoor schema`: the JSON Schema of gateway.toml, for editors, from the tables that the file is read with.

use super::{Outcome, say};
use crate::config::keys::{Key, ROOT, Shape, Table};
use serde_json::{Map, Value, json};

/// Prints the schema as indented JSON.
pub(super) fn run() -> Outcome {
    say(format_args!("{:#}", schema()))
}

/// The schema, draft-07. Where a reference to an environment variable may stand, a pattern lets it through.
fn schema() -> Value {
    let mut schema = of_table(&ROOT);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("gateway.toml");
    schema["required"] = json!(["rules"]);
    schema
}

fn of_table(table: &Table) -> Value {
    let properties: Map<String, Value> = table.keys.iter().map(|key| (key.name.to_owned(), of_key(key))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn of_key(key: &Key) -> Value {
    let mut schema = of_shape(&key.shape);
    schema["description"] = json!(key.meaning);
    if let Some(default) = default_of(&key.shape) {
        schema["default"] = default;
    }
    schema
}

fn of_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Flag(_) => json!({ "type": "boolean" }),
        Shape::Count { from, to, .. } => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Shape::Size { .. } => written(r"^(0|[0-9]+(B|KiB|MiB|GiB))$"),
        Shape::Duration { .. } => written(r"^([0-9]+(ms|s|m|h|d))+$"),
        Shape::Text(_) => json!({ "type": "string" }),
        Shape::Texts(_) | Shape::Secrets => texts(),
        Shape::Statuses => {
            let status = json!({ "type": ["integer", "string"] });
            json!({ "anyOf": [status, { "type": "array", "items": status }] })
        }
        Shape::Choice { of, .. } => json!({ "anyOf": [{ "enum": of }, reference()] }),
        Shape::Table(table) => of_table(table),
        Shape::Tables(table) => json!({ "type": "array", "minItems": 1, "items": of_table(table) }),
        Shape::OneOrMore(table) => {
            json!({ "anyOf": [of_table(table), { "type": "array", "minItems": 1, "items": of_table(table) }] })
        }
        Shape::Headers(table) => {
            let mut schema = of_table(table);
            schema["additionalProperties"] = json!({ "type": "string" });
            schema
        }
        Shape::FlagOrHeaders => {
            json!({ "anyOf": [{ "type": "boolean" }, { "type": "object", "additionalProperties": { "type": "string" } }] })
        }
        Shape::Dest => {
            let weights = json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } });
            json!({ "anyOf": [{ "type": "string" }, weights] })
        }
        Shape::Names => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Shape::Named(table) => json!({ "type": "object", "additionalProperties": of_table(table) }),
        Shape::Upstreams(table) => {
            json!({ "type": "object", "additionalProperties": { "anyOf": [texts(), of_table(table)] } })
        }
    }
}

/// A text of this form, or one with a variable in it.
fn written(pattern: &str) -> Value {
    json!({ "type": "string", "anyOf": [{ "pattern": pattern }, reference()] })
}

fn reference() -> Value {
    json!({ "type": "string", "pattern": r"\$\{" })
}

fn texts() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

fn default_of(shape: &Shape) -> Option<Value> {
    match shape {
        Shape::Flag(default) => Some(json!(default)),
        Shape::Count { default, .. } => default.map(|default| json!(default)),
        Shape::Size { default, .. } => Some(json!(default)),
        Shape::Duration { default, .. } | Shape::Text(default) | Shape::Choice { default, .. } => {
            default.map(|default| json!(default))
        }
        Shape::Texts([only]) => Some(json!(only)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of every table, as `section.key`.
    fn paths(table: &Table, above: &str) -> Vec<String> {
        let mut found = Vec::new();
        for key in table.keys {
            let path = format!("{above}/properties/{}", key.name);
            match key.shape {
                Shape::Table(below) | Shape::Headers(below) => found.extend(paths(below, &path)),
                Shape::Tables(below) => found.extend(paths(below, &format!("{path}/items"))),
                Shape::OneOrMore(below) => found.extend(paths(below, &format!("{path}/anyOf/0"))),
                Shape::Named(below) => found.extend(paths(below, &format!("{path}/additionalProperties"))),
                Shape::Upstreams(below) => found.extend(paths(below, &format!("{path}/additionalProperties/anyOf/1"))),
                _ => {}
            }
            found.push(path);
        }
        found
    }

    #[test]
    fn every_key_is_in_the_schema_with_a_description() {
        let schema = schema();
        let paths = paths(&ROOT, "");
        assert!(paths.len() > 70, "{}", paths.len());
        for path in paths {
            let key = schema.pointer(&path).unwrap_or_else(|| panic!("{path} is missing"));
            assert!(key["description"].as_str().is_some_and(|text| text.ends_with('.')), "{path}");
        }
    }

    #[test]
    fn every_key_is_explained_in_the_annotated_example() {
        let example = include_str!("../../gateway.toml");
        for path in paths(&ROOT, "") {
            let key = path.rsplit('/').next().expect("a key");
            assert!(example.contains(key), "{path} is missing");
        }
    }

    #[test]
    fn tables_are_closed_and_defaults_are_shown() {
        let schema = schema();
        assert_eq!(schema.pointer("/properties/server/additionalProperties"), Some(&json!(false)));
        assert_eq!(schema.pointer("/properties/server/properties/limits/properties/body/default"), Some(&json!("0")));
        assert_eq!(schema.pointer("/properties/log/properties/level/anyOf/0/enum/4"), Some(&json!("trace")));
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    }
}
