//! gRPC by tonic on both sides of the gateway: calls of every kind, refusals, and an upstream that dies in mid-stream.

use crate::harness::{Gateway, Process, eventually, free_address};
use std::{net::TcpStream, process::Command};

/// Where `tests/run frameworks` has built it.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/frameworks/debug/grpc-app");

/// What the client says of its calls, in their order: messages, or how many, and the status.
const CALLS: [&str; 11] = [
    "unary: hello OK",
    "large: 2000000 OK",
    "client: 500 messages, 500000 bytes OK",
    "server: 1000 OK",
    "both: Ok(1)",
    "refused:  NotFound kept",
    "failed: one DataLoss",
    "closed:  Unauthenticated",
    "nowhere:  Unimplemented",
    "slow:  DeadlineExceeded",
    "died: one Internal",
];

#[test]
fn calls_of_every_kind_pass_and_refusals_are_a_status() {
    let address = free_address();
    let _app = Process::start(Command::new(PROGRAM).env("PORT", address.port().to_string()));
    eventually("the app serves", || TcpStream::connect(address).ok());
    let gateway = Gateway::start(format!(
        r#"
        h2c = true
        [session]
        format = "onedoor"
        login = "https://id.test/"
        [upstreams]
        echo = {{ endpoints = "h2c://{address}", session_authority = true }}
        [[rules]]
        path = "/echo.Echo/Slow"
        session = "off"
        total_timeout = "1s"
        dest = "echo"
        [[rules]]
        path = "/echo.Echo/*"
        session = "off"
        dest = "echo"
        [[rules]]
        path = "/closed.Echo/*"
        dest = "echo"
        "#
    ));
    let client = Command::new(PROGRAM).arg(format!("http://{}", gateway.address)).output().unwrap();
    let said = String::from_utf8(client.stdout).unwrap();
    let said: Vec<_> = said.lines().map(str::trim_end).collect();
    assert_eq!(said, CALLS, "{}", String::from_utf8_lossy(&client.stderr));
}
