//! A WebSocket through the gateway: an exchange that goes on behind its answer, and whose end is logged.

use super::exchange::Exchange;
use crate::upstream;
use std::future::Future;
use tokio::io::{AsyncRead, AsyncWrite};

/// A WebSocket that both the rule and the upstream agreed to. It knows who asked for it, by which rule, and of whom.
#[derive(Debug)]
pub struct Tunnel {
    upstream: Box<upstream::Tunnel>,
    exchange: Box<Exchange>,
}

impl Tunnel {
    pub(super) fn new(upstream: Box<upstream::Tunnel>, exchange: Box<Exchange>) -> Self {
        Self { upstream, exchange }
    }

    /// Passes bytes between the client and the upstream until both have closed, or `closing` is ready.
    pub async fn pass(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin,
        early: &[u8],
        closing: impl Future<Output = ()>,
    ) {
        let Self { upstream, mut exchange } = self;
        let end = upstream.pass(client, early, closing, |passed| exchange.passed(passed)).await;
        exchange.parted(&end);
    }
}
