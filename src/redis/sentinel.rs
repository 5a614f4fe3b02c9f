//! Sentinels: which server is the primary now.

use super::primaries::Found;
use crate::config::store::Address;
use fred::{error::Error, prelude::*, types::CustomCommand};

/// Asks a sentinel for the primary of a service.
pub(super) async fn find(sentinel: &Client, service: &str) -> Result<Found, Error> {
    let command = CustomCommand::new_static("SENTINEL", None, false);
    let reply: Value = sentinel.custom(command, vec!["GET-MASTER-ADDR-BY-NAME", service]).await?;
    let mut parts = reply.into_array().into_iter().map(Value::into_string);
    let address = match (parts.next().flatten(), parts.next().flatten().and_then(|port| port.parse().ok())) {
        (Some(host), Some(port)) => Address::Tcp(host, port),
        _ => return Err(Error::new(ErrorKind::NotFound, "the sentinel does not know the service")),
    };
    Ok(Found { primaries: vec![address], slots: None })
}
