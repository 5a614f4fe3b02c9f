//! Real redis-servers, each on its own port and directory; they can be paused, killed and started again with their data.
//! Alone, with replica and sentinel, or as a cluster.

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
    options: Vec<String>,
    process: Process,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With options of redis-server.
    pub(crate) fn with(options: &[&str]) -> Self {
        let (address, dir) = (free_address(), Dir::new());
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let process = launch(address, &dir, &options);
        let redis = Self { address, dir, options, process };
        redis.wait();
        redis
    }

    /// A copy of another server, which follows it.
    pub(crate) fn replica_of(primary: &Self) -> Self {
        let port = primary.address.port().to_string();
        let replica = Self::with(&["--replicaof", "127.0.0.1", &port]);
        replica.wait_for_info("replication", "master_link_status:up");
        replica
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a section of INFO holds a text.
    pub(crate) fn wait_for_info(&self, section: &str, text: &str) {
        eventually(&format!("INFO {section} holds {text}"), || {
            self.try_ask(&["INFO", section]).flatten().filter(|info| info.contains(text))
        });
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
        self.process = launch(self.address, &self.dir, &self.options);
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

    /// Stores a record for an hour.
    pub(crate) fn set(&self, key: &str, value: impl AsRef<[u8]>) {
        let reply = self.try_ask(&[b"SET", key.as_bytes(), value.as_ref(), b"EX", b"3600"]);
        assert_eq!(reply.flatten().as_deref(), Some("OK"), "redis takes a record");
    }

    /// The keys that match a pattern.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let reply = self.ask(&["KEYS", pattern]).unwrap_or_default();
        reply.split_whitespace().map(str::to_owned).collect()
    }

    /// Waits until the gateway that listens here has heard of every change that was made before. It sends a beat once
    /// the one before has come back; one beat more, and what was changed just before it has come, too.
    pub(crate) fn wait_until_heard(&self) {
        let (mut last, mut beats) = (None, 0);
        eventually("three beats have come back", || {
            let keys = self.keys("onedoor:beat:*");
            let beat: Vec<_> = keys.iter().map(|key| (key, self.ask(&["GET", key]))).collect();
            let beat = format!("{beat:?}");
            if last.as_ref() != Some(&beat) {
                last = Some(beat);
                beats += 1;
            }
            (beats > 4).then_some(())
        });
    }

    fn wait(&self) {
        eventually("redis answers", || self.try_ask(&["PING"]).flatten().filter(|reply| reply == "PONG"));
    }

    fn try_ask(&self, command: &[impl AsRef<[u8]>]) -> Option<Option<String>> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(super::DEADLINE)).ok()?;
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for part in command.iter().map(AsRef::as_ref) {
            request.extend([format!("${}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        }
        stream.write_all(&request).ok()?;
        reply(&mut BufReader::new(stream))
    }
}

/// A sentinel that looks after one server, under the name `main`.
#[derive(Debug)]
pub(crate) struct Sentinel {
    /// The sentinel itself, which speaks as a server does.
    pub(crate) redis: Redis,
}

impl Sentinel {
    /// Starts it and waits until it knows the replica.
    pub(crate) fn of(primary: &Redis) -> Self {
        let (address, dir) = (free_address(), Dir::new());
        let file = dir.write(
            "sentinel.conf",
            format!(
                "bind 127.0.0.1\nport {}\nsentinel monitor main 127.0.0.1 {} 1\n\
                 sentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 6000\n",
                address.port(),
                primary.address.port()
            ),
        );
        let process = Process::start(Command::new("redis-server").arg(file).arg("--sentinel"));
        let redis = Redis { address, dir, options: Vec::new(), process };
        redis.wait();
        redis.wait_for_info("sentinel", "slaves=1");
        Self { redis }
    }

    /// What the gateway is configured with.
    pub(crate) fn url(&self) -> String {
        format!("redis-sentinel://{}?sentinelServiceName=main", self.redis.address)
    }
}

/// Three primaries that share the slots, and replicas of the first.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    /// Forms it and waits until all of it serves. The fourth node, if it is to be, is a replica of the first.
    pub(crate) fn start(replicas: usize) -> Self {
        let node = |_| {
            let bus = free_address().port().to_string();
            let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
            let options = [options.as_slice(), &["--cluster-require-full-coverage", "no"]].concat();
            (bus.clone(), Redis::with(&options))
        };
        let nodes: Vec<(String, Redis)> = (0..3 + replicas).map(node).collect();
        for (index, (_, node)) in nodes.iter().take(3).enumerate() {
            let (first, last) = ((index * 5462).to_string(), (index * 5462 + 5461).min(16383).to_string());
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for (bus, node) in &nodes[1..] {
            nodes[0].1.ask(&["CLUSTER", "MEET", "127.0.0.1", &node.address.port().to_string(), bus]);
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(_, node)| node).collect() };
        for node in &cluster.nodes {
            let knows = |info: String| {
                info.contains("cluster_state:ok") && info.contains(&format!("known_nodes:{}", 3 + replicas))
            };
            eventually("the cluster is formed", || node.ask(&["CLUSTER", "INFO"]).filter(|info| knows(info.clone())));
        }
        let first = cluster.nodes[0].ask(&["CLUSTER", "MYID"]).unwrap();
        for replica in &cluster.nodes[3..] {
            replica.ask(&["CLUSTER", "REPLICATE", &first]);
            replica.wait_for_info("replication", "master_link_status:up");
        }
        cluster
    }

    /// What the gateway is configured with.
    pub(crate) fn url(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        format!("redis-cluster://{}", nodes.join(","))
    }

    /// Moves a key's slot from one node to another; `between` is done when the key has moved, and the slot has not.
    pub(crate) fn hand_over(&self, key: &str, from: usize, to: usize, between: impl FnOnce()) {
        let slot = self.nodes[from].ask(&["CLUSTER", "KEYSLOT", key]).unwrap();
        let id = |node: usize| self.nodes[node].ask(&["CLUSTER", "MYID"]).unwrap();
        let (giver, taker) = (id(from), id(to));
        let port = self.nodes[to].address().port().to_string();
        self.nodes[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &giver]);
        self.nodes[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &taker]);
        self.nodes[from].ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        between();
        for node in [to, from] {
            self.nodes[node].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &taker]);
        }
    }

    /// Which node a key belongs to.
    pub(crate) fn home_of(&self, key: &str) -> usize {
        let slot: usize = self.nodes[1].ask(&["CLUSTER", "KEYSLOT", key]).unwrap().parse().unwrap();
        slot / 5462
    }
}

fn launch(address: SocketAddr, dir: &Dir, options: &[String]) -> Process {
    let port = address.port().to_string();
    let mut command = Command::new("redis-server");
    // By default a write that was answered may wait in the process while the disk is busy, and a kill loses it.
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "yes", "--appendfsync", "no"]);
    command.arg("--dir");
    Process::start(command.arg(dir.path()).args(["--repl-diskless-sync-delay", "0"]).args(options))
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
