//! Keys of the gateway's own beside a record's.

use std::time::Duration;

/// How long such a key lives beside a record that does not expire: no browser keeps a cookie longer.
pub(super) const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The key of `kind` that belongs to the record under `key`: in the gateway's namespace, and in the record's slot of
/// a cluster (of a key only what stands between the first braces decides the slot).
pub(super) fn key(namespace: &str, kind: &str, key: &str) -> String {
    if has_tag(key) { [namespace, kind, ":", key].concat() } else { [namespace, kind, ":{", key, "}"].concat() }
}

fn has_tag(key: &str) -> bool {
    let Some((_, rest)) = key.split_once('{') else { return false };
    rest.split_once('}').is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of a key that decides its slot.
    fn tag(key: &str) -> &str {
        let tagged = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        tagged.filter(|tag| !tag.is_empty()).unwrap_or(key)
    }

    #[test]
    fn it_lies_in_the_slot_of_its_record() {
        for record in ["sess:abc", "{app}sess:abc", "sess:{x", "sess:a{b}c", ":1:django.cache"] {
            assert_eq!(tag(&key("onedoor:", "revoked", record)), tag(record), "{record}");
        }
        assert_eq!(key("onedoor:", "revoked", "sess:abc"), "onedoor:revoked:{sess:abc}");
    }
}
