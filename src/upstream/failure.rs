//! Why an upstream gave no answer, and whose fault that is.

use crate::http::body::BodyFault;

/// Why there is no answer to forward.
#[derive(Debug)]
pub enum Failure {
    /// No connection could be had, or it closed before the answer.
    Unreachable(String),
    /// There was an answer, but one that cannot be trusted.
    Invalid(String),
    /// The answer's head did not come in time.
    TimedOut,
    /// Every endpoint has as many requests as it may have.
    Overloaded,
    /// The client's own body was at fault.
    Body(BodyFault),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(cause) | Self::Invalid(cause) => f.write_str(cause),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Overloaded => f.write_str("every endpoint has as many requests as connections allows"),
            Self::Body(fault) => fault.fmt(f),
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let text = describe(&error);
        if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
            Self::Invalid(text)
        } else {
            Self::Unreachable(text)
        }
    }
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
