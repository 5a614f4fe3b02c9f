//! Sockets that are there before the gateway, and after it.

use crate::harness::{Dir, Process, Upstream, eventually, free_address, get, onedoor, open_rule};
use std::{net::TcpListener, os::fd::OwnedFd, process::Command};

/// What systemd does: a socket (here from descriptor 0) as descriptor 3, its name and whose it is in the environment.
const ACTIVATE: &str = "
import os, sys
os.dup2(0, 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web')
os.execv(sys.argv[1], sys.argv[1:])
";

/// A gateway on a socket that the test keeps open.
fn activate(dir: &Dir, socket: &TcpListener) -> Process {
    let mut command = Command::new("python3");
    command.args(["-c", ACTIVATE]).arg(onedoor(&[]).get_program()).args(["run", "-c", "gateway.toml"]);
    command.current_dir(dir.path()).env("NO_COLOR", "1");
    Process::start_with(&mut command, OwnedFd::from(socket.try_clone().unwrap()).into())
}

#[test]
fn a_socket_of_systemd_is_served_by_name_and_none_that_waits_is_refused() {
    let app = Upstream::named("app");
    let socket = TcpListener::bind(free_address()).unwrap();
    let address = socket.local_addr().unwrap();
    let dir = Dir::new();
    let server = "[server]\nlisten = \"systemd:web\"\nworkers = 2\n[admin]\nlisten = \"\"\n";
    dir.write("gateway.toml", format!("{server}{}", open_rule(&format!("\"{}\"", app.url()))));
    for _ in 0..2 {
        let mut process = activate(&dir, &socket);
        let answer = get("/").send(address);
        assert_eq!(answer.text(), "app", "{}", process.output());
        eventually("it says where", || process.output().contains(&address.to_string()).then_some(()));
        process.signal("TERM");
        assert_eq!(process.exit_code(), Some(0));
    }
    let other = std::fs::read_to_string(dir.path().join("gateway.toml")).unwrap().replace("systemd:web", "systemd:no");
    dir.write("gateway.toml", other);
    let mut process = activate(&dir, &socket);
    assert_eq!(process.exit_code(), Some(69), "{}", process.output());
    process.wait_for_output("FileDescriptorName");
}
