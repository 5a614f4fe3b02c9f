//! One request to one endpoint: over a kept connection, or a fresh one.

use super::{
    answer,
    connection::Connection,
    endpoint::Place,
    failure::Failure,
    replay::Replay,
    streaming::{Lease, Streaming},
};
use crate::{
    clock,
    config::upstreams::Upstream,
    http::body::{Progress, RequestBody},
    identity::Forward,
    tasks::Worker,
};
use http::{
    HeaderValue, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::Body;
use hyper::body::Incoming;
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// What stays the same whichever endpoint is asked.
pub(super) struct Asked<'a> {
    pub(super) section: &'a Upstream,
    pub(super) worker: Worker,
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
    while let Some(mut kept) = (!fresh).then(|| place.endpoint().pool(asked.worker).take()).flatten() {
        if !kept.is_ready().await {
            continue;
        }
        let replay = if asked.section.retries == 0 { None } else { Replay::of(&request) };
        match answer(&mut kept, request, asked).await {
            Ok(response) => return accept(response, asked, kept, place),
            Err((_, Some(unsent))) => request = unsent,
            Err((failure, None)) => {
                let counts = matches!(failure, Failure::TimedOut);
                let again = match (replay, &failure) {
                    (Some(replay), Failure::Unreachable(_)) => Again::Stale(Box::new(replay.into_request())),
                    _ => Again::No,
                };
                return Err(Miss { failure, place, again, counts });
            }
        }
    }
    // Boxed: seldom needed, and every request would carry its size.
    let mut fresh = match Box::pin(place.endpoint().connect()).await {
        Ok(connection) => connection,
        Err(failure) => {
            return Err(Miss { failure, place, again: Again::Unsent(request), counts: true });
        }
    };
    let replay = if asked.elsewhere && asked.section.retries > 0 { Replay::of(&request) } else { None };
    match answer(&mut fresh, request, asked).await {
        Ok(response) => accept(response, asked, fresh, place),
        Err((failure, unsent)) => {
            let counts = matches!(failure, Failure::TimedOut | Failure::Unreachable(_));
            let again = match (unsent, replay, &failure) {
                (Some(unsent), ..) => Again::Unsent(unsent),
                (None, Some(replay), Failure::Unreachable(_)) => Again::Dropped(Box::new(replay.into_request())),
                _ => Again::No,
            };
            Err(Miss { failure, place, again, counts })
        }
    }
}

/// The answer's head; with the failure comes the request, if nothing of it was sent.
async fn answer(
    connection: &mut Connection,
    request: Box<Request<RequestBody>>,
    asked: &Asked<'_>,
) -> Result<Response<Incoming>, (Failure, Option<Box<Request<RequestBody>>>)> {
    let answer = connection.send(*request);
    match within(asked.response_timeout, asked.progress.as_ref(), answer).await {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut error)) => {
            let unsent = error.take_message().map(Box::new);
            Err((error.into_error().into(), unsent))
        }
        None => Err((Failure::TimedOut, None)),
    }
}

fn accept(
    response: Response<Incoming>,
    asked: &Asked<'_>,
    connection: Connection,
    place: Place,
) -> Result<Response<Streaming>, Miss> {
    place.endpoint().health().succeeded();
    let lease = Lease { connection, place, worker: asked.worker, sent: asked.progress.clone() };
    answer::accept(response, lease, asked.section, asked.websocket, asked.deadline).map_err(|(failure, place)| Miss {
        failure,
        place,
        again: Again::No,
        counts: false,
    })
}

/// The request as the upstream sees it, but for its Host, and the client's Host.
pub(super) fn assemble(forward: Forward, body: RequestBody) -> (Request<RequestBody>, HeaderValue) {
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
