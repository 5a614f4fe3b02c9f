//! Real apps of the frameworks, that know nothing of the gateway, behind it: all are driven by the same suite.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![expect(clippy::print_stderr, reason = "a failed test shows the last words of its processes")]
#![expect(clippy::disallowed_methods, reason = "tests measure real time from outside")]
#![expect(dead_code, unused_imports, reason = "the stage is shared with the end-to-end tests, which use more of it")]

#[path = "../e2e/harness/mod.rs"]
mod harness;

#[path = "../e2e/differential.rs"]
mod differential;
mod gorilla;
mod grpc;
mod judged;
mod laravel;
mod node;
mod php;
mod python;
mod rails;
mod routes;
mod rust;
mod suite;
mod websockets;
