//! Clusters: which primary serves which slot.

use super::primaries::Found;
use crate::config::store::{self, Address};
use fred::{error::Error, prelude::*, types::CustomCommand, util::redis_keyslot};

/// How many slots there are.
pub(super) const SLOTS: usize = 16384;
/// The place of a slot that no primary serves.
pub(super) const NOBODY: u16 = u16::MAX;

/// The slot of a key, by its hash tag if it has one.
pub(super) fn slot(key: &str) -> usize {
    usize::from(redis_keyslot(key.as_bytes())) % SLOTS
}

/// Who has a key that is on its way, as `ASK slot host:port` says.
pub(super) fn asked(error: &str) -> Option<Address> {
    let (host, port) = error.strip_prefix("ASK ")?.split_whitespace().nth(1)?.rsplit_once(':')?;
    Some(Address::Tcp(host.to_owned(), port.parse().ok()?))
}

/// Asks a server of the cluster who serves what.
pub(super) async fn find(server: &store::Redis, client: &Client) -> Result<Found, Error> {
    let cluster = CustomCommand::new_static("CLUSTER", None, false);
    let ranges: Value = client.custom(cluster, vec!["SLOTS"]).await?;
    read(server, ranges).ok_or_else(|| Error::new(ErrorKind::Protocol, "CLUSTER SLOTS makes no sense"))
}

/// Reads the reply: `[[first, last, [host, port, …], replica …] …]`.
fn read(server: &store::Redis, ranges: Value) -> Option<Found> {
    let mut found = Found { primaries: Vec::new(), slots: None };
    let mut slots = vec![NOBODY; SLOTS].into_boxed_slice();
    for range in ranges.into_array() {
        let mut range = range.into_array().into_iter();
        let (first, last) = (number(range.next()?)?, number(range.next()?)?);
        let mut primary = range.next()?.into_array().into_iter();
        let host = primary.next()?.into_string().filter(|host| !host.is_empty() && host != "?");
        let port = u16::try_from(number(primary.next()?)?).ok()?;
        let host = match (host, &server.address) {
            (Some(host), _) => host,
            // It does not know its own address: it is where it was reached.
            (None, Address::Tcp(host, _)) => host.clone(),
            (None, Address::Unix(_)) => return None,
        };
        let address = Address::Tcp(host, port);
        let place = found.primaries.iter().position(|known| *known == address).unwrap_or_else(|| {
            found.primaries.push(address);
            found.primaries.len() - 1
        });
        slots.get_mut(first..=last)?.fill(u16::try_from(place).ok()?);
    }
    found.slots = Some(slots);
    Some(found)
}

fn number(value: Value) -> Option<usize> {
    value.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> store::Redis {
        let address = Address::Tcp("seed".to_owned(), 1);
        store::Redis { address, user: None, password: None, database: 0, tls: None }
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let replica = Value::Array(vec!["replica".into(), 9.into()]);
        Value::Array(vec![first.into(), last.into(), Value::Array(vec![host, port.into(), "id".into()]), replica])
    }

    #[test]
    fn slots_are_read_and_what_nobody_serves_is_nobodys() {
        let reply = Value::Array(vec![
            range(0, 99, "a".into(), 7000),
            range(200, 16383, Value::Null, 7001),
            range(100, 100, "a".into(), 7000),
        ]);
        let found = read(&server(), reply).unwrap();
        assert_eq!(found.primaries, [Address::Tcp("a".to_owned(), 7000), Address::Tcp("seed".to_owned(), 7001)]);
        let slots = found.slots.unwrap();
        assert_eq!((slots[0], slots[100], slots[101], slots[199], slots[200]), (0, 0, NOBODY, NOBODY, 1));
    }

    #[test]
    fn a_reply_that_makes_no_sense_is_none() {
        for reply in [
            range(0, 99, "a".into(), 7000),
            Value::Array(vec![range(0, 16384, "a".into(), 7000)]),
            Value::Array(vec![range(9, 1, "a".into(), 7000)]),
            Value::Array(vec![range(-1, 1, "a".into(), 7000)]),
            Value::Array(vec![range(0, 1, "a".into(), 70_000)]),
        ] {
            assert_eq!(read(&server(), reply.clone()), None, "{reply:?}");
        }
    }

    #[test]
    fn an_error_may_say_who_has_the_key_now() {
        assert_eq!(asked("ASK 3999 127.0.0.1:6381"), Some(Address::Tcp("127.0.0.1".to_owned(), 6381)));
        for other in ["MOVED 3999 127.0.0.1:6381", "ASK", "ASK 3999", "ASK 3999 host", "ASK 3999 host:x"] {
            assert_eq!(asked(other), None, "{other}");
        }
    }

    #[test]
    fn a_hash_tag_keeps_keys_together() {
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("onedoor:ended:{sess:abc}"), slot("sess:abc"));
    }
}
