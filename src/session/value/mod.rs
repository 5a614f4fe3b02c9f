//! One bounded value, whatever the format that a record was written in.

pub mod budget;
pub mod gob;
pub mod input;
pub mod java;
pub mod json;
pub mod marshal;
pub mod msgpack;
pub mod patch;
pub mod php;
pub mod pickle;
pub mod selection;
mod shared;
pub mod zlib;

use crate::config::path::RecordPath;
use base64::{Engine, engine::general_purpose::STANDARD};
use smol_str::{SmolStr, format_smolstr};
use std::fmt::Display;

/// The most bytes of a whole number: about as many digits as Python itself is willing to write.
const INTEGER_MAX: usize = 1792;

/// The most bytes of a key that is a list or a map itself, which is shown as text: of such keys within such keys each
/// would be twice as long as the one within, for its quotes.
const KEY_MAX: usize = 1024;

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
    /// What JSON has no kind for, as text: bytes in base64, a time, a decimal. It is shown, but it is never a user's
    /// id or a role.
    Shown(SmolStr),
    /// A list.
    List(Vec<Value>),
    /// A map in the order written; of equal keys the last counts.
    Map(Vec<(SmolStr, Value)>),
}

/// Why bytes cannot be read as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(pub &'static str);

impl Value {
    /// Gives back the room that reading took and that is not needed: a record may be kept for long.
    pub fn shrink(&mut self) {
        match self {
            Self::List(items) => {
                items.shrink_to_fit();
                items.iter_mut().for_each(Self::shrink);
            }
            Self::Map(entries) => {
                entries.shrink_to_fit();
                entries.iter_mut().for_each(|(_, value)| value.shrink());
            }
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) | Self::Shown(_) => {}
        }
    }

    /// A whole number.
    pub fn integer(number: impl Display) -> Self {
        Self::Integer(format_smolstr!("{number}"))
    }

    /// A whole number of any size, from its magnitude with the lowest byte first.
    ///
    /// Fails beyond some 4300 digits: writing them takes time that grows with their square.
    pub fn big_integer(negative: bool, magnitude: &[u8]) -> Result<Self, Fault> {
        let length = magnitude.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if length > INTEGER_MAX {
            return Err(Fault("a number of too many digits"));
        }
        let mut limbs: Vec<u32> = Vec::with_capacity(length.div_ceil(4));
        for chunk in magnitude[..length].chunks(4) {
            limbs.push(chunk.iter().rev().fold(0, |limb, byte| limb << 8 | u32::from(*byte)));
        }
        // Nine digits at a time, the lowest first.
        let mut groups = Vec::new();
        while !limbs.is_empty() {
            let mut remainder = 0;
            for limb in limbs.iter_mut().rev() {
                let whole = remainder << 32 | u64::from(*limb);
                *limb = (whole / 1_000_000_000) as u32;
                remainder = whole % 1_000_000_000;
            }
            groups.push(remainder);
            while limbs.last() == Some(&0) {
                limbs.pop();
            }
        }
        let mut text = String::from(if negative && length > 0 { "-" } else { "" });
        text += &groups.pop().unwrap_or(0).to_string();
        text.extend(groups.iter().rev().map(|group| format!("{group:09}")));
        Ok(Self::Integer(text.into()))
    }

    /// Any other number; what is not finite is `Null`, as JSON has no word for it.
    pub fn float(number: f64) -> Self {
        if number.is_finite() { Self::Float(format_smolstr!("{number:?}")) } else { Self::Null }
    }

    /// Any other number, from its digits.
    pub fn decimal(text: &[u8]) -> Result<Self, Fault> {
        let is_plain = text.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
        let number = str::from_utf8(text).ok().filter(|_| is_plain).and_then(|text| text.parse().ok());
        number.map(Self::float).ok_or(Fault("not a number"))
    }

    /// Bytes, shown in base64.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Shown(STANDARD.encode(bytes).into())
    }

    /// Text in a language whose texts are bytes: what is not UTF-8 is shown as [`Value::bytes`].
    pub fn text(bytes: &[u8]) -> Self {
        str::from_utf8(bytes).map_or_else(|_| Self::bytes(bytes), |text| Self::Text(text.into()))
    }

    /// The value as a map's key, which is text in JSON; a long list or map is an ellipsis.
    pub fn into_key(self) -> SmolStr {
        match self {
            Self::Integer(text) | Self::Float(text) | Self::Text(text) | Self::Shown(text) => text,
            other => Some(json::write(&other)).filter(|text| text.len() <= KEY_MAX).map_or("…".into(), SmolStr::from),
        }
    }

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

/// 16 bytes as UUIDs are written.
fn uuid(bytes: &[u8]) -> SmolStr {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record that ends too early is a fault, wherever that is.
    pub(super) fn assert_every_cut_is_refused(record: &[u8], read: impl Fn(&[u8]) -> Result<Value, Fault>) {
        for length in 0..record.len() {
            assert!(read(&record[..length]).is_err(), "{length}");
        }
    }

    /// A record with one byte changed, and without some behind it, makes nobody panic.
    pub(super) fn judge_spoilt(record: &[u8], read: impl Fn(&[u8]) -> Result<Value, Fault>) {
        proptest!(|(at in 0..record.len(), byte: u8, cut in 0..40_usize)| {
            let mut record = record.to_vec();
            record[at] = byte;
            let _ = read(&record);
            record.drain(at..(at + cut).min(record.len()));
            let _ = read(&record);
        });
    }

    fn at(json: &str, steps: &[&str]) -> Option<String> {
        let value = json::read(json.as_bytes()).expect("the test's JSON is readable");
        let path = RecordPath(steps.iter().map(|step| (*step).to_owned()).collect());
        value.at(&path).map(json::write)
    }

    #[test]
    fn whole_numbers_are_exact_at_any_size() {
        let big = |negative, magnitude: &[u8]| Value::big_integer(negative, magnitude);
        let integer = |text: &str| Ok(Value::Integer(text.into()));
        assert_eq!(big(true, &[]), integer("0"));
        assert_eq!(big(true, &[0, 0]), integer("0"));
        assert_eq!(big(true, &[1, 1, 0]), integer("-257"));
        assert_eq!(big(false, &1_000_000_000_u64.to_le_bytes()), integer("1000000000"));
        for number in [u128::MAX, u128::MAX - 1, 1 << 64, 10_u128.pow(38), 10_u128.pow(27) + 1, 9_007_199_254_740_993] {
            assert_eq!(big(false, &number.to_le_bytes()), integer(&number.to_string()));
        }
        let longest = big(false, &[255; INTEGER_MAX]).map(Value::into_key).map(|text| text.len());
        assert_eq!((longest, big(false, &[1; INTEGER_MAX + 1]).is_err()), (Ok(4316), true));
    }

    #[test]
    fn what_json_has_no_kind_for_is_shown() {
        assert_eq!(json::write(&Value::bytes(&[0, 255])), "\"AP8=\"");
        assert_eq!((Value::text(b"\xff"), Value::text(b"a")), (Value::bytes(b"\xff"), Value::Text("a".into())));
        let floats: Vec<_> = [1.5, 1e300, 1.0, f64::NAN, f64::INFINITY].map(Value::float).into();
        assert_eq!(json::write(&Value::List(floats)), "[1.5,1e300,1.0,null,null]");
        let decimal = |text: &str| Value::decimal(text.as_bytes());
        assert_eq!([".5", "1.E+3"].map(decimal), [0.5, 1e3].map(|number| Ok(Value::float(number))));
        assert!(["", ".", "inf", "NaN", "0x1", "1_0", " 1"].map(decimal).iter().all(Result::is_err));
        assert_eq!([Value::Bool(true), Value::Null, Value::integer(7)].map(Value::into_key), ["true", "null", "7"]);
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

    #[test]
    fn maps_that_are_keys_of_maps_take_no_room_worth_mentioning() {
        let record = [b"\x04\x08", "{\x06".repeat(60).as_bytes(), "0".repeat(61).as_bytes()].concat();
        let text = json::write(&marshal::read(&record).unwrap());
        assert!(text.len() <= 2 * KEY_MAX, "{}", text.len());
        let mut key = Value::List(vec![Value::integer(1), Value::Text("a".into())]);
        assert_eq!(key.clone().into_key(), "[1,\"a\"]");
        for _ in 0..60 {
            key = Value::Map(vec![(key.into_key(), Value::Null)]);
        }
        assert!(json::write(&key).len() <= 2 * KEY_MAX);
    }
}
