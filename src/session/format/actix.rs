//! actix-session with its Redis store: an encrypted or signed id, and a map of texts that are JSON themselves.

use super::{
    Absence, Presented, SessionId, Value,
    jar::{Jar, decode},
    json,
};
use crate::{redis::Outline, session::value::json::Author};

/// Letters and digits, as many as this.
const ID_LEN: usize = 64;
/// Every id.
pub(super) const KEYS: Outline = Outline { length: ID_LEN, letters: &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')] };

pub(super) fn verify(jar: &Jar, cookie: Presented<'_>) -> Result<SessionId, Absence> {
    let id = jar.open(&decode(cookie.unquoted()?.as_bytes())?)?;
    let fits = id.len() == ID_LEN && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(SessionId::new(id)) } else { Err(Absence::Malformed) }
}

pub(super) fn read(record: &[u8]) -> Result<Value, Absence> {
    let Value::Map(mut entries) = json::read(record)? else { return Err(Absence::Unreadable("not an object")) };
    for (_, value) in &mut entries {
        let Value::Text(text) = &value else { return Err(Absence::Unreadable("a member that is not JSON in a text")) };
        // Each is read when the app asks for it: one that is no JSON spoils no other.
        *value = json::read_as(Author::Rust, text.as_bytes()).unwrap_or_else(|_| Value::Shown(text.clone()));
    }
    Ok(Value::Map(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::format::{jar::tests::jar, tests::presented};
    use crate::session::value::json::write;

    const PRIVATE: &str = "vuSlMgSiqer7e5OSR17HrdJwVyHZmh+iUanSHMMiNxmclvZ2h340ixINe6Ox5XUsghCwOQ1l45i0eQXkGbGMc7D7HcmXpwLHoy8wX60akoRV+cfrNoCOXCWhnqc%3D";
    const ID: &str = "oVkyJeBrMDcAPiGI6RD4cOp0r7cjmB2fL4Y7BpbJzpuCUj7AAVQCEMhshMlgSUs0";

    #[test]
    fn the_cookie_may_be_quoted_and_encoded() {
        let verify = |name, value: &str| verify(&jar(name, "private"), presented(value));
        let plain = PRIVATE.replace("%3D", "=");
        for value in [PRIVATE, &plain, &format!("\"{PRIVATE}\""), &plain.replace('+', "%2B")] {
            assert_eq!(verify("id", value), Ok(SessionId::new(ID)));
        }
        assert_eq!(verify("other", PRIVATE), Err(Absence::BadSignature));
        for value in ["", ID, "%FF", &PRIVATE[1..], &PRIVATE.replace('+', " "), &PRIVATE.replace("%3D", "%253D")] {
            assert!(verify("id", value).is_err(), "{value}");
        }
    }

    #[test]
    fn members_are_json_in_texts() {
        let read = |record: &str| read(record.as_bytes()).map(|value| write(&value));
        assert_eq!(read(r#"{"n":"7","user":"{\"id\":\"x\"}"}"#).as_deref(), Ok(r#"{"n":7,"user":{"id":"x"}}"#));
        assert_eq!(read(r#"{"n":"7","x":"zoe","y":""}"#).as_deref(), Ok(r#"{"n":7,"x":"zoe","y":""}"#));
        for record in ["[]", r#"{"n":7}"#, ""] {
            assert!(matches!(read(record), Err(Absence::Unreadable(_))), "{record}");
        }
    }
    #[test]
    fn a_whole_number_is_one_of_64_bits() {
        let is_whole = |number: &str| {
            let record = read(format!(r#"{{"n":"{number}"}}"#).as_bytes()).unwrap();
            matches!(record.member("n"), Some(Value::Integer(_)))
        };
        assert!(["0", "-9223372036854775808", "18446744073709551615"].into_iter().all(is_whole));
        assert!(!["-0", "-9223372036854775809", "18446744073709551616"].into_iter().any(is_whole));
    }
}
