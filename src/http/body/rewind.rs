//! A body that may be sent again from its beginning, as long as little of it is gone: an upstream that shares its
//! connections may say afterwards that it has not looked at a request.

use super::{BodyFault, Progress, RequestBody, Source, Streamed};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

/// So much is kept of a body; it cannot be sent again once more is gone.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The way back to a body's beginning.
#[derive(Debug)]
pub struct Rewind(Tape);

/// A body whose beginning is kept.
#[derive(Debug)]
pub(super) struct Tape {
    /// It may not read on once there is a later one.
    turn: usize,
    reel: Arc<Mutex<Reel>>,
    pub(super) progress: Progress,
}

#[derive(Debug)]
struct Reel {
    body: Box<Streamed>,
    /// What is gone, until that is too much.
    kept: Option<Vec<Bytes>>,
    /// How much of that this turn has had.
    next: usize,
    turn: usize,
}

impl Rewind {
    pub(super) fn of(tape: &Tape) -> Self {
        Self(Tape { turn: tape.turn, reel: tape.reel.clone(), progress: tape.progress.clone() })
    }

    /// The body from its beginning; whoever still holds it from before gets nothing more. `None` if too much is gone.
    pub fn again(self) -> Option<RequestBody> {
        let Self(tape) = self;
        let turn = tape.read(|reel| {
            let is_whole = reel.kept.is_some() && tape.progress.fault().is_none();
            is_whole.then(|| {
                reel.next = 0;
                reel.turn += 1;
                reel.turn
            })
        })?;
        tape.progress.read(|state| state.ended = false);
        Some(RequestBody(Source::Kept(Tape { turn, ..tape })))
    }
}

impl Tape {
    pub(super) fn new(body: Box<Streamed>) -> Self {
        let progress = body.progress.clone();
        Self { turn: 0, reel: Arc::new(Mutex::new(Reel { body, kept: Some(Vec::new()), next: 0, turn: 0 })), progress }
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.read(|reel| if reel.turn == self.turn { reel.poll(cx) } else { Poll::Ready(Some(Err(BodyFault::Broken))) })
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.read(|reel| reel.ahead().is_empty() && reel.body.incoming.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.read(|reel| {
            let (ahead, hint) =
                (reel.ahead().iter().map(Bytes::len).sum::<usize>() as u64, reel.body.incoming.size_hint());
            hint.exact().map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + ahead))
        })
    }

    fn read<T>(&self, look: impl FnOnce(&mut Reel) -> T) -> T {
        look(&mut self.reel.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reel {
    /// What is kept and was not sent in this turn.
    fn ahead(&self) -> &[Bytes] {
        self.kept.as_deref().and_then(|kept| kept.get(self.next..)).unwrap_or_default()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(data) = self.ahead().first().cloned() {
            self.next += 1;
            if self.ahead().is_empty() && self.body.incoming.is_end_stream() {
                self.body.progress.read(|state| state.ended = true);
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let polled = self.body.poll(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(kept)) = (&polled, &mut self.kept) {
            match frame.data_ref() {
                Some(data) if kept.iter().map(Bytes::len).sum::<usize>() + data.len() <= KEPT_BYTES_MAX => {
                    kept.push(data.clone());
                    self.next += 1;
                }
                _ => self.kept = None,
            }
        }
        polled
    }
}
