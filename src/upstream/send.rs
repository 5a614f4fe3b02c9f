//! One request to an upstream: an endpoint, a connection, at most one retry, and the answer made safe.

use super::{
    connection::Connection,
    endpoint::{Endpoint, Place},
    failure::Failure,
    meter::Meter,
    replay::Replay,
    streaming::{Lease, Streaming},
    tunnel::Tunnel,
};
use crate::{
    clock,
    config::upstreams::{Host, Upstream},
    http::{
        body::{Progress, RequestBody},
        hop_by_hop, message, websocket,
    },
    identity::Forward,
    tasks::Worker,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE},
};
use http_body::Body;
use hyper::body::Incoming;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// An upstream that a rule sends to; cheap to clone.
#[derive(Debug, Clone)]
pub struct Target(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    section: Upstream,
    endpoints: Vec<Arc<Endpoint>>,
    next: AtomicUsize,
    meter: Meter,
}

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What stays the same whichever endpoint is asked.
struct Asked {
    worker: Worker,
    /// The request's body, where it has one.
    progress: Option<Progress>,
    /// A WebSocket is asked for.
    websocket: bool,
}

/// Why one endpoint gave no answer.
enum Miss {
    /// Nothing was sent: the request is whole and may go elsewhere.
    Unsent(Box<Request<RequestBody>>, Failure),
    /// Something was sent, so it may have run.
    Spent(Failure),
}

impl Target {
    pub(super) fn new(section: Upstream, endpoints: Vec<Arc<Endpoint>>, meter: Meter) -> Self {
        Self(Arc::new(Inner { section, endpoints, next: AtomicUsize::new(0), meter }))
    }

    /// Whether it was made from an equal section, wherever in the file that stood.
    pub(super) fn is_as(&self, section: &Upstream) -> bool {
        Upstream { span: section.span.clone(), ..self.0.section.clone() } == *section
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.endpoints.iter()
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.section.name
    }

    /// What is counted of it.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Whether its `Session-*` response headers are obeyed.
    pub fn has_session_authority(&self) -> bool {
        self.0.section.session_authority
    }

    /// The endpoint that the next request would go to, as a URL.
    pub fn next_endpoint(&self) -> String {
        let next = self.0.next.load(Ordering::Relaxed) % self.0.endpoints.len();
        self.0.endpoints[next].spec().to_string()
    }

    /// Sends a granted request and waits for the answer's head.
    ///
    /// Requests of which nothing was sent go on to the next endpoint, each endpoint once. A reused connection that
    /// closes before any answer is replaced once, for idempotent methods without a body (RFC 9110 section 9.2.2).
    ///
    /// # Errors
    /// See [`Failure`]. Dropping the future closes the connection to the upstream.
    pub async fn send(
        &self,
        forward: Forward,
        body: RequestBody,
        worker: Worker,
    ) -> Result<Response<Streaming>, Failure> {
        let progress = body.progress().cloned();
        let (mut request, client_host) = assemble(forward, body);
        // Nothing but a WebSocket is forwarded with this field.
        let websocket = request.headers().contains_key(UPGRADE);
        let asked = Asked { worker, progress, websocket };
        let mut failure = Failure::Overloaded;
        for endpoint in self.in_turn() {
            let Some(place) = endpoint.admit() else { continue };
            let host = self.host(endpoint, &client_host);
            request.headers_mut().insert(HOST, host);
            match self.exchange(place, request, &asked).await {
                Ok(response) => return Ok(response),
                Err(Miss::Spent(failure)) => {
                    let fault = asked.progress.as_ref().and_then(Progress::fault);
                    return Err(fault.map_or(failure, Failure::Body));
                }
                Err(Miss::Unsent(unsent, cause)) => (request, failure) = (*unsent, cause),
            }
        }
        Err(failure)
    }

    /// Every endpoint once, beginning with the one whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let endpoints = &self.0.endpoints;
        let first = match endpoints.len() {
            1 => 0,
            count => self.0.next.fetch_add(1, Ordering::Relaxed) % count,
        };
        endpoints[first..].iter().chain(&endpoints[..first])
    }

    fn host(&self, endpoint: &Endpoint, client: &HeaderValue) -> HeaderValue {
        match &self.0.section.host {
            Host::Client => client.clone(),
            Host::Upstream => endpoint.authority().clone(),
            Host::Literal(host) => host.clone(),
            Host::Auto if endpoint.spec().https => endpoint.authority().clone(),
            Host::Auto => client.clone(),
        }
    }

    /// One endpoint's answer, over a kept connection if there is one.
    async fn exchange(
        &self,
        place: Place,
        mut request: Request<RequestBody>,
        asked: &Asked,
    ) -> Result<Response<Streaming>, Miss> {
        while let Some(mut kept) = place.endpoint().pool(asked.worker).take() {
            if !kept.is_ready().await {
                continue;
            }
            let replay = Replay::of(&request);
            match self.answer(&mut kept, request, asked).await {
                Ok(response) => return self.accept(response, asked, kept, place),
                Err(Miss::Unsent(unsent, _)) => request = *unsent,
                Err(Miss::Spent(failure)) => match (replay, failure) {
                    // It closed upon our request, as an unused connection may at any time.
                    (Some(replay), Failure::Unreachable(_)) => {
                        request = replay.into_request();
                        break;
                    }
                    (_, failure) => return Err(Miss::Spent(failure)),
                },
            }
        }
        // Boxed: seldom needed, and every request would carry its size.
        let mut fresh = match Box::pin(place.endpoint().connect()).await {
            Ok(connection) => connection,
            Err(failure) => return Err(Miss::Unsent(Box::new(request), failure)),
        };
        let response = self.answer(&mut fresh, request, asked).await?;
        self.accept(response, asked, fresh, place)
    }

    async fn answer(
        &self,
        connection: &mut Connection,
        request: Request<RequestBody>,
        asked: &Asked,
    ) -> Result<Response<Incoming>, Miss> {
        let answer = connection.send(request);
        match within(self.0.section.response_timeout, asked.progress.as_ref(), answer).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(unsent) => Miss::Unsent(Box::new(unsent), error.into_error().into()),
                None => Miss::Spent(error.into_error().into()),
            }),
            None => Err(Miss::Spent(Failure::TimedOut)),
        }
    }

    /// Makes an answer safe to forward: its framing is ours to choose.
    fn accept(
        &self,
        mut response: Response<Incoming>,
        asked: &Asked,
        connection: Connection,
        place: Place,
    ) -> Result<Response<Streaming>, Miss> {
        let mut lease = Lease { connection, place, worker: asked.worker, sent: asked.progress.clone() };
        let agrees = response.status() == StatusCode::SWITCHING_PROTOCOLS && websocket::is_named(response.headers());
        let upgrade = (asked.websocket && agrees).then(|| hyper::upgrade::on(&mut response));
        let (mut head, incoming) = response.into_parts();
        if let Some(upgrade) = upgrade {
            hop_by_hop::strip(&mut head.headers);
            websocket::announce(&mut head.headers);
            let tunnel = Tunnel::new(upgrade, lease, self.0.section.tunnel_idle, self.0.meter.websocket());
            return Ok(Response::from_parts(head, Streaming::before(tunnel, incoming)));
        }
        if head.status.is_informational() {
            let text = format!("it answered {} without having been asked to", head.status);
            return Err(Miss::Spent(Failure::Invalid(text)));
        }
        if let Err(Odd) = settle_framing(&mut head.headers) {
            return Err(Miss::Spent(Failure::Invalid("its framing may be read in two ways".to_owned())));
        }
        if let Some(keepalive) = keepalive_of(&head.headers) {
            lease.connection.note_keepalive(keepalive);
        }
        // hyper read the body as chunked, so a Content-Length beside it is a lie (RFC 9112 section 6.3).
        if head.headers.contains_key(TRANSFER_ENCODING) || head.status == StatusCode::NO_CONTENT {
            head.headers.remove(CONTENT_LENGTH);
        }
        hop_by_hop::strip(&mut head.headers);
        let Upstream { idle_timeout, tunnel_idle, .. } = self.0.section;
        let silence = if may_be_silent(&head.headers) { tunnel_idle } else { idle_timeout };
        Ok(Response::from_parts(head, Streaming::new(incoming, lease, silence)))
    }
}

/// The request as the upstream sees it, but for its Host, and the client's Host.
fn assemble(forward: Forward, body: RequestBody) -> (Request<RequestBody>, HeaderValue) {
    let (method, target, mut headers, host) = forward.into_parts();
    match (headers.remove(CONTENT_LENGTH), body.progress()) {
        // hyper writes the length of a body that has one, and chunks the others.
        (None, _) | (_, Some(_)) => {}
        (Some(_), None) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }
    if body.progress().is_some() && body.size_hint().exact().is_none() {
        // hyper would drop the body of a GET whose framing is not named.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    (request, host)
}

/// Waits for an answer as long as the request's body moves, and `timeout` longer.
async fn within<T>(timeout: Duration, progress: Option<&Progress>, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let mut wait = timeout;
    loop {
        if let Ok(answer) = tokio::time::timeout(wait, &mut answer).await {
            return Some(answer);
        }
        wait = timeout.checked_sub(clock::now() - progress?.moved()).filter(|left| !left.is_zero())?;
    }
}

/// Framing that two clients may read differently.
#[derive(Debug, PartialEq)]
struct Odd;

/// Leaves one Content-Length of plain digits, as hyper has read it, and takes no coding but `chunked`.
fn settle_framing(headers: &mut HeaderMap) -> Result<(), Odd> {
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked) {
        return Err(Odd);
    }
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(lengths) = lines.next() else { return Ok(()) };
    if lines.next().is_none() && message::is_canonical_number(lengths.as_bytes()) {
        return Ok(());
    }
    let length = lengths.to_str().ok().and_then(|lengths| lengths.split(',').next()).map(str::trim);
    let length = length.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    let length: u64 = length.and_then(|digits| digits.parse().ok()).ok_or(Odd)?;
    headers.insert(CONTENT_LENGTH, length.into());
    Ok(())
}

/// `Keep-Alive: timeout=n` minus a second for the way: how long the upstream keeps the connection.
fn keepalive_of(headers: &HeaderMap) -> Option<Duration> {
    let parameters = headers.get(&KEEP_ALIVE)?.to_str().ok()?;
    let timeout = parameters.split(',').find_map(|parameter| parameter.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(timeout.parse::<u32>().ok()?.saturating_sub(1).into()))
}

/// Event streams and gRPC may be silent for as long as they like.
fn may_be_silent(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.starts_with(b"text/event-stream") || kind.starts_with(b"application/grpc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_settled_or_refused() {
        let settled = |name: http::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            settle_framing(&mut headers).map(|()| headers.remove(&name).expect("it stays"))
        };
        for value in ["2", "02", "2, 2"] {
            assert_eq!(settled(CONTENT_LENGTH, value), Ok(HeaderValue::from_static("2")), "{value}");
        }
        assert_eq!(settled(CONTENT_LENGTH, "+2"), Err(Odd));
        assert_eq!(settled(TRANSFER_ENCODING, "gzip, chunked"), Err(Odd));
        assert!(settled(TRANSFER_ENCODING, "Chunked").is_ok());
    }
}
