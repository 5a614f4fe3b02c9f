//! Active checks: every endpoint is asked now and then whether it is well.

use super::{
    connection::{Connection, Speaks},
    endpoint::Endpoint,
    failure::Failure,
    target::Inner,
};
use crate::{
    config::upstreams::{Health, Host},
    http::body::RequestBody,
    tasks,
};
use http::{
    HeaderValue, Request,
    header::{CONNECTION, HOST, USER_AGENT},
};
use std::sync::{Arc, Weak};

/// Checks the endpoints of an upstream for as long as there is one.
pub(super) async fn watch(upstream: Weak<Inner>, health: Health) {
    let mut turn = tokio::time::interval(health.interval);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let Some(upstream) = upstream.upgrade() else { return };
        for endpoint in upstream.endpoints().iter() {
            // One that hangs must not delay the others.
            tasks::background(check(upstream.clone(), endpoint.clone(), health.clone()));
        }
    }
}

async fn check(upstream: Arc<Inner>, endpoint: Arc<Endpoint>, health: Health) {
    let asking = Box::pin(ask(&upstream, &endpoint, &health));
    let fault = match tokio::time::timeout(health.timeout, asking).await {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some(format!("no answer within {:?}", health.timeout)),
    };
    let change = endpoint.health().checked(fault.is_none(), health.unhealthy_after, health.healthy_after);
    let (upstream, endpoint) = (&upstream.section.name, endpoint.name());
    match change {
        Some(true) => tracing::info!(upstream, endpoint, "an endpoint passes its checks again"),
        Some(false) => {
            tracing::warn!(upstream, endpoint, cause = fault, "an endpoint fails its checks and gets no requests")
        }
        None => {}
    }
}

/// Any status below 400 is well.
async fn ask(upstream: &Inner, endpoint: &Endpoint, health: &Health) -> Result<(), Failure> {
    let mut connection: Connection = endpoint.connect(Speaks::Any).await?;
    let host = match &upstream.section.host {
        Host::Literal(host) => host.clone(),
        Host::Auto | Host::Client | Host::Upstream => endpoint.authority().clone(),
    };
    let mut request = Box::new(Request::new(RequestBody::none()));
    *request.uri_mut() = health.path.clone().into();
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("onedoor"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let status = connection.send(request, false).await.map_err(|(failure, _)| failure)?.status();
    if status.as_u16() < 400 { Ok(()) } else { Err(Failure::Invalid(format!("it answered {status}"))) }
}
