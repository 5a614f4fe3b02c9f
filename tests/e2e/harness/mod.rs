//! What the chapters stand on: real processes, raw sockets, conditions with a deadline instead of sleeps.

mod client;
mod connection;
mod express;
mod gateway;
mod http2;
mod http2_app;
mod http2_client;
mod process;
mod redis;
mod tls;
mod upstream;

pub(crate) use client::{Jar, Request, get, post};
pub(crate) use connection::{Connection, Message};
pub(crate) use express::{
    COUNTER, SECRET, Site, counter_site, express_gateway, express_stage, record, signature, signed, store_session,
};
pub(crate) use gateway::{ARMED, Gateway, Setup, onedoor, open_gateway, open_rule};
pub(crate) use http2::{Http2, Outcome, block as http2_block, frames};
pub(crate) use http2_app::{Http2App, Http2Reply, Http2Setup, Seen};
pub(crate) use http2_client::post_http2;
pub(crate) use process::Process;
pub(crate) use redis::{Cluster, Redis, Sentinel};
pub(crate) use tls::handshake;
pub(crate) use upstream::{Listener, Reply, Upstream};

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that should happen at once; generous, since the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until the condition gives a value; fails with `what` after [`DEADLINE`].
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An address that nobody listens on. Ports lie below those that the kernel gives to outgoing connections, and each
/// test process has a stretch of them to itself, so that parallel tests do not take each other's while a server is away.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let stretch = *STRETCH.get_or_init(stretch);
    loop {
        let port = stretch + 1 + (NEXT.fetch_add(1, Ordering::Relaxed) % (STRETCH_LENGTH - 1)) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

const STRETCH_LENGTH: u32 = 2000;
static STRETCH: OnceLock<u16> = OnceLock::new();

/// The first port of a stretch that no other test process has: whoever has it holds that port for UDP until it ends.
fn stretch() -> u16 {
    let first = (0..11).map(|number| 10_000 + number * STRETCH_LENGTH as u16);
    eventually("a stretch of ports is free", || {
        first.clone().find_map(|port| {
            std::mem::forget(UdpSocket::bind(("127.0.0.1", port)).ok()?);
            Some(port)
        })
    })
}

/// A directory that is removed at the end.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("onedoor-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and answers its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    //! The stage itself, without a gateway.
    use super::{Connection, Redis, Reply, Upstream, express::App, get, post};

    #[test]
    fn redis_keeps_its_data_when_it_is_killed_and_answers_again_after_a_pause() {
        let mut redis = Redis::start();
        redis.set("key", "value");
        redis.restart();
        assert_eq!(redis.ask(&["GET", "key"]).as_deref(), Some("value"));
        assert_eq!((redis.ask(&["GET", "none"]), redis.keys("k*")), (None, vec!["key".to_owned()]));
        redis.pause();
        redis.resume();
        redis.kill();
        redis.restart();
        assert_eq!(redis.ask(&["TTL", "none"]).as_deref(), Some("-2"));
    }

    #[test]
    fn an_upstream_echoes_stops_and_comes_back() {
        let mut app = Upstream::echo();
        let address = app.url().trim_start_matches("http://").parse().unwrap();
        let mut connection = Connection::open(address);
        for target in ["/one", "/two"] {
            assert_eq!(get(target).send_on(&mut connection, address).json()["target"], target);
        }
        assert_eq!(post("/", "abc").send(address).json()["length"], 3);
        assert_eq!((app.accepted(), app.last().method()), (2, "POST"));
        app.hang_up();
        assert!(connection.is_closed());
        app.restart();
        assert_eq!(get("/").send(address).status(), 200);
        let closing = Upstream::start(|_| Reply::raw("HTTP/1.1 200 OK\r\n\r\nrest").close());
        let address = closing.url().trim_start_matches("http://").parse().unwrap();
        assert_eq!(get("/").send(address).text(), "rest");
    }

    #[test]
    fn the_express_apps_share_a_session_that_may_also_be_made_by_hand() {
        for generation in ["current", "three"] {
            let secret = "a secret of the apps";
            let redis = Redis::start();
            let (writer, mut reader) =
                (App::start(generation, "writer", &redis, secret), App::start(generation, "reader", &redis, secret));
            let mut jar = super::Jar::default();
            assert_eq!(jar.send(post("/login", "user=42"), writer.address).status(), 303);
            assert_eq!(jar.send(post("/increment", ""), writer.address).json()["count"], 1);
            assert_eq!(jar.send(get("/"), reader.address).json()["user"]["id"], 42);
            redis.set("sess:by-hand", super::record("7", "[]"));
            let cookie = format!("connect.sid={}", super::signed("by-hand", secret));
            assert_eq!(get("/").cookie(&cookie).send(reader.address).json()["user"]["id"], 7);
            let wrong = format!("connect.sid={}", super::signed("by-hand", "another secret"));
            assert!(get("/").cookie(&wrong).send(reader.address).json()["user"].is_null());
            reader.restart();
            assert_eq!(jar.send(get("/"), reader.address).json()["count"], 1);
            assert_eq!(jar.send(post("/logout", ""), writer.address).status(), 200);
            assert!(jar.send(get("/"), reader.address).json()["user"].is_null());
        }
    }
}
