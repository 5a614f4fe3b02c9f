//! Every answer of the gateway's own that says no: its status, its public text, its private cause.

use super::login_loop::Loop;
use crate::{
    access::Denial,
    http::{arrival::HostFault, body::BodyFault, message::MessageFault, path::PathFault},
    limits::Exceeded,
    rules::Unmatched,
    session::{
        managed::{CommandFault, Disobedience},
        store::Outage,
    },
    upstream::Failure,
};
use http::StatusCode;
use std::borrow::Cow;

/// A refusal: what the client is told, and the cause that only the log is told.
#[derive(Debug)]
pub struct Refusal {
    /// What the client is told.
    pub reason: Reason,
    /// What the log is told.
    pub cause: Cow<'static, str>,
    /// The limit that was reached.
    pub exceeded: Option<Box<Exceeded>>,
}

/// The reasons of refusals; labels and statuses are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A path, target, Host or framing that cannot be trusted.
    BadRequest,
    /// CONNECT or TRACE.
    MethodNotAllowed,
    /// A Host that is not ours.
    Misdirected,
    /// An unknown `Expect`.
    ExpectationFailed,
    /// No valid session.
    SessionRequired,
    /// The login is too long ago.
    ReauthenticationRequired,
    /// A role is missing, or the address is not allowed.
    Forbidden,
    /// Another site started the request.
    CrossSite,
    /// No rule matches.
    NoRule,
    /// The client did not send its body in time.
    RequestTimeout,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The request target is longer than the limit.
    UriTooLong,
    /// The header is larger than the limit.
    HeadersTooLarge,
    /// A limit is reached.
    RateLimited,
    /// The upstream cannot be reached.
    UpstreamUnreachable,
    /// The upstream's certificate cannot be trusted: the same to the client, but for a word.
    UpstreamUntrusted,
    /// The upstream's answer cannot be trusted.
    UpstreamInvalid,
    /// The store cannot be asked.
    StoreUnavailable,
    /// The upstream has no address.
    NoEndpoint,
    /// Every endpoint has as many requests as it may have.
    Overloaded,
    /// The gateway has left off serving.
    Draining,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// Logging in leads back here, and to logging in again.
    LoginLoop(Loop),
}

/// What a reason looks like from outside.
#[derive(Debug)]
pub struct Face {
    /// `reason` in problem bodies, logs and metrics.
    pub label: &'static str,
    /// The status.
    pub status: StatusCode,
    /// `title` in problem bodies, and the page's text.
    pub title: &'static str,
    /// The error type of `Proxy-Status` (RFC 9209 section 2.3).
    pub proxy_error: &'static str,
}

impl Reason {
    /// What it looks like from outside.
    pub fn face(self) -> Face {
        let (label, status, title, proxy_error) = match self {
            Self::BadRequest => (
                "bad_request",
                StatusCode::BAD_REQUEST,
                "The request cannot be understood safely",
                "http_request_error",
            ),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "This method is not served here",
                "http_request_error",
            ),
            Self::Misdirected => (
                "misdirected",
                StatusCode::MISDIRECTED_REQUEST,
                "This host is not served here",
                "destination_not_found",
            ),
            Self::ExpectationFailed => (
                "expectation_failed",
                StatusCode::EXPECTATION_FAILED,
                "This expectation cannot be met",
                "http_request_error",
            ),
            Self::SessionRequired => {
                ("session_required", StatusCode::UNAUTHORIZED, "Please log in", "http_request_denied")
            }
            Self::ReauthenticationRequired => {
                ("reauthentication_required", StatusCode::UNAUTHORIZED, "Please log in again", "http_request_denied")
            }
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "You may not use this page", "http_request_denied"),
            Self::CrossSite => {
                ("cross_site", StatusCode::FORBIDDEN, "Another site has started this request", "http_request_denied")
            }
            Self::NoRule => ("no_rule", StatusCode::NOT_FOUND, "There is nothing here", "destination_not_found"),
            Self::RequestTimeout => (
                "request_timeout",
                StatusCode::REQUEST_TIMEOUT,
                "The request's body did not arrive in time",
                "http_request_error",
            ),
            Self::BodyTooLarge => (
                "body_too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request's body is too large",
                "http_request_error",
            ),
            Self::UriTooLong => {
                ("uri_too_long", StatusCode::URI_TOO_LONG, "The address is too long", "http_request_error")
            }
            Self::HeadersTooLarge => (
                "headers_too_large",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request's header is too large",
                "http_request_error",
            ),
            Self::RateLimited => (
                "rate_limited",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests: please wait a little",
                "http_request_denied",
            ),
            Self::UpstreamUnreachable => (
                "upstream_unreachable",
                StatusCode::BAD_GATEWAY,
                "The service behind this page cannot be reached",
                "destination_unavailable",
            ),
            Self::UpstreamUntrusted => {
                return Face { proxy_error: "tls_certificate_error", ..Self::UpstreamUnreachable.face() };
            }
            Self::UpstreamInvalid => (
                "upstream_invalid",
                StatusCode::BAD_GATEWAY,
                "The service behind this page gave an invalid answer",
                "http_protocol_error",
            ),
            Self::StoreUnavailable => (
                "store_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Your session cannot be checked right now",
                "proxy_internal_error",
            ),
            Self::NoEndpoint => (
                "no_endpoint",
                StatusCode::SERVICE_UNAVAILABLE,
                "The service behind this page is not there right now",
                "dns_error",
            ),
            Self::Overloaded => (
                "overloaded",
                StatusCode::SERVICE_UNAVAILABLE,
                "The service behind this page is busy",
                "connection_limit_reached",
            ),
            Self::Draining => (
                "draining",
                StatusCode::SERVICE_UNAVAILABLE,
                "This server is being stopped: please try again",
                "proxy_internal_response",
            ),
            Self::UpstreamTimeout => (
                "upstream_timeout",
                StatusCode::GATEWAY_TIMEOUT,
                "The service behind this page did not answer in time",
                "http_response_timeout",
            ),
            Self::LoginLoop(_) => {
                ("login_loop", StatusCode::LOOP_DETECTED, "Logging in goes round in circles", "proxy_loop_detected")
            }
        };
        Face { label, status, title, proxy_error }
    }

    /// What the client is told besides.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::LoginLoop(cause) => Some(cause.text()),
            _ => None,
        }
    }

    /// Whether logging in would help.
    pub fn asks_for_login(self) -> bool {
        matches!(self, Self::SessionRequired | Self::ReauthenticationRequired)
    }

    /// After how many seconds trying again makes sense, where it does.
    pub fn retry_after(self) -> Option<&'static str> {
        matches!(self, Self::StoreUnavailable | Self::NoEndpoint | Self::Overloaded | Self::Draining).then_some("1")
    }

    /// Whether the connection ends with the answer: where a message cannot be trusted, or may have begun a tunnel,
    /// nobody can say for sure what the bytes behind it are (RFC 9112 section 6.3).
    pub fn ends_connection(self) -> bool {
        matches!(self, Self::BadRequest | Self::MethodNotAllowed)
    }
}

impl Refusal {
    fn new(reason: Reason, cause: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, cause: cause.into(), exceeded: None }
    }

    /// Of a request that begins when `drain` has run out.
    pub(super) fn too_late() -> Self {
        Self::new(Reason::Draining, "it began after drain had run out")
    }
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        let cause = format!("the limit `{}` is reached", exceeded.limit);
        Self { exceeded: Some(Box::new(exceeded)), ..Self::new(Reason::RateLimited, cause) }
    }
}

impl From<MessageFault> for Refusal {
    fn from(fault: MessageFault) -> Self {
        match fault {
            MessageFault::MethodNotAllowed => Self::new(Reason::MethodNotAllowed, "CONNECT and TRACE are never served"),
            MessageFault::BadRequest(cause) => Self::new(Reason::BadRequest, cause),
            MessageFault::ExpectationFailed => {
                Self::new(Reason::ExpectationFailed, "an Expect other than 100-continue")
            }
            MessageFault::UriTooLong => Self::new(Reason::UriTooLong, "the target is longer than uri_bytes"),
            MessageFault::HeadersTooLarge => Self::new(Reason::HeadersTooLarge, "more than header_bytes or headers"),
        }
    }
}

impl From<PathFault> for Refusal {
    fn from(PathFault(cause): PathFault) -> Self {
        Self::new(Reason::BadRequest, cause)
    }
}

impl From<HostFault> for Refusal {
    fn from(fault: HostFault) -> Self {
        match fault {
            HostFault::Invalid(cause) => Self::new(Reason::BadRequest, cause),
            HostFault::NotOurs | HostFault::Elsewhere => {
                Self::new(Reason::Misdirected, "the Host is none of public_url's and hosts")
            }
        }
    }
}

impl From<Unmatched> for Refusal {
    fn from(unmatched: Unmatched) -> Self {
        match unmatched {
            Unmatched::NoRule => Self::new(Reason::NoRule, "no rule matches"),
            Unmatched::BadPath(PathFault(cause)) => Self::new(Reason::BadRequest, cause),
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::SessionRequired(absence) => Self::new(Reason::SessionRequired, absence.to_string()),
            Denial::ReauthenticationRequired => {
                Self::new(Reason::ReauthenticationRequired, "the login is longer ago than max_auth_age, or unknown")
            }
            Denial::Forbidden => Self::new(Reason::Forbidden, "the user has none of the rule's roles"),
            Denial::Address => Self::new(Reason::Forbidden, "the client's address is in none of the rule's networks"),
            Denial::CrossSite => Self::new(Reason::CrossSite, "another site started the request"),
            Denial::StoreUnavailable(outage) => outage.into(),
        }
    }
}

impl From<Loop> for Refusal {
    fn from(cause: Loop) -> Self {
        Self::new(Reason::LoginLoop(cause), cause.text())
    }
}

impl From<Outage> for Refusal {
    fn from(Outage(cause): Outage) -> Self {
        Self::new(Reason::StoreUnavailable, cause)
    }
}

impl From<CommandFault> for Refusal {
    fn from(fault: CommandFault) -> Self {
        Self::new(Reason::UpstreamInvalid, format!("its {} cannot be obeyed: {}", fault.header, fault.why))
    }
}

impl From<Disobedience> for Refusal {
    fn from(error: Disobedience) -> Self {
        match error {
            Disobedience::Fault(fault) => fault.into(),
            Disobedience::Outage(outage) => outage.into(),
        }
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        let reason = match fault {
            BodyFault::TooLarge => Reason::BodyTooLarge,
            BodyFault::TimedOut => Reason::RequestTimeout,
            BodyFault::Broken => Reason::BadRequest,
        };
        Self::new(reason, fault.to_string())
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let reason = match failure {
            Failure::Body(fault) => return fault.into(),
            Failure::NoEndpoint(_) => Reason::NoEndpoint,
            Failure::Refused(_) | Failure::Unreachable(_) => Reason::UpstreamUnreachable,
            Failure::Untrusted(_) => Reason::UpstreamUntrusted,
            Failure::Invalid(_) => Reason::UpstreamInvalid,
            Failure::TimedOut(_) | Failure::Overdue => Reason::UpstreamTimeout,
            Failure::Overloaded => Reason::Overloaded,
        };
        Self::new(reason, failure.to_string())
    }
}
