//! The gateway itself, as its users run it: the built binary, a file, a signal.

use super::{Dir, Message, Process, Request, eventually, free_address, get};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// What a gateway is started with.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    text: String,
    variables: Vec<(String, String)>,
    files: Vec<(String, String)>,
    whole: bool,
    lonely: bool,
    has_hosts: bool,
}

impl Setup {
    /// The text is the whole file.
    pub(crate) fn whole(text: impl Into<String>) -> Self {
        Self { text: text.into(), whole: true, ..Self::default() }
    }

    /// The text goes on where `[server]` with its `listen` has begun; `[admin]` is added after it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// With one worker instead of two, so that it is known how many connections there are.
    pub(crate) fn one_worker(mut self) -> Self {
        self.lonely = true;
        self
    }

    /// With an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// With a file beside gateway.toml, which is also the directory it runs in.
    pub(crate) fn file(mut self, name: &str, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Where names are looked up in the file `hosts` beside gateway.toml, and not in the system's.
    ///
    /// `None` where the system lets nobody have files of his own in place of others'.
    pub(crate) fn hosts(mut self, lines: impl Into<String>) -> Option<Self> {
        let allowed = Command::new("unshare").args(["-rm", "mount", "--bind", "/dev/null", "/etc/hosts"]).status();
        self.has_hosts = true;
        allowed.is_ok_and(|status| status.success()).then(|| self.file("hosts", lines))
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> Gateway {
        let mut gateway = self.launch();
        gateway.wait();
        gateway
    }

    /// Starts it, whatever comes of it.
    pub(crate) fn launch(self) -> Gateway {
        let (address, admin) = (free_address(), free_address());
        let dir = Dir::new();
        for (name, text) in &self.files {
            dir.write(name, text);
        }
        let text = if self.whole { self.text } else { complete(address, admin, &self.text) };
        let text = if self.lonely { text.replacen("workers = 2", "workers = 1", 1) } else { text };
        dir.write("gateway.toml", text);
        let process = launch(&dir, &self.variables, self.has_hosts);
        Gateway { address, admin, dir, variables: self.variables, has_hosts: self.has_hosts, process }
    }
}

/// What is measured while all of a gateway's memory of sessions is in use.
pub(crate) const ARMED: &str = "onedoor_session_memory_armed 1";

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// Its admin listener.
    pub(crate) admin: SocketAddr,
    dir: Dir,
    variables: Vec<(String, String)>,
    has_hosts: bool,
    /// The process, for signals and output.
    pub(crate) process: Process,
}

impl Gateway {
    pub(crate) fn start(text: impl Into<String>) -> Self {
        Setup::new(text).start()
    }

    /// GET without any cookie.
    pub(crate) fn get(&self, target: &str) -> Message {
        self.send(&get(target))
    }

    pub(crate) fn send(&self, request: &Request) -> Message {
        request.send(self.address)
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    /// The directory of its files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the file by rename, as editors and deployments do.
    pub(crate) fn replace(&self, text: &str) {
        let new = self.dir.write("gateway.toml.new", complete(self.address, self.admin, text));
        std::fs::rename(new, self.file()).unwrap();
    }

    /// Everything it has logged.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }

    /// Waits for the access log line that mentions `text`, and answers it as JSON.
    pub(crate) fn log_line(&self, text: &str) -> serde_json::Value {
        let line = eventually(&format!("a log line with {text:?}"), || {
            self.output().lines().find(|line| line.contains(text)).map(str::to_owned)
        });
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in log line {line}"))
    }

    /// Whether it shows this line on its metrics' page.
    pub(crate) fn measures(&self, line: &str) -> bool {
        get("/metrics").send(self.admin).text().lines().any(|shown| shown == line)
    }

    /// Waits until all of its memory of sessions is in use.
    pub(crate) fn armed(&self) {
        eventually("memory is in use", || self.measures(ARMED).then_some(()));
    }

    /// SIGTERM, then the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.process.signal("TERM");
        self.process.exit_code()
    }

    /// Ends it at once and starts it again with the same file.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.dir, &self.variables, self.has_hosts);
        self.wait();
    }

    fn wait(&mut self) {
        let (address, admin, process) = (self.address, self.admin, &mut self.process);
        eventually("the gateway serves", || {
            assert!(process.is_running(), "the gateway ended:\n{}", process.output());
            // Not every listener answers to whoever comes along.
            let health = get("/_onedoor/healthz").try_send(address).or_else(|| get("/readyz").try_send(admin));
            health.filter(|response| response.status() == 200)
        });
    }
}

fn complete(address: SocketAddr, admin: SocketAddr, text: &str) -> String {
    format!("[server]\nlisten = \"{address}\"\nworkers = 2\n{text}\n[admin]\nlisten = \"{admin}\"\n")
}

fn launch(dir: &Dir, variables: &[(String, String)], has_hosts: bool) -> Process {
    let mut command = match has_hosts {
        false => onedoor(&["run", "-c", "gateway.toml"]),
        true => {
            let mut command = Command::new("unshare");
            let script = "mount --bind hosts /etc/hosts && exec \"$0\" run -c gateway.toml";
            command.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_onedoor")]);
            command
        }
    };
    command.current_dir(dir.path()).envs(variables.iter().cloned());
    Process::start(&mut command)
}

/// The binary with arguments, in an environment without surprises.
pub(crate) fn onedoor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onedoor"));
    command.args(arguments).env_remove("REDIS_URL").env_remove("REDIS_SESSION_URL").env_remove("SESSION_SECRET");
    command.env("NO_COLOR", "1");
    command
}

/// A file whose one rule passes everything to `app`, a TOML value, without a session.
pub(crate) fn open_rule(app: &str) -> String {
    format!("[upstreams]\napp = {app}\n[[rules]]\ndest = \"app\"\nsession = \"off\"\n")
}

/// A gateway of that kind; `server` goes on where `[server]` has begun, `app` is a URL.
pub(crate) fn open_gateway(server: &str, app: &str) -> Gateway {
    Gateway::start(format!("{server}\n{}", open_rule(&format!("\"{app}\""))))
}
