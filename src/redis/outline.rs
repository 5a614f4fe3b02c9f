//! Keys that begin with nothing in common, but have a length and letters of their own.

/// Keys of so many letters from these ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// How many.
    pub length: usize,
    /// First and last of each range; printable ASCII.
    pub letters: &'static [(u8, u8)],
}

impl Outline {
    /// Whether a key is one of them.
    pub fn fits(&self, key: &[u8]) -> bool {
        let is_letter = |byte: &u8| self.letters.iter().any(|(first, last)| (first..=last).contains(&byte));
        key.len() == self.length && key.iter().all(is_letter)
    }

    /// What matches them and no other key.
    pub(super) fn pattern(&self) -> String {
        let range = |(first, last): &(u8, u8)| match first == last {
            true => format!("\\{}", char::from(*first)),
            false => format!("{}-{}", char::from(*first), char::from(*last)),
        };
        format!("[{}]", self.letters.iter().map(range).collect::<String>()).repeat(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fits_by_its_length_and_each_of_its_letters() {
        let outline = Outline { length: 3, letters: &[(b'0', b'9'), (b'a', b'f'), (b'-', b'-')] };
        assert_eq!(outline.pattern(), r"[0-9a-f\-][0-9a-f\-][0-9a-f\-]");
        for key in ["0-f", "9a5", "---"] {
            assert!(outline.fits(key.as_bytes()), "{key}");
        }
        for key in ["", "0-", "0-ff", "0-g", "0_a", "0:a", "0-F", "0-\u{e9}"] {
            assert!(!outline.fits(key.as_bytes()), "{key}");
        }
    }
}
