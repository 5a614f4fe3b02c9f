//! Why an upstream gave no answer, and whose fault that is.

use super::certificate;
use crate::http::body::BodyFault;
use h2::Reason;
use std::io;

/// Why there is no answer to forward.
#[derive(Debug, Clone)]
pub enum Failure {
    /// There is nobody to connect to: the endpoint's name has no address.
    NoEndpoint(String),
    /// Nobody listens there.
    Refused(String),
    /// No connection could be had, or it closed before the answer.
    Unreachable(String),
    /// Its certificate is not one that is trusted.
    Untrusted(String),
    /// There was an answer, but one that cannot be trusted.
    Invalid(String),
    /// The answer's head did not come in time.
    TimedOut(String),
    /// It did not come before the rule's `total_timeout` was over.
    Overdue,
    /// Every endpoint has as many requests as it may have.
    Overloaded,
    /// The client's own body was at fault.
    Body(BodyFault),
}

impl Failure {
    /// The same, saying of which endpoint, where it is one's.
    pub(super) fn at(self, endpoint: &str) -> Self {
        let at = |cause| format!("{endpoint}: {cause}");
        match self {
            Self::NoEndpoint(cause) => Self::NoEndpoint(at(cause)),
            Self::Refused(cause) => Self::Refused(at(cause)),
            Self::Unreachable(cause) => Self::Unreachable(at(cause)),
            Self::Untrusted(cause) => Self::Untrusted(at(cause)),
            Self::Invalid(cause) => Self::Invalid(at(cause)),
            Self::TimedOut(cause) => Self::TimedOut(at(cause)),
            Self::Overdue | Self::Overloaded | Self::Body(_) => self,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEndpoint(cause)
            | Self::Refused(cause)
            | Self::Unreachable(cause)
            | Self::Untrusted(cause)
            | Self::Invalid(cause)
            | Self::TimedOut(cause) => f.write_str(cause),
            Self::Overdue => f.write_str("the exchange took longer than total_timeout"),
            Self::Overloaded => f.write_str("every endpoint has as many requests as connections allows"),
            Self::Body(fault) => fault.fmt(f),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The latter of a unix socket.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused(describe(&error)),
            _ => certificate::judge(&error),
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let text = describe(&error);
        // Over HTTP/2 what is no sound answer ends its stream, or the connection, from this side.
        let is_unsound = of_http2(&error).is_some_and(|error| error.is_library() && error.reason().is_some());
        if is_unsound || error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
            Self::Invalid(text)
        } else {
            Self::Unreachable(text)
        }
    }
}

/// Whether the upstream said that it has not looked at the request at all (RFC 9113 section 8.7): it may be sent again,
/// whatever it asks for.
pub(super) fn is_refused(error: &hyper::Error) -> bool {
    of_http2(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
    })
}

/// Whether the upstream ended this one request, and not the connection.
pub(super) fn is_reset(error: &hyper::Error) -> bool {
    of_http2(error).is_some_and(|error| error.is_remote() && error.is_reset())
}

fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// An error with its causes, as one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
