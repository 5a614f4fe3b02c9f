//! A WebSocket through the gateway: an exchange that goes on behind its answer, and whose end is logged.

use super::exchange::Exchange;
use crate::upstream::{self, TunnelEnd};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
};
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

    /// Passes bytes between the client and the upstream until both have closed, `closing` is ready, or the session is
    /// over that it was opened with.
    pub async fn pass(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin + 'static,
        early: &[u8],
        closing: impl Future<Output = ()>,
    ) {
        let Self { upstream, mut exchange } = self;
        let (mut stream, mut closing) = (exchange.stream.take(), pin!(closing));
        let why = |cx: &mut Context<'_>| {
            if stream.as_mut().is_some_and(|stream| stream.poll_cut(cx).is_ready()) {
                return Poll::Ready(TunnelEnd::SessionOver);
            }
            closing.as_mut().poll(cx).map(|()| TunnelEnd::Leaving)
        };
        let end = upstream.pass(client, early, why, |passed| exchange.passed(passed)).await;
        exchange.parted(&end);
    }
}
