//! Changes to a value: merging a patch, adding to numbers.

use super::Value;
use smol_str::SmolStr;

/// Why numbers could not be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// JSON merge patch (RFC 7396): a member of `patch` replaces the target's, `null` removes it, maps are merged in
/// turn.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Map(changes) = patch else {
        *target = patch.clone();
        return;
    };
    let mut entries = take_entries(target);
    for (key, change) in changes {
        // Of equal keys only the last would be patched, and an earlier one would come to light.
        if *change == Value::Null {
            entries.retain(|(name, _)| name != key);
        } else {
            merge(member(&mut entries, key), change);
        }
    }
    *target = Value::Map(entries);
}

/// Adds the numbers of `delta` to those of `target`, map by map; a number that is missing counts as 0.
///
/// Whole numbers stay whole and exact. A fault leaves `target` half changed: throw it away.
pub fn add(target: &mut Value, delta: &Value) -> Result<(), Fault> {
    let Value::Map(changes) = delta else {
        *target = sum(target, delta)?;
        return Ok(());
    };
    if !matches!(target, Value::Map(_) | Value::Null) {
        return Err(Fault("it would replace something that is not an object"));
    }
    let mut entries = take_entries(target);
    for (key, change) in changes {
        add(member(&mut entries, key), change)?;
    }
    *target = Value::Map(entries);
    Ok(())
}

/// Whether `delta` is made of numbers and maps of numbers alone, as [`add`] demands.
pub fn is_delta(delta: &Value) -> bool {
    match delta {
        Value::Integer(_) | Value::Float(_) => true,
        Value::Map(entries) => entries.iter().all(|(_, value)| is_delta(value)),
        _ => false,
    }
}

fn sum(target: &Value, delta: &Value) -> Result<Value, Fault> {
    match (target, delta) {
        (Value::Null, number) => Ok(number.clone()),
        (Value::Integer(left), Value::Integer(right)) => {
            let sum =
                left.parse::<i128>().ok().zip(right.parse().ok()).and_then(|(left, right)| left.checked_add(right));
            sum.map(|sum| Value::Integer(sum.to_string().into())).ok_or(Fault("the number is too large"))
        }
        (Value::Integer(left) | Value::Float(left), Value::Integer(right) | Value::Float(right)) => {
            let sum = left.parse::<f64>().ok().zip(right.parse().ok()).map(|(left, right): (f64, f64)| left + right);
            let sum = sum.filter(|sum| sum.is_finite()).ok_or(Fault("the number is too large"))?;
            Ok(Value::Float(format!("{sum:?}").into()))
        }
        _ => Err(Fault("it would add to something that is not a number")),
    }
}

/// The members of a map; of anything else none.
fn take_entries(value: &mut Value) -> Vec<(SmolStr, Value)> {
    match std::mem::replace(value, Value::Null) {
        Value::Map(entries) => entries,
        _ => Vec::new(),
    }
}

/// The member of this name, `Null` if it has to be made.
fn member<'a>(entries: &'a mut Vec<(SmolStr, Value)>, key: &str) -> &'a mut Value {
    let at = entries.iter().rposition(|(name, _)| &**name == key).unwrap_or(entries.len());
    if at == entries.len() {
        entries.push((key.into(), Value::Null));
    }
    &mut entries[at].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::value::json;

    fn value(json: &str) -> Value {
        json::read(json.as_bytes()).expect("the test's JSON is readable")
    }

    fn merged(target: &str, patch: &str) -> String {
        let mut target = value(target);
        merge(&mut target, &value(patch));
        json::write(&target)
    }

    fn added(target: &str, delta: &str) -> Result<String, Fault> {
        let (mut target, delta) = (value(target), value(delta));
        add(&mut target, &delta).map(|()| json::write(&target))
    }

    #[test]
    fn a_merge_follows_the_appendix_of_rfc_7396() {
        let rows = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, r#"null"#, r#"null"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (target, patch, result) in rows {
            assert_eq!(merged(target, patch), result, "{target} + {patch}");
        }
    }

    #[test]
    fn a_removed_key_does_not_come_back_from_an_earlier_twin() {
        assert_eq!(merged(r#"{"a":1,"a":2}"#, r#"{"a":null}"#), "{}");
    }

    #[test]
    fn whole_numbers_are_added_exactly() {
        assert_eq!(added(r#"{"n":9007199254740993}"#, r#"{"n":1}"#).as_deref(), Ok(r#"{"n":9007199254740994}"#));
        assert_eq!(added("{}", r#"{"n":-2,"in":{"side":3}}"#).as_deref(), Ok(r#"{"n":-2,"in":{"side":3}}"#));
        assert_eq!(added(r#"{"n":null,"f":0.5}"#, r#"{"n":1,"f":1}"#).as_deref(), Ok(r#"{"n":1,"f":1.5}"#));
    }

    #[test]
    fn what_is_no_number_is_not_added_to() {
        for target in [r#"{"n":"1"}"#, r#"{"n":[]}"#, r#"{"n":{}}"#, r#"{"n":true}"#] {
            assert!(added(target, r#"{"n":1}"#).is_err(), "{target}");
        }
        assert!(added(r#"{"n":1}"#, r#"{"n":{"m":1}}"#).is_err());
        assert!(added(&format!(r#"{{"n":{}}}"#, i128::MAX), r#"{"n":1}"#).is_err());
        assert!(added(r#"{"n":1e308}"#, r#"{"n":1e308}"#).is_err());
        assert!(is_delta(&value(r#"{"n":1,"m":{"x":-1.5}}"#)) && !is_delta(&value(r#"{"n":"1"}"#)));
    }
}
