//! What is added to, or taken from, a response before the client sees it.

pub mod cookie_guard;
pub mod security_headers;
