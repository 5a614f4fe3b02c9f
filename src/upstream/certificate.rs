//! What keeps TLS with an endpoint from being had, in words that say what to do about it.

use super::failure::{Failure, describe};
use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, pki_types::UnixTime};
use std::io;

/// What an error means that may be one of TLS.
pub(super) fn judge(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(Error::InvalidCertificate(fault)) => Failure::Untrusted(format!("its certificate {}", words(fault))),
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            Failure::Unreachable("it does not speak TLS: is it an http:// endpoint?".to_owned())
        }
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            let remedy = "name one by `cert` and `key` of the upstream's `tls`";
            Failure::Unreachable(format!("it asks for a client certificate: {remedy}"))
        }
        _ => Failure::Unreachable(describe(error)),
    }
}

fn words(fault: &CertificateError) -> String {
    match fault {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("has expired at {}: renew it there", time(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}: correct the clocks here and there", time(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            let (names, expected) = (names.join(", "), expected.to_str());
            format!(
                "is for {names}, not for {expected}: say so by `server_name` of the upstream's `tls`, or replace it"
            )
        }
        // The latter where an authority has been made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is signed by nobody who is trusted: name its authority by `ca` of the upstream's `tls`".to_owned()
        }
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "is an authority's own: let that authority sign one for the server (basicConstraints CA:FALSE)".to_owned()
        }
        fault => format!("cannot be verified ({fault}): replace it there"),
    }
}

/// A name as it is written elsewhere: `DnsName("a.test")` is `a.test`.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn time(at: UnixTime) -> Timestamp {
    i64::try_from(at.as_secs()).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or(Timestamp::MAX)
}
