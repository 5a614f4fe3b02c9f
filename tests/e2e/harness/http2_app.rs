//! A service behind the gateway that speaks HTTP/2, by hyper: answers by a closure, and remembers.

use super::free_address;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Scheme, authority, path and query.
    pub(crate) url: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<http::HeaderMap>,
}

impl Seen {
    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// What it answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Http2Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Bytes,
    pub(crate) trailers: Vec<(&'static str, &'static str)>,
    /// Before it answers.
    pub(crate) delay: Duration,
}

impl Http2Reply {
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }
}

/// How it is spoken to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Http2Setup {
    /// With TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// So many requests at a time on one connection.
    pub(crate) streams: Option<u32>,
}

type Answer = dyn Fn(&Seen) -> Http2Reply + Send + Sync;

/// The service, until it is dropped.
pub(crate) struct Http2App {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

struct Shared {
    answer: Box<Answer>,
    setup: Http2Setup,
    seen: Mutex<Vec<Seen>>,
    accepted: AtomicUsize,
}

impl Http2App {
    pub(crate) fn start(setup: Http2Setup, answer: impl Fn(&Seen) -> Http2Reply + Send + Sync + 'static) -> Self {
        let (answer, accepted) = (Box::new(answer), AtomicUsize::new(0));
        let shared = Arc::new(Shared { answer, setup, seen: Mutex::default(), accepted });
        let (address, (stop, stopped)) = (free_address(), oneshot::channel::<()>());
        let (serving, (ready, is_ready)) = (shared.clone(), std::sync::mpsc::channel());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = accept(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self { address, shared, _stop: stop }
    }

    /// `h2c://…` or `https://localhost:…`
    pub(crate) fn url(&self) -> String {
        match self.shared.setup.tls {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("h2c://{}", self.address),
        }
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.requests().pop().expect("there was a request")
    }

    /// How many connections were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let shared = shared.clone();
        tokio::spawn(async move {
            match shared.setup.tls.clone() {
                None => serve(stream, shared).await,
                Some(tls) => {
                    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                        serve(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(shared.setup.streams.unwrap_or(200));
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            let (head, body) = request.into_parts();
            // A request that breaks off is none.
            let Ok(body) = body.collect().await else { return std::future::pending().await };
            let trailers = body.trailers().cloned();
            let seen = Seen {
                method: head.method.to_string(),
                url: head.uri.to_string(),
                headers: head.headers,
                body: body.to_bytes(),
                trailers,
            };
            let reply = (shared.answer)(&seen);
            shared.seen.lock().unwrap().push(seen);
            tokio::time::sleep(reply.delay).await;
            let mut response = Response::builder().status(reply.status);
            for (name, value) in reply.headers {
                response = response.header(name, value);
            }
            let trailers: http::HeaderMap =
                reply.trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let trailers = async move { (!trailers.is_empty()).then_some(Ok::<_, Infallible>(trailers)) };
            Ok::<_, Infallible>(response.body(Full::new(reply.body).with_trailers(trailers)).unwrap())
        }
    });
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}
