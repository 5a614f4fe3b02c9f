//! A request on its way: its head, then its body as it comes.

use super::head::{self, Sends};
use crate::http::body::{BodyFault, RequestBody};
use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::Body;
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// So much of a body is gathered before it must be written.
const GATHERED_BYTES: usize = 64 * 1024;

/// The most pieces that are written at once.
const SLICES: usize = 32;

/// What of a request has not been written yet, and how its body is framed.
#[derive(Debug)]
pub(super) struct Upload {
    head: Vec<u8>,
    /// So much of the head is written.
    written: usize,
    /// What of the body follows it.
    pieces: VecDeque<Bytes>,
    gathered: usize,
    sends: Sends,
    /// Nothing more comes of the body.
    is_read: bool,
}

/// Why a request could not be written to its end.
#[derive(Debug)]
pub(super) enum Fault {
    /// The client's body is at fault.
    Body(BodyFault),
    /// The connection is.
    Io(io::Error),
}

impl Upload {
    pub(super) fn of(request: &Request<RequestBody>) -> Self {
        let (head, sends) = head::write(request);
        let is_read = request.body().progress().is_none();
        Self { head, written: 0, pieces: VecDeque::new(), gathered: 0, sends, is_read }
    }

    /// Whether a byte of it was written.
    pub(super) fn is_under_way(&self) -> bool {
        self.written > 0
    }

    /// Whether a byte of it was written, or something of its body is here that must be.
    pub(super) fn has_begun(&self) -> bool {
        self.is_under_way() || !self.pieces.is_empty()
    }

    /// Whether all of it was written.
    pub(super) fn is_over(&self) -> bool {
        self.is_read && self.written == self.head.len() && self.pieces.is_empty()
    }

    /// Writes what can be written now; ready when all is.
    pub(super) fn poll(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        body: &mut RequestBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        loop {
            self.gather(body, cx)?;
            if self.written == self.head.len() && self.pieces.is_empty() {
                ready!(Pin::new(to).poll_flush(cx)).map_err(Fault::Io)?;
                return if self.is_read { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let written = ready!(self.write(Pin::new(to), cx)).map_err(Fault::Io)?;
            if written == 0 {
                return Poll::Ready(Err(Fault::Io(io::ErrorKind::WriteZero.into())));
            }
            self.advance(written);
        }
    }

    /// Takes of the body what has come, as long as there is room for it.
    fn gather(&mut self, body: &mut RequestBody, cx: &mut Context<'_>) -> Result<(), Fault> {
        while !self.is_read && self.gathered < GATHERED_BYTES {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(frame)) => match frame.map_err(Fault::Body)?.into_data() {
                    Ok(data) => {
                        self.add(data)?;
                        if body.is_end_stream() {
                            self.end(None)?;
                        }
                    }
                    Err(frame) => self.end(frame.into_trailers().ok())?,
                },
            }
        }
        Ok(())
    }

    fn add(&mut self, data: Bytes) -> Result<(), Fault> {
        match &mut self.sends {
            _ if data.is_empty() => {}
            Sends::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Fault::Body(BodyFault::Broken))?;
                self.push(data);
            }
            Sends::Chunks => {
                self.push(format!("{:x}\r\n", data.len()).into());
                self.push(data);
                self.push(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Fault> {
        self.is_read = true;
        match &self.sends {
            Sends::Length(0) => Ok(()),
            Sends::Length(_) => Err(Fault::Body(BodyFault::Broken)),
            Sends::Chunks => {
                let mut last = b"0\r\n".to_vec();
                trailers.iter().for_each(|trailers| head::write_fields(trailers, &mut last));
                last.extend_from_slice(b"\r\n");
                self.push(last.into());
                Ok(())
            }
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.gathered += piece.len();
        self.pieces.push_back(piece);
    }

    fn write(&self, to: Pin<&mut impl AsyncWrite>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let head = &self.head[self.written..];
        if self.pieces.is_empty() {
            return to.poll_write(cx, head);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let texts = [head].into_iter().filter(|head| !head.is_empty()).chain(self.pieces.iter().map(|piece| &**piece));
        let count = slices.iter_mut().zip(texts).map(|(slice, text)| *slice = IoSlice::new(text)).count();
        to.poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        let of_head = written.min(self.head.len() - self.written);
        self.written += of_head;
        written -= of_head;
        self.gathered -= written;
        while let Some(first) = self.pieces.front_mut().filter(|_| written > 0) {
            let here = written.min(first.len());
            first.advance(here);
            written -= here;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}
