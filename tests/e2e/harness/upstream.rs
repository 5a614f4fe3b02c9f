//! Services behind the gateway: one that answers by a closure and remembers, one that a test drives byte by byte.

use super::{Connection, Http2, Message, free_address};
use serde_json::json;
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// An answer's bytes, and whether the connection stays.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    keep: bool,
}

impl Reply {
    /// Bytes as they are; the connection stays.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self { bytes: bytes.as_ref().to_vec(), keep: true }
    }

    /// The connection is closed after it.
    pub(crate) fn close(mut self) -> Self {
        self.keep = false;
        self
    }

    /// A status with headers and a body of known length.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {status} Word\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
        Self::raw([head.as_bytes(), body].concat())
    }

    /// What the request was, as JSON.
    pub(crate) fn echo(request: &Message) -> Self {
        let body = json!({
            "method": request.method(),
            "target": request.target(),
            "headers": request.headers,
            "length": request.body.len(),
        });
        Self::new(200, &[("Content-Type", "application/json")], body.to_string())
    }
}

type Answer = dyn Fn(&Message) -> Reply + Send + Sync;

/// A service that answers every request by a closure, on as many connections as are opened.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopped: Arc<AtomicBool>,
}

struct Shared {
    answer: Box<Answer>,
    requests: Mutex<Vec<Message>>,
    streams: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
}

impl Upstream {
    /// Answers every request with what it was.
    pub(crate) fn echo() -> Self {
        Self::start(Reply::echo)
    }

    /// Answers every request with a name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |_| Reply::new(200, &[("X-Served-By", name)], name))
    }

    pub(crate) fn start(answer: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(free_address(), answer)
    }

    /// At an address of the test's choice.
    pub(crate) fn at(address: SocketAddr, answer: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            requests: Mutex::default(),
            streams: Mutex::default(),
            accepted: AtomicUsize::new(0),
        });
        let stopped = serve(address, &shared);
        Self { address, shared, stopped }
    }

    /// `http://…`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The last request.
    pub(crate) fn last(&self) -> Message {
        self.requests().pop().expect("there was a request")
    }

    /// How many connections were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes all connections, idle ones included, but goes on listening.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }

    /// Stops listening and closes all connections.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the accepting thread, which then lets the port go
        super::eventually("the upstream stops", || TcpStream::connect(self.address).is_err().then_some(()));
        self.hang_up();
    }

    /// Listens again on the same address.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.stopped = serve(self.address, &self.shared);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.hang_up();
    }
}

fn serve(address: SocketAddr, shared: &Arc<Shared>) -> Arc<AtomicBool> {
    let listener = super::eventually("the upstream's port is free", || TcpListener::bind(address).ok());
    let stopped = Arc::new(AtomicBool::new(false));
    let (shared, stop) = (Arc::clone(shared), Arc::clone(&stopped));
    thread::spawn(move || {
        for stream in listener.incoming() {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            shared.accepted.fetch_add(1, Ordering::SeqCst);
            shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            thread::spawn(move || converse(&shared, &stop, Connection::new(stream)));
        }
    });
    stopped
}

fn converse(shared: &Shared, stopped: &AtomicBool, mut connection: Connection) {
    while let Some(request) = connection.request() {
        if stopped.load(Ordering::SeqCst) {
            return connection.close();
        }
        let reply = (shared.answer)(&request);
        shared.requests.lock().unwrap().push(request);
        if !connection.try_write(&reply.bytes) || !reply.keep {
            return connection.close();
        }
    }
    connection.close();
}

/// A service that the test itself plays.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    pub(crate) fn bind() -> Self {
        Self(TcpListener::bind(free_address()).unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Connection {
        Connection::new(self.stream())
    }

    /// The next connection, of HTTP/2 with these settings.
    pub(crate) fn accept_http2(&self, settings: &[(u16, u32)]) -> Http2 {
        Http2::accept(self.stream(), settings)
    }

    fn stream(&self) -> TcpStream {
        self.0.set_nonblocking(true).unwrap();
        let (stream, _) = super::eventually("the gateway connects", || self.0.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream
    }

    /// Whether nobody has connected (again).
    pub(crate) fn is_idle(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        self.0.accept().is_err()
    }
}
