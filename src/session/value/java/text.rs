//! Java's modified UTF-8: NUL in two bytes, and beyond U+FFFF two surrogates of three bytes each.

use super::Fault;
use smol_str::SmolStr;

/// Reads text; lone surrogates and spellings that Java does not write are faults.
pub(super) fn read(bytes: &[u8]) -> Result<SmolStr, Fault> {
    if bytes.is_ascii() {
        // NUL is not a byte of its own here.
        return str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).map(SmolStr::from).ok_or(SPELLING);
    }
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let (length, least, bits) = match first {
            0x01..=0x7f => (0, 1, *first),
            0xc0..=0xdf => (1, 0x80, first & 0x1f),
            0xe0..=0xef => (2, 0x800, first & 0x0f),
            _ => return Err(SPELLING),
        };
        let (more, after) = after.split_at_checked(length).ok_or(SPELLING)?;
        let mut unit = u16::from(bits);
        for byte in more {
            if byte & 0xc0 != 0x80 {
                return Err(SPELLING);
            }
            unit = unit << 6 | u16::from(byte & 0x3f);
        }
        if unit < least && !(unit == 0 && length == 1) {
            return Err(SPELLING);
        }
        units.push(unit);
        rest = after;
    }
    of_units(&units)
}

/// Text from UTF-16.
pub(super) fn of_units(units: &[u16]) -> Result<SmolStr, Fault> {
    String::from_utf16(units).map(SmolStr::from).map_err(|_| Fault("a lone surrogate"))
}

const SPELLING: Fault = Fault("not text as Java writes it");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_and_what_lies_beyond_the_first_plane_have_spellings_of_their_own() {
        assert_eq!(read("Zoë 漢字".as_bytes()).as_deref(), Ok("Zoë 漢字"));
        assert_eq!(read(b"a\xc0\x80b").as_deref(), Ok("a\0b"));
        assert_eq!(read(b"\xed\xa0\xbd\xed\xb8\x80!").as_deref(), Ok("😀!"));
        assert_eq!(read(b"").as_deref(), Ok(""));
    }

    #[test]
    fn other_spellings_are_refused() {
        let refused: [&[u8]; 10] = [
            b"\0",
            b"\xc3",
            b"\xe6\xbc",
            b"\xf0\x9f\x98\x80",
            b"\xc1\x81",
            b"\xe0\x80\x80",
            b"\xc3\x28",
            b"\xed\xa0\xbd",
            b"\xed\xb8\x80\xed\xa0\xbd",
            b"\xff",
        ];
        for bytes in refused {
            assert!(read(bytes).is_err(), "{bytes:x?}");
        }
    }
}
