//! What requests ask Redis, over the connections that are kept for it.

use super::{
    Failure, Redis, Shape,
    queue::{COMMANDS_MAX, Replies},
    reader::Reader,
    resp::{Command, Reply, Script},
};
use crate::{clock, tasks::Worker};
use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use std::time::Duration;

/// What is only read, as [`Primaries`](super::Primaries) has it.
impl Redis {
    pub(super) async fn read(&self, worker: Worker, key: &str, bytes_max: usize) -> Result<Bytes, Failure> {
        let [reply, ..] = self.question(worker, &[Command::Beginning(key, bytes_max)], bytes_max).await?;
        self.text(worker, reply)
    }

    pub(super) async fn remaining(&self, worker: Worker, key: &str) -> Result<Option<Option<Duration>>, Failure> {
        let [reply, ..] = self.question(worker, &[Command::Remaining(key)], 0).await?;
        Ok(match self.number(worker, reply)? {
            -1 => Some(None),
            milliseconds => milliseconds.try_into().ok().map(|left| Some(Duration::from_millis(left))),
        })
    }

    pub(super) async fn exist(&self, worker: Worker, keys: &[&str]) -> Result<bool, Failure> {
        let [reply, ..] = self.question(worker, &[Command::Exist(keys)], 0).await?;
        // A user who may not ask this may still ask for each.
        Ok(matches!(reply, Reply::Number(number) if usize::try_from(number) == Ok(keys.len())))
    }

    pub(super) async fn read_whole(
        &self,
        worker: Worker,
        key: &str,
        shape: Shape,
        beside: [Option<&str>; 2],
        bytes_max: usize,
    ) -> Result<(Bytes, Option<Duration>, [Result<Bytes, Failure>; 2]), Failure> {
        let limit = bytes_max.saturating_sub(1) as u64;
        let packed = |by| Command::Script { by, key, number: limit };
        let record = match shape {
            Shape::Text => Command::Beginning(key, bytes_max),
            Shape::Hash => packed(Script::Digest(self.hash.sha1())),
        };
        let mut commands = [record, Command::Remaining(key), Command::Asking, Command::Asking];
        let mut count = 2;
        for key in beside.into_iter().flatten() {
            commands[count] = Command::Beginning(key, bytes_max);
            count += 1;
        }
        let [mut value, remaining, one, other] = self.question(worker, &commands[..count], bytes_max).await?;
        if matches!(&value, Reply::Refusal(refusal) if refusal.details().starts_with("NOSCRIPT")) {
            let whole = self.hash.lua().map(|script| &**script).unwrap_or_default();
            [value, ..] = self.question(worker, &[packed(Script::Text(whole))], bytes_max).await?;
        }
        let value = self.text(worker, value)?;
        let mut answers = [one, other].into_iter();
        let beside = beside.map(|key| match key {
            Some(_) => self.text(worker, answers.next().unwrap_or_default()),
            None => Ok(Bytes::new()),
        });
        if let Some(astray @ Failure::Astray { .. }) = beside.iter().find_map(|side| side.as_ref().err()) {
            return Err(astray.clone());
        }
        let remaining = match self.number(worker, remaining)? {
            // -1: it does not expire; -2: it is gone since.
            -1 => None,
            milliseconds => Some(Duration::from_millis(milliseconds.try_into().unwrap_or(0))),
        };
        Ok((value, remaining, beside))
    }

    /// How many connections there are that records are read over.
    pub(super) fn readers(&self) -> usize {
        self.links.iter().map(Vec::len).sum()
    }

    /// Writes a number over one of them, and learns which one the key held before.
    pub(super) async fn exchange(
        &self,
        reader: usize,
        key: &str,
        number: u64,
        ttl: Duration,
    ) -> Result<Option<u64>, Failure> {
        let Some(link) = self.links.iter().flatten().nth(reader) else {
            return Err(Failure::Outage("there is no such connection".to_owned()));
        };
        let exchange = Command::Exchange { key, number, milliseconds: super::milliseconds(ttl).unsigned_abs() };
        let replies = self.ask_reader(Worker(0), &link.reader, &[exchange], 20).await?;
        let [reply, ..] = replies;
        let previous = self.text(Worker(0), reply)?;
        Ok(std::str::from_utf8(&previous).ok().and_then(|previous| previous.parse().ok()))
    }

    /// Asks over the worker's own connection, all commands in one go.
    async fn question(&self, worker: Worker, commands: &[Command<'_>], text_max: usize) -> Result<Replies, Failure> {
        let reader = &self.own(worker).reader;
        if self.asking {
            return Box::pin(self.question_on_the_way(worker, reader, commands, text_max)).await;
        }
        self.ask_reader(worker, reader, commands, text_max).await
    }

    /// As [`Redis::question`], of keys that are on their way to this server: each command must say so.
    async fn question_on_the_way(
        &self,
        worker: Worker,
        reader: &Reader,
        commands: &[Command<'_>],
        text_max: usize,
    ) -> Result<Replies, Failure> {
        let mut replies: Replies = [const { Reply::Nothing }; COMMANDS_MAX];
        for (reply, command) in replies.iter_mut().zip(commands) {
            [_, *reply, ..] = self.ask_reader(worker, reader, &[Command::Asking, *command], text_max).await?;
        }
        Ok(replies)
    }

    async fn ask_reader(
        &self,
        worker: Worker,
        reader: &Reader,
        commands: &[Command<'_>],
        text_max: usize,
    ) -> Result<Replies, Failure> {
        let begun = clock::now();
        let replies = reader.ask(commands, text_max, begun).await;
        self.meter.answered(worker, begun.elapsed());
        replies.map_err(|error| self.judge(worker, &error, *error.kind() == ErrorKind::IO))
    }

    fn text(&self, worker: Worker, reply: Reply) -> Result<Bytes, Failure> {
        match reply {
            Reply::Text(text) => Ok(text),
            Reply::Nothing => Ok(Bytes::new()),
            Reply::Refusal(refusal) => Err(self.judge(worker, &refusal, false)),
            Reply::Number(_) | Reply::Done => Err(self.judge(worker, &another_kind(), false)),
        }
    }

    fn number(&self, worker: Worker, reply: Reply) -> Result<i64, Failure> {
        match reply {
            Reply::Number(number) => Ok(number),
            Reply::Refusal(refusal) => Err(self.judge(worker, &refusal, false)),
            Reply::Text(_) | Reply::Nothing | Reply::Done => Err(self.judge(worker, &another_kind(), false)),
        }
    }
}

fn another_kind() -> Error {
    Error::new(ErrorKind::Protocol, "an answer of another kind")
}
