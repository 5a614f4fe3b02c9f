//! The front: listeners, workers, connections, and the way out.

pub mod activity;
pub mod arriving;
pub mod connection;
pub mod credit;
mod door;
pub mod drain;
pub mod files;
pub mod frames;
pub mod gathered;
pub mod http2;
pub mod listener;
pub mod meter;
mod mistaken;
pub mod pace;
pub mod passed;
pub mod places;
pub mod prefixed;
pub mod proxy_protocol;
pub mod timed;
pub mod worker;
