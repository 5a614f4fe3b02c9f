//! Base64 as frameworks read it that take more spellings than they write: gateway and app must know the same user.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const UNPADDED: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
/// Letters of the standard alphabet alone.
const LETTERS: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, UNPADDED);
/// `URLEncoding` of Go: padding must be there, the last bits do not matter.
pub(super) const GO: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// `base64_decode` of PHP, which steps over what is no letter and never fails.
pub(super) fn php(text: &[u8]) -> Vec<u8> {
    let mut letters: Vec<u8> = text.iter().copied().filter(is_letter).collect();
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    LETTERS.decode(letters).unwrap_or_default()
}

/// `base64_decode` of PHP where it is told to be strict: white space may be anywhere, and padding is right or missing.
pub(super) fn strict_php(text: &[u8]) -> Option<Vec<u8>> {
    let mut letters: Vec<u8> = text.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect();
    let length = letters.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let is_padded = length == letters.len() || letters.len().is_multiple_of(4);
    letters.truncate(length);
    LETTERS.decode(letters).ok().filter(|_| is_padded)
}

/// `base64_decode` of itsdangerous, in Python: it completes the padding, steps over what is no letter, and reads
/// nothing behind the padding.
pub(super) fn python(text: &[u8]) -> Option<Vec<u8>> {
    let (mut letters, mut pads) = (Vec::new(), 0);
    let completed = text.iter().chain(&b"==="[..text.len().wrapping_neg() % 4]);
    for byte in completed {
        let letter = match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        };
        let open = letters.len() % 4;
        if letter == b'=' && open >= 2 {
            pads += 1;
            if open + pads == 4 {
                return LETTERS.decode(letters).ok();
            }
        } else if is_letter(&letter) {
            letters.push(letter);
            pads = 0;
        }
    }
    if letters.len().is_multiple_of(4) { LETTERS.decode(letters).ok() } else { None }
}

fn is_letter(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PHP 8.2 and Python 3.11 answered.
    #[test]
    fn each_reads_what_its_language_reads() {
        let shown = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        for (text, lax, strict, snake) in [
            ("", Some(""), Some(""), Some("")),
            ("YQ==", Some("a"), Some("a"), Some("a")),
            ("YQ", Some("a"), Some("a"), Some("a")),
            ("YQ=", Some("a"), None, Some("a")),
            ("YR==", Some("a"), Some("a"), Some("a")),
            ("Y Q==", Some("a"), Some("a"), Some("a")),
            ("Y!Q==", Some("a"), None, Some("a")),
            ("Y!!!!Q==", Some("a"), None, Some("a")),
            ("YQ==YQ==", Some("a\u{6}\u{10}"), None, Some("a")),
            ("YWJj", Some("abc"), Some("abc"), Some("abc")),
            ("YWJjY", Some("abc"), None, None),
            ("=YWJj", Some("abc"), None, Some("abc")),
        ] {
            let bytes = text.as_bytes();
            assert_eq!(shown(Some(php(bytes))).as_deref(), lax, "{text}");
            assert_eq!(shown(strict_php(bytes)).as_deref(), strict, "{text}");
            assert_eq!(shown(python(bytes)).as_deref(), snake, "{text}");
        }
        assert_eq!(python(b"-_-_"), python(b"+/+/"));
    }
}
