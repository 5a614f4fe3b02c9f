//! An open connection that is read over: many questions on their way at once, answered strictly in their order.

use super::{
    queue::{Question, Queue, Replies},
    resp::{self, Reply},
    wire::Stream,
};
use crate::clock;
use fred::error::{Error, ErrorKind};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{self, Instant, Sleep},
};

/// What is read at once.
const BUFFER: usize = 16 * 1024;
/// A buffer that had to grow beyond this is given back.
const BUFFER_MAX: usize = 64 * 1024;
/// Refusals of a server that will not answer the next question either: another connection may lead to one that does.
const FAREWELLS: [&str; 3] = ["LOADING", "NOAUTH", "MASTERDOWN"];

/// A connection, what is on its way in both directions, and who waits for it.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    outgoing: Vec<u8>,
    /// So much of it is sent.
    sent: usize,
    incoming: Vec<u8>,
    /// So much of it holds something.
    filled: usize,
    under_way: VecDeque<Question>,
    /// The first question's replies, as far as they have come.
    replies: Replies,
    come: usize,
    alarm: Pin<Box<Sleep>>,
    /// Whether the alarm rings not after the first question is due.
    is_set: bool,
}

impl Line {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            outgoing: Vec::new(),
            sent: 0,
            incoming: vec![0; BUFFER],
            filled: 0,
            under_way: VecDeque::new(),
            replies: Replies::default(),
            come: 0,
            alarm: Box::pin(time::sleep(Duration::ZERO)),
            is_set: false,
        }
    }

    /// Sends and answers until the connection cannot be used any more, and why.
    pub(super) fn poll(&mut self, queue: &Queue, context: &mut Context<'_>) -> Poll<Error> {
        queue.fetch(&mut self.outgoing, &mut self.under_way, context.waker());
        let fault = match self.send(context) {
            Poll::Ready(Err(error)) => error.into(),
            Poll::Ready(Ok(())) | Poll::Pending => match self.receive(context) {
                Poll::Ready(error) => error,
                Poll::Pending => return self.watch(context),
            },
        };
        Poll::Ready(fault)
    }

    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.outgoing.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.outgoing[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.outgoing.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn receive(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        loop {
            if self.filled == self.incoming.len() {
                // What fills it is one answer that is not whole, and no longer than its question allows.
                self.incoming.resize(self.filled * 2, 0);
            }
            let mut room = ReadBuf::new(&mut self.incoming[self.filled..]);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(context, &mut room)) {
                return Poll::Ready(error.into());
            }
            match room.filled().len() {
                0 => return Poll::Ready(Error::new(ErrorKind::IO, "the server closed the connection")),
                read => self.filled += read,
            }
            if let Err(error) = self.answer() {
                return Poll::Ready(error);
            }
        }
    }

    /// Hands out the answers that have come whole.
    fn answer(&mut self) -> Result<(), Error> {
        let mut read = 0;
        while read < self.filled {
            let Some(question) = self.under_way.front() else {
                return Err(Error::new(ErrorKind::Protocol, "the server answers what nobody asked"));
            };
            let Some((reply, length)) = resp::read(&self.incoming[read..self.filled], question.text_max)? else {
                break;
            };
            if let Reply::Refusal(refusal) = &reply
                && FAREWELLS.iter().any(|code| refusal.details().starts_with(code))
            {
                return Err(refusal.clone());
            }
            read += length;
            self.replies[self.come] = reply;
            self.come += 1;
            if self.come == question.commands {
                self.come = 0;
                let replies = std::mem::take(&mut self.replies);
                if let Some(question) = self.under_way.pop_front() {
                    // Whoever asked may have left.
                    let _ = question.answer.send(replies);
                }
            }
        }
        self.incoming.copy_within(read..self.filled, 0);
        self.filled -= read;
        if self.filled == 0 && self.incoming.len() > BUFFER_MAX {
            self.incoming = vec![0; BUFFER];
        }
        Ok(())
    }

    /// A server that leaves a question without an answer for as long as its asker waits is taken for hung: what it says
    /// later is not read. One alarm is enough, since questions are due in the order in which they are answered.
    fn watch(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        while let Some(first) = self.under_way.front() {
            if !self.is_set {
                self.is_set = true;
                self.alarm.as_mut().reset(Instant::from_std(first.due));
            }
            ready!(self.alarm.as_mut().poll(context));
            self.is_set = false;
            if first.due <= clock::now() {
                return Poll::Ready(Error::new(ErrorKind::Timeout, "no answer in time"));
            }
        }
        Poll::Pending
    }
}
