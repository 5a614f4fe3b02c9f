//! Managed sessions: the commands that an upstream with `session_authority` sends in its response's header.

use super::{
    Session, Sessions,
    format::{self, Own},
    id::SessionId,
    store::{NotUpdated, Outage, Record, Updated},
    value::{Fault, Value, json, patch},
};
use crate::{clock, redis::Change, tasks::Worker};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use cookie::Cookie;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{fmt, sync::Arc, time::Duration};

/// The longest command, in bytes.
const COMMAND_MAX: usize = 16 * 1024;
/// How often a change that gives the session to another user is begun again, because it then was to be yet another's.
const CHANGES_MAX: usize = 8;
/// The bytes of randomness in an id.
const ID_BYTES: usize = 32;

/// The names of the commands, in the order in which they are obeyed.
const NAMES: [&str; 4] = ["session-logout", "session-login", "session-update", "session-increment"];

/// What an upstream wants done with the session; obeyed by [`Sessions::obey`].
#[derive(Debug, Default, PartialEq)]
pub struct Commands {
    logout: Option<Logout>,
    login: Option<Value>,
    update: Option<Value>,
    increment: Option<Value>,
}

/// What `Session-Logout` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logout {
    /// `this`: the request's session.
    This,
    /// `everywhere`: every session of its user.
    Everywhere,
}

/// A command that cannot be obeyed: the upstream is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandFault {
    /// The command's header field, in lower case.
    pub header: &'static str,
    /// What is wrong with it. Quotes nothing of its value.
    pub why: &'static str,
}

/// Why commands were not obeyed, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disobedience {
    /// The store could not answer.
    Outage(Outage),
    /// A command cannot be obeyed.
    Fault(CommandFault),
}

impl Commands {
    /// Takes the commands out of a response's header, in every spelling. `None` = there are none. Any other field that
    /// begins with `Session-` is an unknown command, so that a slip of the pen shows no record to the client.
    pub fn take(headers: &mut HeaderMap) -> Result<Option<Self>, CommandFault> {
        let taken = remove(headers, is_steering);
        if taken.is_empty() {
            return Ok(None);
        }
        let mut commands = Self::default();
        let mut seen = [false; NAMES.len()];
        for (known, spelled, value) in taken {
            let Some(index) = known else {
                let why = "an unknown command: there are Session-Logout, -Login, -Update and -Increment";
                return Err(CommandFault { header: "session-…", why });
            };
            let fault = |why| CommandFault { header: NAMES[index], why };
            if spelled != NAMES[index] {
                return Err(fault("the name is spelled with an underscore or a dot"));
            }
            if std::mem::replace(&mut seen[index], true) {
                return Err(fault("sent more than once"));
            }
            match index {
                0 if value == "this" => commands.logout = Some(Logout::This),
                0 if value == "everywhere" => commands.logout = Some(Logout::Everywhere),
                0 => return Err(fault("neither \"this\" nor \"everywhere\"")),
                1 => commands.login = Some(parse(&value).map_err(fault)?),
                2 => commands.update = Some(parse(&value).map_err(fault)?),
                _ => {
                    let delta = parse(&value).map_err(fault)?;
                    let delta = Some(delta).filter(patch::is_delta).ok_or(fault("a member is not a number"))?;
                    commands.increment = Some(delta);
                }
            }
        }
        Ok(Some(commands))
    }

    /// Takes the commands of an upstream that nobody obeys out of its response's header; `true` = there were some.
    pub fn discard(headers: &mut HeaderMap) -> bool {
        !remove(headers, |name| command(name).is_some()).is_empty()
    }

    /// Changes a session's data as Update and Increment say.
    fn change(&self, data: &mut Value) -> Result<(), CommandFault> {
        if let Some(update) = &self.update {
            patch::merge(data, update);
        }
        let Some(increment) = &self.increment else { return Ok(()) };
        patch::add(data, increment).map_err(|patch::Fault(why)| CommandFault { header: NAMES[3], why })
    }

    /// The fault of commands that no session is there for.
    pub fn homeless(&self) -> CommandFault {
        let header = if self.logout.is_some() { NAMES[0] } else { self.writer() };
        CommandFault { header, why: "its rule accepts no session that the gateway writes" }
    }

    /// The command that a record which cannot be written is blamed on.
    fn writer(&self) -> &'static str {
        match self {
            Self { login: Some(_), .. } => NAMES[1],
            Self { update: Some(_), .. } => NAMES[2],
            _ => NAMES[3],
        }
    }
}

impl Sessions {
    /// Obeys in the order Logout, Login, Update, Increment and returns the `Set-Cookie` lines that the client needs.
    ///
    /// `presented` is the id whose record the request's cookie names, `known` the session that the upstream was told of.
    /// A record is never brought back: where it is gone, a new anonymous session begins. After an error the response
    /// must not reach the client.
    pub async fn obey(
        self: &Arc<Self>,
        commands: &Commands,
        presented: Option<&SessionId>,
        known: Option<&Session>,
        https: bool,
        worker: Worker,
    ) -> Result<Vec<HeaderValue>, Disobedience> {
        let Some(own) = self.format.own() else {
            let why = "only sessions of the formats `onedoor` and `express` are written by the gateway";
            return Err(Disobedience::Fault(CommandFault { header: commands.writer(), why }));
        };
        let begins_anew = commands.logout.is_some() || commands.login.is_some();
        let changes = commands.update.is_some() || commands.increment.is_some();
        if let Some(id) = presented.filter(|_| !begins_anew && changes)
            && self.change(own, commands, id, worker).await? == Updated::Done
        {
            return Ok(Vec::new());
        }
        // The new record is made before the old one is deleted, so that a command that cannot be obeyed ends no
        // session.
        let new = if commands.login.is_some() || changes { Some(self.draft(own, commands, https)?) } else { None };
        let old = presented.filter(|_| begins_anew).map(|id| self.format.key(id));
        let ended = match (commands.logout, old) {
            (Some(Logout::Everywhere), old) => {
                let user = known.filter(|known| known.name == self.name).map(|known| known.user.clone());
                self.end_all(old, user, worker).await
            }
            (_, Some(old)) => self.end(&old, worker).await,
            (_, None) => Ok(()),
        };
        ended.map_err(Disobedience::Outage)?;
        match new {
            Some(draft) => Ok(vec![self.begin(own, draft, https, worker).await?]),
            None if commands.logout.is_some() => Ok(vec![cleared(own, https)?]),
            None => Ok(Vec::new()),
        }
    }

    /// Ends a session for good.
    pub(super) async fn end(self: &Arc<Self>, key: &str, worker: Worker) -> Result<(), Outage> {
        let mut remaining = None;
        if self.revocations.tombstone_key(key).is_some() {
            let reading = self.store.read_whole(worker, key, [None; 2]).await?;
            remaining = if reading.record == Record::Absent { Some(Duration::ZERO) } else { reading.remaining };
        }
        self.end_record(key, remaining, worker).await
    }

    /// As [`Sessions::end`], of a record that has so long left. Where an app may be about to write it again, that it was
    /// revoked is known before the record is gone.
    pub(super) async fn end_record(
        self: &Arc<Self>,
        key: &str,
        remaining: Option<Duration>,
        worker: Worker,
    ) -> Result<(), Outage> {
        if self.revocations.tombstone_key(key).is_some() {
            self.revocations.revoke(key, remaining, &self.store, worker).await?;
        }
        let deleted = self.store.delete(worker, key).await;
        self.changed(key, Change::Deleted, worker);
        deleted.map(drop)
    }

    async fn change(
        self: &Arc<Self>,
        own: &Own,
        commands: &Commands,
        id: &SessionId,
        worker: Worker,
    ) -> Result<Updated, Disobedience> {
        let (key, mut enlisted) = (self.format.key(id), None);
        for _ in 0..CHANGES_MAX {
            let change = |record: &[u8]| {
                let rewritten = own.rewrite(record, clock::since_epoch(), |data| {
                    let before = self.user_in(data);
                    commands.change(data).map_err(Unchanged::Fault)?;
                    match self.user_in(data) {
                        Some(user) if Some(&user) != before.as_ref() && Some(&user) != enlisted.as_ref() => {
                            Err(Unchanged::Joins(user))
                        }
                        _ => Ok(()),
                    }
                })?;
                rewritten.map(|record| seal(commands, &record).map_err(Unchanged::Fault)).transpose()
            };
            let updated = self.store.update(worker, &key, change).await;
            self.changed(&key, Change::Written, worker);
            match updated {
                Ok(updated) => return Ok(updated),
                Err(NotUpdated::Outage(outage)) => return Err(Disobedience::Outage(outage)),
                Err(NotUpdated::Refused(Unchanged::Fault(fault))) => return Err(Disobedience::Fault(fault)),
                Err(NotUpdated::Refused(Unchanged::Joins(user))) => {
                    self.enlist(&key, &user, worker).await.map_err(Disobedience::Outage)?;
                    enlisted = Some(user);
                }
            }
        }
        Err(Disobedience::Outage(Outage("the session changes its user too often to be updated".to_owned())))
    }

    /// Creates a record under a fresh id; returns the cookie that names it.
    async fn begin(
        self: &Arc<Self>,
        own: &Own,
        Draft { record, ttl, user }: Draft,
        https: bool,
        worker: Worker,
    ) -> Result<HeaderValue, Disobedience> {
        let outage = |cause: &str| Disobedience::Outage(Outage(cause.to_owned()));
        let mut random = [0; ID_BYTES];
        getrandom::fill(&mut random).map_err(|_| outage("the system has no random bytes"))?;
        let id = SessionId::new(URL_SAFE_NO_PAD.encode(random));
        let key = self.format.key(&id);
        if let Some(user) = user {
            self.enlist(&key, &user, worker).await.map_err(Disobedience::Outage)?;
        }
        let created = self.store.create(worker, &key, record, ttl).await;
        if !created.map_err(Disobedience::Outage)? {
            return Err(outage("a fresh id is taken"));
        }
        line(&own.cookie(own.sign(&id), https, Some(clock::since_epoch())))
    }

    fn draft(&self, own: &Own, commands: &Commands, https: bool) -> Result<Draft, Disobedience> {
        let mut data = commands.login.clone().unwrap_or(Value::Map(Vec::new()));
        commands.change(&mut data).map_err(Disobedience::Fault)?;
        let user = self.user_in(&data);
        let (record, ttl) = own.begin(data, https, clock::since_epoch());
        Ok(Draft { record: seal(commands, &record).map_err(Disobedience::Fault)?, ttl, user })
    }
}

/// A new session's record, how long it lives, and whose it is.
struct Draft {
    record: Bytes,
    ttl: Duration,
    user: Option<String>,
}

/// Why a record was not changed.
enum Unchanged {
    Fault(CommandFault),
    /// It would be this user's, and the user must be known to have it before.
    Joins(String),
}

fn cleared(own: &Own, https: bool) -> Result<HeaderValue, Disobedience> {
    let mut cookie = own.cookie(String::new(), https, None);
    cookie.make_removal();
    line(&cookie)
}

fn line(cookie: &Cookie<'_>) -> Result<HeaderValue, Disobedience> {
    let why = "the cookie's name, path or domain cannot be sent";
    HeaderValue::try_from(cookie.to_string())
        .map_err(|_| Disobedience::Fault(CommandFault { header: "set-cookie", why }))
}

impl fmt::Display for CommandFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.header, self.why)
    }
}

/// Removes what `is_one` and returns it with its place in [`NAMES`] and the name as it was spelled.
fn remove(
    headers: &mut HeaderMap,
    is_one: impl Fn(&HeaderName) -> bool,
) -> Vec<(Option<usize>, HeaderName, HeaderValue)> {
    // Most responses carry none, and are left after one comparison a field.
    if !headers.keys().any(&is_one) {
        return Vec::new();
    }
    let ours = headers.iter().filter(|(name, _)| is_one(name));
    let taken: Vec<_> = ours.map(|(name, value)| (command(name), name.clone(), value.clone())).collect();
    for (_, name, _) in &taken {
        headers.remove(name);
    }
    taken
}

/// Which command a field's name means, in any spelling.
fn command(name: &HeaderName) -> Option<usize> {
    let name = name.as_str();
    if !name.starts_with("session") {
        return None;
    }
    let fold = |byte| if matches!(byte, b'_' | b'.') { b'-' } else { byte };
    NAMES.iter().position(|known| name.bytes().map(fold).eq(known.bytes()))
}

/// Whether a field's name, in any spelling, begins as the commands do.
fn is_steering(name: &HeaderName) -> bool {
    matches!(name.as_str().strip_prefix("session").map(str::as_bytes), Some([b'-' | b'_' | b'.', ..]))
}

fn parse(value: &HeaderValue) -> Result<Value, &'static str> {
    if value.len() > COMMAND_MAX {
        return Err("longer than 16 KiB");
    }
    if !value.as_bytes().is_ascii() {
        return Err("not ASCII: write other characters as \\u escapes");
    }
    match json::read(value.as_bytes()) {
        Ok(object @ Value::Map(_)) => Ok(object),
        Ok(_) => Err("not a JSON object"),
        Err(Fault(_)) => Err("not JSON"),
    }
}

fn seal(commands: &Commands, record: &Value) -> Result<Bytes, CommandFault> {
    format::seal(record).map_err(|Fault(why)| CommandFault { header: commands.writer(), why })
}

#[cfg(test)]
mod tests;
