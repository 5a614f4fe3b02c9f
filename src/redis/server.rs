//! A real redis-server for tests, on a unix socket in a directory of its own.

use crate::config::store;
use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A running server; it ends, and its directory goes, when this is dropped.
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    options: Vec<String>,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub(crate) fn start(options: &[&str]) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("onedoor-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let options = options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>();
        let child = spawn(&directory, &options);
        Self { child, directory, options }
    }

    /// What `[store] url` would say.
    pub(crate) fn config(&self) -> store::Redis {
        store::Redis {
            address: store::Address::Unix(self.socket()),
            user: None,
            password: None,
            database: 0,
            tls: None,
        }
    }

    /// Runs `redis-cli` and returns what it prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output();
        String::from_utf8_lossy(&output.expect("redis-cli is installed").stdout).trim().to_owned()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`Server::kill`], empty.
    pub(crate) fn restart(&mut self) {
        let _ = fs::remove_file(self.socket());
        self.child = spawn(&self.directory, &self.options);
    }

    /// SIGSTOP: it accepts connections and answers nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("redis.sock")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(directory: &Path, options: &[String]) -> Child {
    let socket = directory.join("redis.sock");
    let child = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(&socket)
        .args(options)
        .current_dir(directory)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: apt-get install redis-server");
    let mut tries = 0;
    while UnixStream::connect(&socket).is_err() {
        tries += 1;
        assert!(tries < 1000, "redis-server does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
