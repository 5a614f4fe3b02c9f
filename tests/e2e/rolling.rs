//! Upstreams that are replaced under load: real Node instances, stopped and started in turn.

use crate::harness::{Connection, Dir, Gateway, Process, Request, eventually, free_address, get, open_rule, post};
use std::{
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
};

/// Answers after a moment. Told to stop by SIGTERM it says so to whoever checks its health and goes on serving until
/// nobody comes any more; by SIGINT it closes what is idle, as Node does by itself.
const SCRIPT: &str = r"
let stopping = false, last = 0;
const server = require('http').createServer((request, response) => {
  if (stopping) response.setHeader('Connection', 'close');
  if (request.url === '/healthz') return response.writeHead(stopping ? 503 : 204).end();
  last = Date.now();
  request.resume().on('end', () => setTimeout(() => response.end('done'), 5));
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
process.on('SIGTERM', () => {
  stopping = true;
  const stopped = Date.now();
  setInterval(() => { if (Date.now() - Math.max(last, stopped) > 1500) process.exit(0); }, 100);
});
process.on('SIGINT', () => {
  server.close(() => process.exit(0));
  setInterval(() => server.closeIdleConnections(), 100);
});
";

/// One instance of a service.
struct Instance<'a> {
    dir: &'a Dir,
    address: SocketAddr,
    process: Process,
}

impl<'a> Instance<'a> {
    fn start(dir: &'a Dir) -> Self {
        let address = free_address();
        Self { dir, address, process: run(dir, address) }
    }

    fn replace(&mut self, signal: &str) {
        self.process.signal(signal);
        let code = self.process.exit_code();
        assert!(signal == "KILL" || code == Some(0), "it ends by itself: {code:?}");
        self.process = run(self.dir, self.address);
    }
}

fn run(dir: &Dir, address: SocketAddr) -> Process {
    let process = Process::start(Command::new("node").arg(dir.path().join("app.js")).arg(address.port().to_string()));
    process.wait_for_output("ready");
    process
}

/// What became of requests of one kind.
#[derive(Default)]
struct Tally {
    good: AtomicUsize,
    bad: AtomicUsize,
}

const READERS: usize = 6;
const WRITERS: usize = 2;

const REPLACEMENTS: usize = 4;

/// Ends the load, whatever else ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Sends one request after the other until it is over.
fn load(address: SocketAddr, request: &Request, tally: &Tally, over: &AtomicBool) {
    let mut connection = Connection::open(address);
    while !over.load(SeqCst) {
        let counter = if request.send_on(&mut connection, address).status() == 200 { &tally.good } else { &tally.bad };
        counter.fetch_add(1, SeqCst);
    }
}

/// Replaces both instances in turn, twice, under load. Returns how many requests that may run twice are lost, and how
/// many that may not. `settings` are more of the upstream's.
fn losses(signal: &str, settings: &str) -> (usize, usize) {
    let dir = Dir::new();
    dir.write("app.js", SCRIPT);
    let mut instances = [Instance::start(&dir), Instance::start(&dir)];
    let urls = instances.each_ref().map(|instance| format!("\"http://{}\"", instance.address)).join(", ");
    let gateway = Gateway::start(open_rule(&format!("{{ endpoints = [{urls}]{settings} }}")));
    let (reads, writes, over) = (Tally::default(), Tally::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _end = End(&over);
        for _ in 0..READERS {
            scope.spawn(|| load(gateway.address, &get("/"), &reads, &over));
        }
        for _ in 0..WRITERS {
            scope.spawn(|| load(gateway.address, &post("/", "a=1"), &writes, &over));
        }
        for turn in 0..REPLACEMENTS {
            let before = (reads.good.load(SeqCst), writes.good.load(SeqCst));
            eventually("there is load", || {
                (reads.good.load(SeqCst) > before.0 + 200 && writes.good.load(SeqCst) > before.1 + 50).then_some(())
            });
            instances[turn % 2].replace(signal);
        }
    });
    (reads.bad.into_inner(), writes.bad.into_inner())
}

#[test]
fn instances_that_say_when_they_leave_cost_no_request() {
    let health = "health = { path = \"/healthz\", interval = \"50ms\", timeout = \"10s\", unhealthy_after = 1 }";
    assert_eq!(losses("TERM", &format!(", {health}")), (0, 0));
}

#[test]
fn instances_that_close_what_is_idle_cost_what_was_under_way_and_may_not_run_twice() {
    let (reads, writes) = losses("INT", "");
    assert_eq!(reads, 0);
    assert!(writes <= REPLACEMENTS * WRITERS, "{writes} are more than were under way");
}

#[test]
fn instances_that_are_killed_cost_what_was_under_way_and_may_not_run_twice() {
    let (reads, writes) = losses("KILL", "");
    assert_eq!(reads, 0);
    assert!(writes <= REPLACEMENTS * WRITERS, "{writes} are more than were under way");
}

#[test]
fn weights_that_change_under_load_break_nothing_that_is_under_way() {
    let dir = Dir::new();
    dir.write("app.js", SCRIPT);
    let instances = [Instance::start(&dir), Instance::start(&dir)];
    let [one, two] = instances.each_ref().map(|instance| format!("\"http://{}\"", instance.address));
    let text = |weight: u32| {
        format!(
            "[upstreams]\none = {one}\ntwo = {two}\n\
             [[rules]]\ndest = {{ one = {}, two = {weight} }}\nsession = \"off\"\n",
            100 - weight
        )
    };
    let gateway = Gateway::start(text(5));
    let (reads, writes, over) = (Tally::default(), Tally::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _end = End(&over);
        for (request, tally) in [(get("/"), &reads), (post("/", "a=1"), &writes)] {
            for _ in 0..4 {
                let (request, over) = (request.clone(), &over);
                scope.spawn(move || load(gateway.address, &request, tally, over));
            }
        }
        for (turn, weight) in [50, 95, 0, 100, 5].into_iter().enumerate() {
            let before = writes.good.load(SeqCst);
            eventually("there is load", || (writes.good.load(SeqCst) > before + 50).then_some(()));
            gateway.replace(&text(weight));
            let loaded = format!("onedoor_reloads_total{{result=\"loaded\"}} {}", turn + 1);
            eventually("it is loaded", || get("/metrics").send(gateway.admin).text().contains(&loaded).then_some(()));
        }
    });
    assert_eq!((reads.bad.into_inner(), writes.bad.into_inner()), (0, 0), "{}", gateway.output());
}
