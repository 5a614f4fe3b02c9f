//! WebSockets over HTTP/2 (RFC 8441): what the upstream agreed to in HTTP/1.1, said in HTTP/2.

use super::exchange::Exchange;
use crate::{
    http::websocket,
    upstream::{Failure, Lasts, Streaming},
};
use http::{
    Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE},
};

impl Exchange {
    /// Turns the upstream's 101 into the 200 that opens a tunnel there. The gateway itself asked for the WebSocket, so
    /// it is for the gateway to see that it was understood.
    ///
    /// # Errors
    /// The answer would open a tunnel to somebody who has not agreed to one.
    pub(super) fn agree(&self, response: &mut Response<Streaming>) -> Result<(), Failure> {
        let Some(key) = &self.extended else { return Ok(()) };
        if response.body().lasts() != Some(Lasts::WebSocket) {
            if response.status().is_success() {
                return Err(Failure::Invalid(
                    "it did not agree to the WebSocket, and answered as if it had".to_owned(),
                ));
            }
            return Ok(());
        }
        let expected = websocket::accept_of(key.as_bytes());
        let accepted = response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        if accepted.is_none_or(|accepted| accepted != *expected) {
            return Err(Failure::Invalid("its Sec-WebSocket-Accept is another key's".to_owned()));
        }
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(CONNECTION);
        response.headers_mut().remove(UPGRADE);
        Ok(())
    }
}
