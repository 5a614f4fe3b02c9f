//! A site whose sessions come and go, users who ask, and an oracle that knows the truth.

use crate::harness::{ARMED, DEADLINE, Gateway, Upstream, get};
use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// `[store] timeout`
const TIMEOUT: Duration = Duration::from_millis(500);
pub(super) const SESSIONS: usize = 24;
/// How long sessions stay as they are, to `max_staleness`. Some change all the time; others stay longer than memory may be
/// stale, or it could not be told whether it is.
const PERIODS: [f32; 3] = [0.0, 1.6, 4.8];

/// Where a session's record is. PHP logs in again under the same id, as happens here all the time.
pub(super) fn key(session: usize) -> String {
    format!("PHPREDIS_SESSION:{session:032}")
}

fn record(user: usize) -> String {
    format!("user|a:1:{{s:2:\"id\";i:{user};}}")
}

/// One of Django's whose keys have no prefix.
fn bare_record(user: usize) -> String {
    format!(r#"{{"_auth_user_id":"{user}","_auth_user_backend":"b","_auth_user_hash":"h"}}"#)
}

/// What is known of one session: since when it is there, gone, or perhaps one of both.
struct Truth(Mutex<Vec<(Instant, Option<bool>)>>);

impl Truth {
    fn turn(&self, state: Option<bool>) {
        self.0.lock().unwrap().push((Instant::now(), state));
    }

    fn is_gone(&self) -> bool {
        self.0.lock().unwrap().last().is_some_and(|(_, state)| *state == Some(false))
    }

    /// Whether the session may have been in this state at some time of the stretch.
    fn may_be(&self, state: bool, from: Instant, to: Instant) -> bool {
        let turns = self.0.lock().unwrap();
        let ends = turns.iter().skip(1).map(|(at, _)| *at).chain([to + Duration::from_secs(3600)]);
        turns.iter().zip(ends).any(|((at, known), end)| *at <= to && end >= from && known.is_none_or(|it| it == state))
    }
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    passed: AtomicUsize,
    refused: AtomicUsize,
    unavailable: AtomicUsize,
    stale: Mutex<Duration>,
    slowest: Mutex<Duration>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    /// Whether too little has happened to prove anything.
    fn is_thin(&self) -> bool {
        self.passed.load(Ordering::SeqCst) < 20 || self.refused.load(Ordering::SeqCst) < 5
    }
}

/// The store of a site.
pub(super) struct Store {
    /// What the gateway is configured with.
    pub(super) url: String,
    /// Which server has the record of each session, one more than there are included.
    pub(super) homes: Vec<SocketAddr>,
    /// Whether the records' keys have no prefix.
    pub(super) is_bare: bool,
}

pub(super) struct Site {
    gateway: SocketAddr,
    is_bare: bool,
    homes: Mutex<Vec<SocketAddr>>,
    truths: Vec<Truth>,
    /// Who holds it changes sessions, and nobody else does.
    changing: Mutex<()>,
    tally: Tally,
}

impl Site {
    /// A session's key, cookie and record.
    fn words(&self, session: usize) -> [String; 3] {
        match self.is_bare {
            true => [format!("{session:032}"), format!("sessionid={session:032}"), bare_record(session)],
            false => [key(session), format!("PHPSESSID={session:032}"), record(session)],
        }
    }

    /// Logs users in and out, over and over.
    fn change(&self) {
        let begun = Instant::now();
        let period = |index: usize| staleness().mul_f32(PERIODS[index % PERIODS.len()]);
        let start = |index: usize| (begun + period(index) * (index as u32) / (SESSIONS as u32), false);
        let mut sessions: Vec<_> = (0..SESSIONS).map(start).collect();
        let mut number = 0_usize;
        while !self.tally.stop.load(Ordering::SeqCst) {
            number += 1;
            let index = number * 7 % SESSIONS;
            let (due, alive) = &mut sessions[index];
            if *due > Instant::now() {
                continue;
            }
            (*due, *alive) = (Instant::now() + period(index), !*alive);
            let changing = self.changing.lock().unwrap();
            self.truths[index].turn(None);
            let [key, _, record] = self.words(index);
            let set = ["SET", &key, &record, "EX", "600"];
            // Django uses no id twice: what its app deletes does not come back.
            let end: &[&str] = if self.is_bare { &["RENAME", &key, "elsewhere"] } else { &["DEL", &key] };
            if self.ask(index, if *alive { &set } else { end }).is_some() {
                self.truths[index].turn(Some(*alive));
            }
            drop(changing);
            thread::sleep(Duration::from_millis(4));
        }
    }

    /// A user who asks, and an oracle who judges the answers.
    fn judge(&self, user: usize) {
        let mut number = user;
        while !self.tally.stop.load(Ordering::SeqCst) {
            number += 5;
            let index = number % SESSIONS;
            let [_, cookie, _] = self.words(index);
            let begun = Instant::now();
            let Some(response) = get("/").cookie(&cookie).try_send(self.gateway) else { continue };
            let ended = Instant::now();
            let truth = &self.truths[index];
            let fault = match response.status() {
                200 => {
                    self.tally.passed.fetch_add(1, Ordering::SeqCst);
                    let before = begun.checked_sub(staleness()).unwrap_or(begun);
                    let app = response.json();
                    let headers = app["headers"].as_array().unwrap();
                    let own = |pair: &&serde_json::Value| pair[0] == "x-forwarded-user";
                    let user = headers.iter().find(own).map(|pair| pair[1].as_str().unwrap().to_owned());
                    if user != Some(index.to_string()) {
                        Some(format!("{index} is {user:?}"))
                    } else {
                        self.note_staleness(truth, begun, ended);
                        (!truth.may_be(true, before, ended)).then(|| format!("{index} passed, but was gone"))
                    }
                }
                401 => {
                    self.tally.refused.fetch_add(1, Ordering::SeqCst);
                    (!truth.may_be(false, begun, ended)).then(|| format!("{index} was refused, but was there"))
                }
                503 => {
                    self.tally.unavailable.fetch_add(1, Ordering::SeqCst);
                    None
                }
                other => Some(format!("{other} for {index}")),
            };
            let mut slowest = self.tally.slowest.lock().unwrap();
            *slowest = (*slowest).max(ended - begun);
            drop(slowest);
            let fault =
                fault.or((ended - begun > TIMEOUT + slack()).then(|| format!("{index} waited {:?}", ended - begun)));
            self.tally.wrong.lock().unwrap().extend(fault);
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn note_staleness(&self, truth: &Truth, begun: Instant, ended: Instant) {
        for milliseconds in 0..=staleness().as_millis() as u64 {
            let allowed = Duration::from_millis(milliseconds);
            if truth.may_be(true, begun.checked_sub(allowed).unwrap_or(begun), ended) {
                let mut stale = self.tally.stale.lock().unwrap();
                *stale = (*stale).max(allowed);
                return;
            }
        }
    }

    /// Nobody changes sessions meanwhile.
    pub(super) fn undisturbed<T>(&self, step: impl FnOnce() -> T) -> T {
        let _changing = self.changing.lock().unwrap();
        step()
    }

    /// All sessions end by this step. Who is gone already stays so: nothing excuses what is staler.
    pub(super) fn all_end(&self, step: impl FnOnce()) {
        self.undisturbed(|| {
            let ending: Vec<_> = self.truths.iter().filter(|truth| !truth.is_gone()).collect();
            ending.iter().for_each(|truth| truth.turn(None));
            step();
            ending.iter().for_each(|truth| truth.turn(Some(false)));
        });
    }

    /// The records of one server are another's now.
    pub(super) fn move_home(&self, from: SocketAddr, to: SocketAddr) {
        let mut homes = self.homes.lock().unwrap();
        homes.iter_mut().filter(|home| **home == from).for_each(|home| *home = to);
    }

    /// The record of one session is another server's now.
    pub(super) fn move_one(&self, session: usize, to: SocketAddr) {
        self.homes.lock().unwrap()[session] = to;
    }

    /// A command to the server that has the record of a session; `None` = it may or may not have been executed.
    pub(super) fn ask(&self, session: usize, command: &[&str]) -> Option<()> {
        let home = self.homes.lock().unwrap()[session];
        ask(home, command)
    }
}

/// A command to a server that may be away.
fn ask(address: SocketAddr, command: &[&str]) -> Option<()> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
    let mut request = format!("*{}\r\n", command.len());
    for part in command {
        request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0];
    stream.read_exact(&mut answer).ok()?;
    (answer != *b"-").then_some(())
}

/// For how many seconds each kind goes on in the long form, which nothing else may run beside.
fn long() -> Option<u64> {
    std::env::var("ONEDOOR_CHAOS_SECONDS").ok()?.parse().ok()
}

/// `max_staleness` of these gateways. Short, so that the short form sees much that could be stale.
fn staleness() -> Duration {
    Duration::from_millis(if long().is_some() { 1000 } else { 500 })
}

/// For how long a server hangs: in the long form for longer than anybody may wait.
pub(super) fn hang() -> Duration {
    if long().is_some() { TIMEOUT + slack() + TIMEOUT } else { Duration::from_millis(1500) }
}

/// What a busy machine may add to every time.
fn slack() -> Duration {
    Duration::from_millis(if long().is_some() { 1000 } else { 5000 })
}

/// Each call of `chaos` leaves the store whole.
pub(super) fn survive(name: &str, store: Store, mut chaos: impl FnMut(&Site)) {
    let app = Upstream::echo();
    let (url, staleness) = (&store.url, staleness().as_millis());
    let session =
        if store.is_bare { "format = \"django\"\nprefix = \"\"" } else { "format = \"php\"\nuser = \"user.id\"" };
    let gateway = Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [store.cache]
        max_staleness = "{staleness}ms"
        [session]
        {session}
        login = "/login"
        [upstreams]
        app = "{}"
        [[rules]]
        path = ["/login", "/login/"]
        respond = {{ status = 204 }}
        [[rules]]
        dest = "app"
        "#,
        app.url()
    ));
    let truths = (0..SESSIONS).map(|_| Truth(Mutex::new(vec![(Instant::now(), Some(false))]))).collect();
    let site = Site {
        gateway: gateway.address,
        is_bare: store.is_bare,
        homes: Mutex::new(store.homes),
        truths,
        changing: Mutex::default(),
        tally: Tally::default(),
    };
    let site = &site;
    thread::scope(|scope| {
        struct StopAtEnd<'a>(&'a AtomicBool);
        impl Drop for StopAtEnd<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let stop = StopAtEnd(&site.tally.stop);
        scope.spawn(move || site.change());
        for user in 0..3 {
            scope.spawn(move || site.judge(user));
        }
        let (begun, duration) = (Instant::now(), Duration::from_secs(long().unwrap_or(4)));
        let is_thin = || site.tally.is_thin() || hits(&gateway) == 0;
        while begun.elapsed() < duration || is_thin() && begun.elapsed() < duration + DEADLINE {
            chaos(site);
        }
        drop(stop);
    });
    let recovery = Instant::now();
    let [key, cookie, record] = site.words(SESSIONS);
    crate::harness::eventually("the store is whole", || site.ask(SESSIONS, &["SET", &key, &record, "EX", "600"]));
    crate::harness::eventually("all is well", || {
        (get("/").cookie(&cookie).send(gateway.address).status() == 200 && gateway.measures(ARMED)).then_some(())
    });
    let (recovery, tally) = (recovery.elapsed(), &site.tally);
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let wrong = tally.wrong.lock().unwrap();
    let hits = hits(&gateway);
    eprintln!(
        "report: {name}: {} passed, {hits} from memory, {} refused, {} unavailable; stalest {:?}, slowest {:?}, well after {:?}; {} wrong",
        count(&tally.passed),
        count(&tally.refused),
        count(&tally.unavailable),
        tally.stale.lock().unwrap(),
        tally.slowest.lock().unwrap(),
        recovery,
        wrong.len(),
    );
    assert!(wrong.is_empty(), "{name}: {} wrong answers, the first: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(recovery < Duration::from_secs(1) + slack(), "{name}: all is well only after {recovery:?}");
    assert!(!tally.is_thin(), "{name}: the chaos let nothing happen");
    assert!(hits > 0, "{name}: memory was never used");
}

/// How many requests were answered from memory.
fn hits(gateway: &Gateway) -> u64 {
    let page = get("/metrics").send(gateway.admin).text();
    let line = page.lines().find(|line| line.contains("memory_total") && line.contains("\"hit\""));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}
