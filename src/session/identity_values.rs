//! What upstreams are told of a session, as it is kept in memory: with many sessions, each look into another piece of
//! memory costs time, so all short values stand in one.

use http::HeaderValue;

/// What upstreams are told of a session: values in an order that whoever writes them knows.
#[derive(Debug, Clone)]
pub struct IdentityValues {
    /// A line for each value; one that is there begins with `=`. No header's value holds a line end.
    lines: Box<[u8]>,
    record: Option<Box<HeaderValue>>,
}

impl IdentityValues {
    /// Keeps short values, which are copied each time, and the whole record, which is not.
    pub fn new(values: impl IntoIterator<Item = Option<HeaderValue>>, record: Option<HeaderValue>) -> Self {
        let mut lines = Vec::new();
        for value in values {
            if let Some(value) = value {
                lines.push(b'=');
                lines.extend_from_slice(value.as_bytes());
            }
            lines.push(b'\n');
        }
        Self { lines: lines.into(), record: record.map(Box::new) }
    }

    /// The short values.
    pub fn values(&self) -> impl Iterator<Item = Option<HeaderValue>> {
        let value = |line| HeaderValue::from_bytes(line).expect("it was a value before");
        self.lines.split(|byte| *byte == b'\n').map(move |line| line.strip_prefix(b"=").map(value))
    }

    /// The whole record.
    pub fn record(&self) -> Option<&HeaderValue> {
        self.record.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let value = |text: &'static str| Some(HeaderValue::from_static(text));
        let values = [value("zoe"), None, value(""), value("=a=b, c"), HeaderValue::from_bytes(b"\xe9\t~").ok(), None];
        let kept = IdentityValues::new(values.clone(), value("whole"));
        assert_eq!(kept.values().take(values.len()).collect::<Vec<_>>(), values);
        assert_eq!(kept.record(), value("whole").as_ref());
    }
}
