//! What the gateway tells its operators: one log line a request, and events.

pub mod access_log;
pub mod events;
pub mod output;
