//! A real redis-server on its own port and directory; it can be paused, killed and started again with its data.

use super::{Dir, Process, eventually, free_address};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
};

#[derive(Debug)]
pub(crate) struct Redis {
    address: SocketAddr,
    dir: Dir,
    process: Process,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let address = free_address();
        let dir = Dir::new();
        let process = launch(address, &dir);
        let redis = Self { address, dir, process };
        redis.wait();
        redis
    }

    /// `redis://…`
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends it without a goodbye; every write it has answered is in its append-only file.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same address with the same data, ending it first where needed.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = launch(self.address, &self.dir);
        self.wait();
    }

    /// Keeps its connections open but answers nothing.
    pub(crate) fn pause(&self) {
        self.process.signal("STOP");
    }

    pub(crate) fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Runs a command and answers its reply as text; nested replies are joined by spaces, nil is `None`.
    pub(crate) fn ask(&self, command: &[&str]) -> Option<String> {
        self.try_ask(command).unwrap_or_else(|| panic!("redis does not answer {command:?}"))
    }

    /// Stores an express session and answers nothing.
    pub(crate) fn set(&self, key: &str, value: impl AsRef<str>) {
        self.ask(&["SET", key, value.as_ref(), "EX", "3600"]);
    }

    /// The keys that match a pattern.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let reply = self.ask(&["KEYS", pattern]).unwrap_or_default();
        reply.split_whitespace().map(str::to_owned).collect()
    }

    fn wait(&self) {
        eventually("redis answers", || self.try_ask(&["PING"]).flatten().filter(|reply| reply == "PONG"));
    }

    fn try_ask(&self, command: &[&str]) -> Option<Option<String>> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(super::DEADLINE)).ok()?;
        let mut request = format!("*{}\r\n", command.len());
        for part in command {
            request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        stream.write_all(request.as_bytes()).ok()?;
        reply(&mut BufReader::new(stream))
    }
}

fn launch(address: SocketAddr, dir: &Dir) -> Process {
    let port = address.port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "yes", "--dir"]);
    Process::start(command.arg(dir.path()))
}

fn reply(reader: &mut impl BufRead) -> Option<Option<String>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let (kind, rest) = line.trim_end().split_at(1);
    match (kind, rest.parse::<i64>()) {
        ("$" | "*", Ok(-1)) => Some(None),
        ("$", Ok(length)) => {
            let mut bytes = vec![0; usize::try_from(length).ok()? + 2];
            reader.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            Some(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        ("*", Ok(count)) => {
            let parts: Option<Vec<_>> = (0..count).map(|_| reply(reader)).collect();
            Some(Some(parts?.into_iter().flatten().collect::<Vec<_>>().join(" ")))
        }
        _ => Some(Some(rest.to_owned())),
    }
}
