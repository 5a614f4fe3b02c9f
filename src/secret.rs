//! Text that must never be shown.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt;

/// A secret: its `Debug` shows nothing, it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes charge of `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for a signature or a password prompt and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The bytes of a key: those of the text, or what follows `base64:` or `hex:`, decoded. `None` = not so encoded.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        if let Some(encoded) = self.0.strip_prefix("base64:") {
            return STANDARD.decode(encoded).ok();
        }
        let Some(encoded) = self.0.strip_prefix("hex:") else { return Some(self.0.as_bytes().to_vec()) };
        let (pairs, rest) = encoded.as_bytes().as_chunks::<2>();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
        if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_text_or_says_how_it_is_encoded() {
        let bytes = |text: &str| Secret::new(text).bytes();
        assert_eq!(bytes("key"), Some(b"key".to_vec()));
        assert_eq!((bytes("base64:AP8="), bytes("hex:00fF")), (Some(vec![0, 255]), Some(vec![0, 255])));
        for text in ["base64:AP8", "base64:?", "hex:0", "hex:0g", "hex:+f"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
