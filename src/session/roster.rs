//! All sessions of one user: enlisted before they begin, so that all of them can be ended.

use super::{
    Sessions,
    beside::LONGEST,
    format::{Format, Own},
    look_up::user_id,
    mark::User,
    recent::Recent,
    store::{Outage, Record},
    value::Value,
};
use crate::{
    clock,
    config::session,
    tasks::{self, Worker},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// How many sessions are ended at the same time.
const AT_ONCE: usize = 64;
/// How long it is known here whose a session that an app began is.
const KNOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the sessions of each user of one `[session]` are enlisted.
#[derive(Debug)]
pub(super) struct Roster {
    /// Begins every roster's key.
    prefix: String,
    /// Whose the sessions are that apps began, as far as they were enlisted from here.
    known: Recent<User>,
}

impl Roster {
    /// `None` = nobody can end all sessions of a user.
    pub(super) fn compile(config: &session::Session) -> Option<Self> {
        let prefix = || [&config.namespace, "user:", &config.name, ":"].concat();
        config.steered.then(|| Self { prefix: prefix(), known: Recent::default() })
    }

    /// Who can read the store learns no user's id from it.
    fn key(&self, user: &str) -> String {
        let mut key = self.prefix.clone();
        URL_SAFE_NO_PAD.encode_string(digest(&SHA256, user.as_bytes()), &mut key);
        key
    }
}

impl Sessions {
    /// Whose a record is.
    pub(super) fn user_in(&self, data: &Value) -> Option<String> {
        self.user.iter().find_map(|path| data.at(path).and_then(user_id))
    }

    /// Enlists a record that is about to be this user's. Once it is, all of the user's sessions can be found.
    pub(super) async fn enlist(self: &Arc<Self>, key: &str, user: &str, worker: Worker) -> Result<(), Outage> {
        let Some(roster) = self.roster.as_ref().map(|roster| roster.key(user)) else { return Ok(()) };
        let long_ago = self.store.enlist(worker, &roster, key, self.longest()).await?;
        let long_ago: Vec<_> = long_ago.into_iter().filter(|known| known != key).collect();
        if !long_ago.is_empty() {
            let sessions = self.clone();
            tasks::background(async move { sessions.tidy(&roster, long_ago, worker).await });
        }
        Ok(())
    }

    /// Enlists a session that an app may have begun.
    pub(super) async fn enlist_found(self: &Arc<Self>, key: &str, user: &str, worker: Worker) {
        let Some(roster) = self.roster.as_ref().filter(|_| !self.are_the_gateways_own()) else { return };
        if roster.known.get(key) != Some(User::of(user)) && self.enlist(key, user, worker).await.is_ok() {
            roster.known.put(key, User::of(user), KNOWN);
        }
    }

    /// Strikes off what is gone; the others have their turn again when all have had it. What fails is tried then.
    async fn tidy(&self, roster: &str, keys: Vec<String>, worker: Worker) {
        for key in keys {
            let _ = match self.store.read(worker, &key).await {
                Ok(Record::Absent) => self.store.strike(worker, roster, &[key]).await,
                Ok(_) => self.store.enlist(worker, roster, &key, self.longest()).await.map(drop),
                Err(_) => return,
            };
        }
    }

    /// How long a session may live.
    fn longest(&self) -> Duration {
        match &self.format {
            Format::Own(Own::Onedoor(onedoor)) => onedoor.max_age(),
            Format::Own(Own::Express(_)) | Format::Foreign(_) => LONGEST,
        }
    }

    /// Ends all sessions of a user, that of `key` last: as long as not all have ended, it is there to try again. Goes on
    /// when nobody waits for it any more.
    pub(super) async fn end_all(
        self: &Arc<Self>,
        key: Option<String>,
        user: Option<String>,
        worker: Worker,
    ) -> Result<(), Outage> {
        let (sessions, (told, outcome)) = (self.clone(), oneshot::channel());
        tasks::background(async move {
            // Nobody may be left who waits.
            let _ = told.send(sessions.end_each(key.as_deref(), user, worker).await);
        });
        outcome.await.unwrap_or_else(|_| Err(Outage("the worker is ending".to_owned())))
    }

    async fn end_each(self: &Arc<Self>, own: Option<&str>, user: Option<String>, worker: Worker) -> Result<(), Outage> {
        let user = match (user, own) {
            (None, Some(own)) => self.whose(&self.store.read(worker, own).await?),
            (user, _) => user,
        };
        let roster = user.as_ref().and_then(|user| Some(self.roster.as_ref()?.key(user)));
        if let (Some(user), Some(roster)) = (&user, &roster) {
            let all = self.store.enlisted(worker, roster).await?;
            let others: Vec<_> = all.into_iter().filter(|key| Some(&**key) != own).collect();
            for some in others.chunks(AT_ONCE) {
                let end = |key: &String| {
                    let (sessions, key, user) = (self.clone(), key.clone(), user.clone());
                    async move { sessions.end_if_of(key, &user, worker).await }
                };
                let outcomes = tasks::side_by_side(some.iter().map(end)).await;
                let ended: Vec<_> = outcomes.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
                self.store.strike(worker, roster, &ended).await?;
            }
        }
        let Some(own) = own else { return Ok(()) };
        self.end(own, worker).await?;
        if let Some(roster) = roster {
            // Who is gone is struck off some day anyway.
            let _ = self.store.strike(worker, &roster, &[own.to_owned()]).await;
        }
        Ok(())
    }

    /// Ends a session that is still this user's; its key, if it was. One that is not there may be about to begin.
    async fn end_if_of(self: Arc<Self>, key: String, user: &str, worker: Worker) -> Result<Option<String>, Outage> {
        let reading = self.store.read_whole(worker, &key, [None; 2]).await?;
        if self.whose(&reading.record).as_deref() != Some(user) {
            return Ok(None);
        }
        self.end_record(&key, reading.remaining, worker).await?;
        Ok(Some(key))
    }

    fn whose(&self, record: &Record) -> Option<String> {
        let Record::Present(bytes) = record else { return None };
        let opened = self.format.open(bytes, &self.selection, clock::since_epoch());
        opened.ok().and_then(|opened| self.user_in(&opened.data))
    }
}
