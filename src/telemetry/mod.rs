//! What the gateway tells its operators: one log line a request, events, and counts.

pub mod access_log;
pub mod events;
pub mod metrics;
pub mod output;
