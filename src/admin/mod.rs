//! The admin listener: whether the process lives, whether it wants requests, and what it has counted. Never on the
//! public address.

use crate::{gateway::Gateway, tasks};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST},
    uri::Authority,
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// A head that takes longer is cut off, and so is a connection that is unused for longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A head that is larger is refused.
const HEAD_BYTES: usize = 16 * 1024;

/// A connection that is older takes no further request, and has the same time again as a head for its last answer.
const CONNECTION_AGE: Duration = Duration::from_secs(60);

/// Connections at a time. Beyond them the oldest makes room, so that a probe is answered whoever else holds some.
const CONNECTIONS: usize = 64;

/// Claims the admin address.
///
/// # Errors
/// When it cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the admin address until the process ends.
///
/// # Errors
/// When the runtime cannot watch the socket.
pub fn serve(listener: std::net::TcpListener, gateway: Arc<Gateway>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    tasks::background(async move {
        let mut open = VecDeque::<AbortHandle>::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            open.retain(|connection| !connection.is_finished());
            if open.len() >= CONNECTIONS
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            open.push_back(tasks::abortable(converse(stream, gateway.clone())));
        }
    });
    Ok(())
}

/// Serves a connection within its limits.
async fn converse(stream: TcpStream, gateway: Arc<Gateway>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, &gateway);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEAD_BYTES);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // A client that breaks off harms nobody but itself.
    if tokio::time::timeout(CONNECTION_AGE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(HEADER_TIMEOUT, connection).await;
    }
}

fn answer(request: &Request<Incoming>, gateway: &Gateway) -> Response<Full<Bytes>> {
    if !is_local(request) {
        return text(StatusCode::FORBIDDEN, "application/json", r#"{"error":"Host must be an address or localhost"}"#);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "application/json", r#"{"error":"only GET and HEAD"}"#);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "application/json", r#"{"status":"alive"}"#),
        "/readyz" => readiness(gateway),
        "/metrics" => text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", gateway.metrics_page()),
        _ => text(StatusCode::NOT_FOUND, "application/json", r#"{"error":"there are /livez, /readyz and /metrics"}"#),
    }
}

/// A store that is down does not make the gateway unready: public pages still work.
fn readiness(gateway: &Gateway) -> Response<Full<Bytes>> {
    let current = gateway.current();
    let store = if current.store().degraded() { "degraded" } else { "ok" };
    let memory = current.watcher().map_or("off", |watcher| watcher.status().word());
    let (status, ready) =
        if gateway.is_draining() { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ready") };
    text(status, "application/json", format!(r#"{{"status":"{ready}","store":"{store}","memory":"{memory}"}}"#))
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page of a foreign site must not read it through a name that it points here (DNS rebinding).
fn is_local(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    if headers.get_all("sec-fetch-site").iter().any(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let hosts = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    hosts.chain(request.uri().authority().map(|authority| authority.as_str().as_bytes())).all(is_ours)
}

/// Whether a host is an address, or this machine.
fn is_ours(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
