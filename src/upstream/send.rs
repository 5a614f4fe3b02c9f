//! One request to one endpoint: over a kept connection, or a fresh one.

use super::{
    answer,
    connection::{Connection, Fate, Speaks},
    endpoint::Place,
    failure::Failure,
    form, replay,
    streaming::{Lease, Streaming},
};
use crate::{
    clock,
    config::upstreams::Upstream,
    http::{
        body::{Progress, RequestBody},
        trailers::{Trailers, is_grpc},
    },
    identity::Forward,
    tasks::Worker,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use hyper::body::Incoming;
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

/// What stays the same whichever endpoint is asked.
pub(super) struct Asked<'a> {
    pub(super) section: &'a Upstream,
    pub(super) worker: Worker,
    /// When it began.
    pub(super) begun: Instant,
    /// The request's body, where it has one.
    pub(super) progress: Option<Progress>,
    /// A WebSocket is asked for.
    pub(super) websocket: bool,
    /// Until the head of the answer.
    pub(super) response_timeout: Duration,
    /// When everything must be over.
    pub(super) deadline: Option<Instant>,
    /// There is another endpoint that could be asked.
    pub(super) elsewhere: bool,
}

/// A request, and what must be known of it wherever it is sent.
pub(super) struct Errand {
    pub(super) request: Box<Request<RequestBody>>,
    /// The Host that the client asked for.
    pub(super) client_host: HeaderValue,
    pub(super) progress: Option<Progress>,
    pub(super) websocket: bool,
}

/// Why no endpoint of an upstream gave an answer.
pub(super) struct Missed {
    pub(super) failure: Failure,
    /// Nobody could be reached: nothing of it was sent.
    pub(super) unsent: Option<Box<Errand>>,
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self { failure, unsent: None }
    }
}

/// Why one endpoint gave no answer.
pub(super) struct Miss {
    pub(super) failure: Failure,
    pub(super) place: Place,
    pub(super) again: Again,
    /// It speaks against the endpoint's health.
    pub(super) counts: bool,
}

/// Whether the request may be sent again.
pub(super) enum Again {
    /// Nothing was sent: it may go elsewhere.
    Unsent(Box<Request<RequestBody>>),
    /// The connection closed upon it, as an unused one may at any time, and it may run twice without harm.
    Stale(Box<Request<RequestBody>>),
    /// A fresh connection closed without an answer. It may run twice without harm, but not here.
    Dropped(Box<Request<RequestBody>>),
    /// It may have run.
    No,
}

/// One endpoint's answer, over a kept connection if there is one and `fresh` does not ask for a new one.
pub(super) async fn exchange(
    place: Place,
    mut request: Box<Request<RequestBody>>,
    asked: &Asked<'_>,
    fresh: bool,
) -> Result<Response<Streaming>, Miss> {
    let speaks = if asked.websocket { Speaks::Http1 } else { Speaks::Any };
    while let Some(mut kept) = (!fresh).then(|| place.endpoint().pool(asked.worker).take(speaks, asked.begun)).flatten()
    {
        let repeats = asked.section.retries > 0 && replay::may_run_twice(&request);
        if !repeats && !kept.is_open_for_sure() {
            continue;
        }
        match answer(&mut kept, request, asked, asked.section.retries > 0).await {
            Ok(response) => return accept(response, asked, kept, place, asked.begun),
            Err((_, Fate::Unsent(unsent))) => request = unsent,
            Err((failure, fate)) => {
                let counts = matches!(failure, Failure::TimedOut(_)) || matches!(fate, Fate::Reset);
                let again = match (fate, &failure) {
                    (Fate::Refused(Some(again)), _) | (Fate::Lost(Some(again)), Failure::Unreachable(_)) => {
                        Again::Stale(again)
                    }
                    _ => Again::No,
                };
                return Err(Miss { failure, place, again, counts });
            }
        }
    }
    if asked.websocket && place.endpoint().spec().h2c {
        let failure = Failure::Invalid("an h2c endpoint takes no WebSockets".to_owned());
        return Err(Miss { failure, place, again: Again::Unsent(request), counts: false });
    }
    // Boxed: seldom needed, and every request would carry its size.
    let mut fresh = match Box::pin(place.endpoint().open(asked.worker, speaks)).await {
        Ok(connection) => connection,
        Err(failure) => {
            return Err(Miss { failure, place, again: Again::Unsent(request), counts: true });
        }
    };
    let sent = if asked.elsewhere { clock::now() } else { asked.begun };
    match answer(&mut fresh, request, asked, asked.section.retries > 0).await {
        Ok(response) => accept(response, asked, fresh, place, sent),
        Err((failure, fate)) => {
            let is_refused = matches!(fate, Fate::Refused(_));
            let counts = !is_refused && matches!(failure, Failure::TimedOut(_) | Failure::Unreachable(_));
            let again = match (fate, &failure) {
                (Fate::Unsent(unsent), _) => Again::Unsent(unsent),
                (Fate::Refused(Some(again)), _) => Again::Stale(again),
                (Fate::Lost(Some(again)), Failure::Unreachable(_)) if asked.elsewhere => Again::Dropped(again),
                _ => Again::No,
            };
            Err(Miss { failure, place, again, counts })
        }
    }
}

/// The answer's head, or what has become of the request.
async fn answer(
    connection: &mut Connection,
    request: Box<Request<RequestBody>>,
    asked: &Asked<'_>,
    again: bool,
) -> Result<Response<Option<Incoming>>, (Failure, Fate)> {
    let answer = connection.send(request, again);
    if let Some(answered) = within(asked.response_timeout, asked.progress.as_ref(), answer).await {
        return answered;
    }
    connection.doubt();
    Err((Failure::TimedOut(format!("no answer within {:?}", asked.response_timeout)), Fate::Lost(None)))
}

fn accept(
    response: Response<Option<Incoming>>,
    asked: &Asked<'_>,
    connection: Connection,
    place: Place,
    sent: Instant,
) -> Result<Response<Streaming>, Miss> {
    place.endpoint().health().succeeded();
    if asked.elsewhere {
        note_speed(&place, response.status(), asked.progress.as_ref(), sent);
    }
    let lease = Lease { connection, place, worker: asked.worker };
    answer::accept(response, lease, asked.section, asked.websocket, asked.deadline).map_err(|(failure, place)| Miss {
        failure,
        place,
        again: Again::No,
        counts: false,
    })
}

/// Notes how the endpoint fared. Errors make nobody quick, and what the client took to send its body nobody slow.
fn note_speed(place: &Place, status: StatusCode, body: Option<&Progress>, sent: Instant) {
    let speed = place.endpoint().speed();
    speed.fared(!status.is_server_error());
    if status.as_u16() < 400 && body.is_none_or(Progress::ended) {
        let (now, sent) = (clock::now(), body.map_or(sent, |body| body.moved().max(sent)));
        speed.answered(now.saturating_duration_since(sent), now);
    }
}

impl Errand {
    /// The request as the upstream sees it, but for its Host.
    pub(super) fn new(forward: Forward, mut body: RequestBody, trailers: &Arc<[HeaderName]>) -> Self {
        let (progress, websocket) = (body.progress().cloned(), forward.asks_for_websocket());
        let (method, target, mut headers, client_host) = forward.into_parts();
        if progress.is_some() {
            // hyper writes the length of a body that has one.
            headers.remove(CONTENT_LENGTH);
        }
        if !trailers.is_empty() {
            body.admit(Trailers::Named(trailers.clone()));
        }
        // Boxed: it goes through many hands.
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = headers;
        form::to_http1(&mut request);
        let is_grpc = *request.method() == Method::POST && is_grpc(request.headers().get(CONTENT_TYPE));
        if is_grpc || !trailers.is_empty() {
            announce(request.headers_mut(), trailers);
        }
        Self { request, client_host, progress, websocket }
    }
}

/// Says that trailers are welcome, and which may come behind a body that has room for them.
fn announce(headers: &mut HeaderMap, trailers: &[HeaderName]) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if headers.contains_key(UPGRADE) {
        return;
    }
    headers.insert(CONNECTION, HeaderValue::from_static("te"));
    let names: Vec<&str> = trailers.iter().map(HeaderName::as_str).collect();
    let names = HeaderValue::try_from(names.join(", ")).ok().filter(|names| !names.is_empty());
    if let Some(names) = names.filter(|_| headers.contains_key(TRANSFER_ENCODING)) {
        headers.insert(TRAILER, names);
    }
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
