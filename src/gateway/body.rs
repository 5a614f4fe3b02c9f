//! A response's body on its way to the client; when it is over, so is the exchange.

use super::{exchange::Exchange, tunnel::Tunnel};
use crate::upstream::{StreamFault, Streaming};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A response's body: the upstream's, or the gateway's own.
#[derive(Debug)]
pub struct Body {
    source: Source,
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Source {
    Own(Option<Bytes>),
    Upstream(Streaming),
}

impl Body {
    /// A text of the gateway's own.
    pub fn own(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self { source: Source::Own((!text.is_empty()).then_some(text)), exchange: None }
    }

    /// The WebSocket that begins behind this answer, if one does; the exchange goes on with it.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        let Source::Upstream(streaming) = &mut self.source else { return None };
        let tunnel = streaming.take_tunnel()?;
        let mut exchange = self.exchange.take()?;
        exchange.goes_on();
        Some(Tunnel::new(tunnel, exchange))
    }

    /// The session is over that it was given to.
    fn cut(&mut self) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        let stream = exchange.stream.take();
        exchange.broke_off(&StreamFault::SessionOver);
        if stream.is_some_and(|stream| stream.ends_quietly()) {
            self.source = Source::Own(None);
            return Poll::Ready(None);
        }
        // Not at its end.
        self.source = Source::Own(Some(Bytes::new()));
        Poll::Ready(Some(Err(StreamFault::SessionOver)))
    }

    /// Puts the exchange in charge of this body: it is over when the body is.
    pub(super) fn closing(mut self, exchange: Box<Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }
}

impl From<Streaming> for Body {
    fn from(streaming: Streaming) -> Self {
        Self { source: Source::Upstream(streaming), exchange: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = StreamFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let this = self.get_mut();
        let stream = this.exchange.as_mut().and_then(|exchange| exchange.stream.as_mut());
        if stream.is_some_and(|stream| stream.is_cut()) {
            return this.cut();
        }
        let polled = match &mut this.source {
            Source::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream(streaming) => Pin::new(streaming).poll_frame(cx),
        };
        let Some(exchange) = &mut this.exchange else { return polled };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => exchange.sent(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(Some(Err(fault))) => exchange.broke_off(fault),
            Poll::Ready(None) => {}
            Poll::Pending => {
                if exchange.stream.as_mut().is_some_and(|stream| stream.poll_cut(cx).is_ready()) {
                    return this.cut();
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_none(),
            Source::Upstream(streaming) => streaming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Upstream(streaming) => streaming.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let ended = match &self.source {
            Source::Own(text) => text.is_none(),
            Source::Upstream(streaming) => streaming.is_whole(),
        };
        if let Some(exchange) = self.exchange.take() {
            exchange.end(ended);
        }
    }
}
