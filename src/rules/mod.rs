//! Which rule governs a request: the first that matches, in the order written.

pub mod lint;
mod pattern;
mod restore;
mod rewrite;
#[cfg(test)]
mod sample;
mod split;
mod table;

pub use pattern::{Pattern, Segment, Spelling};
pub use rewrite::{Rewrite, Rewritten};
pub use split::Split;
pub use table::{Action, Examined, Miss, Outcome, Rule, Rules, Unmatched};
