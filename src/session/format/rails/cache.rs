//! The entries of ActiveSupport's cache: a value, perhaps packed, and when it ends.

use super::Opened;
use crate::session::value::{Fault, Value, input::Input, marshal, zlib};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{borrow::Cow, time::Duration};

/// Up to Rails 6.1: an object like any other.
const OBJECT: &[u8] = b"\x04\x08o: ActiveSupport::Cache::Entry";
/// Rails 7.0: a mark, then the parts as an array.
const PARTS: &[u8] = b"\x00\x04\x08";
const PACKED_PARTS: &[u8] = b"\x01\x78";
/// From Rails 7.1 on: a head of its own before the value.
const HEAD: &[u8] = b"\x00\x11";
/// The one kind of value that can be a session: what Marshal wrote.
const MARSHAL: u8 = 0x01;
/// Set where it is packed.
const PACKED: u8 = 0x80;

/// Reads an entry; `None` = the record is none.
pub(super) fn read(record: &[u8]) -> Result<Option<Opened>, Fault> {
    if record.starts_with(OBJECT) {
        return read_object(marshal::read(record)?).map(Some);
    }
    if record.starts_with(PARTS) {
        return read_parts(&record[1..]).map(Some);
    }
    if record.starts_with(PACKED_PARTS) {
        return read_parts(&zlib::unpack(&record[1..])?).map(Some);
    }
    record.strip_prefix(HEAD).map(read_behind_head).transpose()
}

fn read_object(entry: Value) -> Result<Opened, Fault> {
    let created = number(entry.member("created_at"))?.unwrap_or(0.0);
    let ends = number(entry.member("expires_in"))?.map(|lifetime| moment(created + lifetime)).transpose()?;
    let is_packed = matches!(entry.member("compressed"), Some(Value::Bool(true)));
    let Value::Map(members) = entry else { return Err(Fault("not a cache entry")) };
    let value = members.into_iter().find(|(name, _)| name == "value").map(|(_, value)| value);
    let value = value.ok_or(Fault("a cache entry without a value"))?;
    let data = if is_packed { marshal::read(&zlib::unpack(&bytes(&value)?)?)? } else { value };
    Ok(Opened { data, ends })
}

/// The value, when it ends, its version: the last ones may be missing.
fn read_parts(dump: &[u8]) -> Result<Opened, Fault> {
    let Value::List(parts) = marshal::read(dump)? else { return Err(Fault("not a cache entry")) };
    let mut parts = parts.into_iter();
    let data = parts.next().ok_or(Fault("a cache entry without a value"))?;
    let ends = number(parts.next().as_ref())?.map(moment).transpose()?;
    Ok(Opened { data, ends })
}

/// The kind, when it ends (below zero = never), the length of its version (below zero = none), the version, the value.
fn read_behind_head(entry: &[u8]) -> Result<Opened, Fault> {
    let mut input = Input::new(entry);
    let kind = input.byte()?;
    let ends = f64::from_le_bytes(input.array()?);
    let version = i32::from_le_bytes(input.array()?);
    input.take(version.max(0))?;
    let dump = match kind & PACKED {
        0 => Cow::from(input.rest()),
        _ => Cow::from(zlib::unpack(input.rest())?),
    };
    if kind & !PACKED != MARSHAL {
        return Err(Fault("a cache entry that is no session"));
    }
    let ends = if ends < 0.0 { None } else { Some(moment(ends)?) };
    Ok(Opened { data: marshal::read(&dump)?, ends })
}

fn number(value: Option<&Value>) -> Result<Option<f64>, Fault> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Integer(text) | Value::Float(text)) => {
            text.parse().map(Some).map_err(|_| Fault("a cache entry without a time"))
        }
        Some(_) => Err(Fault("a cache entry without a time")),
    }
}

/// Seconds since the Unix epoch; what lies before it is over as well.
fn moment(seconds: f64) -> Result<Duration, Fault> {
    Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| Fault("a cache entry without a time"))
}

/// The bytes of a text, which a value shows in base64 where they are no UTF-8.
fn bytes(value: &Value) -> Result<Cow<'_, [u8]>, Fault> {
    match value {
        Value::Text(text) => Ok(text.as_bytes().into()),
        Value::Shown(text) => {
            STANDARD.decode(text.as_str()).map(Cow::from).map_err(|_| Fault("not zlib, or cut short"))
        }
        _ => Err(Fault("not zlib, or cut short")),
    }
}
