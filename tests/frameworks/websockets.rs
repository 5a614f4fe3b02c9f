//! WebSocket libraries of another language at both ends: what passes between them is theirs.

use crate::harness::{Process, free_address, open_gateway};
use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Messages of 16 MiB take their time where much else is going on.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn what_libraries_say_to_each_other_passes_as_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks/websockets");
    let service = free_address();
    let gateway = open_gateway("h2c = true", &format!("http://{service}"));
    let mut command = Command::new(folder.join(".venv/bin/python"));
    command.arg(folder.join("both_ends.py")).args([service, gateway.address].map(|address| address.port().to_string()));
    let mut both_ends = Process::start(&mut command);
    let begun = Instant::now();
    while both_ends.is_running() {
        assert!(begun.elapsed() < PATIENCE, "it takes too long");
        thread::sleep(Duration::from_millis(20));
    }
    both_ends.wait_for_output("all is as it was sent");
    assert_eq!(both_ends.exit_code(), Some(0));
}
