//! A session's id.

use std::fmt;

/// A session's id: its `Debug` shows nothing, it has no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Box<str>);

impl SessionId {
    /// Takes an id whose shape its format has checked.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }
    /// The id itself, for the store's key and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}
