//! Python's pickle, protocols 0 to 5, as data: classes are names, and nothing is ever imported, made or called.

mod machine;
mod show;
mod text;

use super::{Fault, Value, budget::Budget, input::Input};
use machine::Machine;

/// Reads one pickle and nothing else.
///
/// Objects become maps of their public fields, without `password`; dates, decimals and UUIDs are shown. What lies within
/// itself is null there. A pickle that names a function which runs code or reaches the system is a fault.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let budget = Budget::of(bytes)?;
    let mut machine = Machine::new(Input::new(bytes));
    let root = machine.run()?;
    show::show(&machine.nodes, root, budget)
}

#[cfg(test)]
mod tests;
