//! Spring Session with Redis: a UUID in base64, a hash of fields that are Java objects or JSON.

use super::{Absence, Opened, Presented, SessionId, Value, java, json};
use crate::session::value::{Fault, input::Input};
use base64::{Engine, engine::general_purpose::STANDARD};
use smol_str::SmolStr;
use std::time::Duration;

/// Before the name of what the app put into the session.
const ATTRIBUTE: &str = "sessionAttr:";
/// The user's name, where the app sets it for Spring to find sessions by.
const NAME_INDEX: &str = "org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME";
/// What Spring Security knows of the user.
const CONTEXT: &str = "SPRING_SECURITY_CONTEXT";
/// The fields that are Spring's own.
const CREATED: &str = "creationTime";
const USED: &str = "lastAccessedTime";
const INTERVAL: &str = "maxInactiveInterval";
/// What the gateway adds to the record.
const NAME: &str = "principal_name";
const AUTHORITIES: &str = "authorities";

/// Nothing is signed: an id that nobody was given has no record.
pub(super) fn verify(cookie: Presented<'_>) -> Result<SessionId, Absence> {
    let id = STANDARD.decode(cookie.value).ok().and_then(|id| String::from_utf8(id).ok());
    id.filter(|id| is_uuid(id.as_bytes())).map(SessionId::new).ok_or(Absence::Malformed)
}

fn is_uuid(id: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    id.len() == 36 && id.iter().enumerate().all(fits)
}

/// Reads a record's fields and values, each after its length in four bytes. Spring itself refuses a session that was
/// not used for its `maxInactiveInterval`; a negative one never ends.
pub(super) fn read(record: &[u8], now: Duration) -> Result<Opened, Absence> {
    let mut input = Input::new(record);
    let mut entries: Vec<(SmolStr, Value)> = Vec::new();
    while !input.is_empty() {
        let field =
            str::from_utf8(counted(&mut input)?).map_err(|_| Absence::Unreadable("a field that is not UTF-8"))?;
        let value = field_value(counted(&mut input)?)?;
        // An attribute never stands for a field of Spring's or ours, and no other field for an attribute.
        match (field.strip_prefix(ATTRIBUTE), field) {
            (Some(CREATED | USED | INTERVAL | NAME | AUTHORITIES), _) => {}
            (Some(name), _) | (None, name @ (CREATED | USED | INTERVAL)) => entries.push((name.into(), value)),
            (None, _) => {}
        }
    }
    let data = Value::Map(entries);
    let number = |name| match data.member(name) {
        Some(Value::Integer(text)) => text.parse::<i64>().map_err(|_| TIMES),
        _ => Err(TIMES),
    };
    // Spring fails where one of them is missing, and takes an `int` of seconds alone.
    let (_created, used) = (number(CREATED)?, number(USED)?);
    let interval = i32::try_from(number(INTERVAL)?).map_err(|_| TIMES)?;
    let lasts = u64::try_from(interval).ok().map(Duration::from_secs);
    let ends = lasts.map(|lasts| Duration::from_millis(used.try_into().unwrap_or(0)) + lasts);
    let name = principal_name(&data).map_or(Value::Null, Value::Text);
    let authorities = Value::List(authorities(&data).into_iter().map(Value::Text).collect());
    let Value::Map(mut entries) = data else { return Err(TIMES) };
    entries.extend([(NAME.into(), name), (AUTHORITIES.into(), authorities)]);
    Opened { data: Value::Map(entries), ends }.unless_over(now)
}

const TIMES: Absence = Absence::Unreadable("no times of a Spring session");

fn counted<'a>(input: &mut Input<'a>) -> Result<&'a [u8], Fault> {
    let length = u32::from_be_bytes(input.array()?);
    input.take(length)
}

/// A removed attribute stays as an empty field.
fn field_value(value: &[u8]) -> Result<Value, Fault> {
    match value {
        [] => Ok(Value::Null),
        [0xac, ..] => java::read(value),
        _ => Ok(untyped(json::read(value)?)),
    }
}

/// Jackson writes collections and boxed numbers as a list of their class and their value.
fn untyped(value: Value) -> Value {
    match value {
        Value::List(items) => match <[Value; 2]>::try_from(items) {
            Ok([Value::Text(class), inner]) if class.starts_with("java.") => untyped(inner),
            Ok(items) => Value::List(items.map(untyped).into()),
            Err(items) => Value::List(items.into_iter().map(untyped).collect()),
        },
        Value::Map(entries) => Value::Map(entries.into_iter().map(|(key, value)| (key, untyped(value))).collect()),
        plain => plain,
    }
}

/// The name that `Authentication.getName()` gives, for the principals that Spring Security itself has.
fn principal_name(data: &Value) -> Option<SmolStr> {
    if let Some(Value::Text(name)) = data.member(NAME_INDEX) {
        return Some(name.clone());
    }
    let authentication = authentication(data)?;
    let text = |value: &Value| match value {
        Value::Text(text) | Value::Integer(text) => Some(text.clone()),
        _ => None,
    };
    let principal = authentication.member("principal")?;
    let of_provider = || {
        let key = text(principal.member("nameAttributeKey")?)?;
        text(principal.member("attributes")?.member(&key)?)
    };
    text(principal).or_else(|| text(principal.member("username")?)).or_else(of_provider)
}

fn authorities(data: &Value) -> Vec<SmolStr> {
    let Some(Value::List(granted)) = authentication(data).and_then(|found| found.member("authorities")) else {
        return Vec::new();
    };
    let text = |authority: &Value| {
        // Java objects have a field `role`, JSON has the property `authority`.
        match authority.member("role").or_else(|| authority.member("authority")).unwrap_or(authority) {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    };
    granted.iter().filter_map(text).collect()
}

/// What was authenticated: neither a login that is only half done, nor nobody in particular.
fn authentication(data: &Value) -> Option<&Value> {
    let authentication = data.member(CONTEXT)?.member("authentication")?;
    let done = authentication.member("authenticated") == Some(&Value::Bool(true));
    let class = authentication.member("@class");
    let anonymous = matches!(class, Some(Value::Text(class)) if class.ends_with(".AnonymousAuthenticationToken"));
    (done && !anonymous).then_some(authentication)
}

#[cfg(test)]
mod tests;
