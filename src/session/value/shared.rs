//! Values that a record refers to more than once: each is read again where it is meant, and paid for again.

use super::{Fault, input::Input};

/// Where the values began that later ones may refer to, in the format's own numbering from 0.
#[derive(Debug, Default)]
pub(super) struct Shared<'a> {
    starts: Vec<Input<'a>>,
    /// What is left of the record where the values begin that are being read.
    open: Vec<usize>,
    /// How many values are being read again; these have their numbers already.
    again: usize,
}

/// A place to come back to.
pub(super) struct Return<'a> {
    here: Input<'a>,
    target: Input<'a>,
}

impl<'a> Shared<'a> {
    /// Gives the value that begins at `start` the next number.
    pub(super) fn number(&mut self, start: Input<'a>) {
        if self.again == 0 {
            self.starts.push(start);
        }
    }

    /// Whether a value is being read again.
    pub(super) fn is_again(&self) -> bool {
        self.again > 0
    }

    /// Steps into the value that begins at `start`; [`Shared::leave`] steps out of it.
    pub(super) fn enter(&mut self, start: Input<'a>) {
        self.open.push(start.rest().len());
    }

    pub(super) fn leave(&mut self) {
        self.open.pop();
    }

    /// Where the value of this number began.
    pub(super) fn find(&self, number: usize) -> Result<Input<'a>, Fault> {
        self.starts.get(number).copied().ok_or(Fault("a reference to nothing"))
    }

    /// Moves `input` to a value. `None` = it lies within itself, and there is nothing to read.
    pub(super) fn go(&mut self, input: &mut Input<'a>, target: Input<'a>) -> Option<Return<'a>> {
        if self.open.contains(&target.rest().len()) {
            return None;
        }
        self.again += 1;
        Some(Return { here: std::mem::replace(input, target), target })
    }

    /// Moves `input` back; says how many bytes were read again.
    pub(super) fn come_back(&mut self, input: &mut Input<'a>, way: Return<'a>) -> usize {
        self.again -= 1;
        let end = std::mem::replace(input, way.here);
        way.target.rest().len() - end.rest().len()
    }
}
