//! The front: listeners, workers, connections, and the way out.

pub mod connection;
pub mod drain;
pub mod listener;
pub mod meter;
pub mod timed;
pub mod worker;
