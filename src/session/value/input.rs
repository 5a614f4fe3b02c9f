//! The bytes of a record, read from the front.

use super::Fault;

pub(super) const ENDED: Fault = Fault("it ends too early");

/// What is left of a record. A length that reaches beyond its end is a fault before anything is done about it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes that are left; they stay.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte, if there is one; it stays.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next bytes, as many as the record says.
    pub fn take(&mut self, length: impl TryInto<usize>) -> Result<&'a [u8], Fault> {
        let length = length.try_into().map_err(|_| ENDED)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ENDED)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    /// The next `N` bytes, such as those of a number.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ENDED)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// What lies before the next `mark`; steps over both.
    pub fn until(&mut self, mark: u8) -> Result<&'a [u8], Fault> {
        let length = self.0.iter().position(|byte| *byte == mark).ok_or(ENDED)?;
        let taken = self.take(length)?;
        self.take(1_usize)?;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_beyond_the_end() {
        let mut input = Input::new(b"ab\ncd");
        assert_eq!((input.peek(), input.byte(), input.until(b'\n')), (Some(b'a'), Ok(b'a'), Ok(&b"b"[..])));
        assert_eq!((input.until(b'\n'), input.array::<3>(), input.take(3_u64)), (Err(ENDED), Err(ENDED), Err(ENDED)));
        assert_eq!(
            (input.take(u64::MAX), input.take(-1_i64), input.take(1_u128 << 100)),
            (Err(ENDED), Err(ENDED), Err(ENDED))
        );
        assert_eq!((input.rest(), input.array::<2>(), input.is_empty()), (&b"cd"[..], Ok(*b"cd"), true));
    }
}
