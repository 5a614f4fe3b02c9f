//! The formats that the gateway writes, too.

use super::{Absence, Express, Fault, Onedoor, Opened, Selection, SessionId, Value, express, json};
use crate::config::session;
use bytes::Bytes;
use cookie::{Cookie, SameSite};
use std::{sync::Arc, time::Duration};

/// Sessions that the gateway can read, begin, change and end.
#[derive(Debug)]
pub(in crate::session) enum Own {
    /// express-session with connect-redis.
    Express(Express),
    /// The gateway's own.
    Onedoor(Onedoor),
}

impl Own {
    /// The name of the cookie.
    pub(super) fn cookie_name(&self, https: bool) -> &Arc<str> {
        match self {
            Self::Express(express) => express.cookie_name(),
            Self::Onedoor(onedoor) => onedoor.cookie_name(https),
        }
    }

    /// The id that a cookie's value proves. Asks no store.
    pub(super) fn verify(&self, value: &[u8]) -> Result<SessionId, Absence> {
        match self {
            Self::Express(express) => express.verify(value),
            Self::Onedoor(onedoor) => onedoor.verify(value),
        }
    }

    /// The cookie's value that proves `id`.
    pub(in crate::session) fn sign(&self, id: &SessionId) -> String {
        match self {
            Self::Express(express) => express.sign(id),
            Self::Onedoor(_) => id.expose().to_owned(),
        }
    }

    /// The store's key for an id.
    pub(super) fn key(&self, id: &SessionId) -> String {
        match self {
            Self::Express(express) => express.key(id),
            Self::Onedoor(onedoor) => onedoor.key(id),
        }
    }

    /// Reads a record at a time since the Unix epoch; what is not selected may be left out.
    pub(super) fn open(&self, record: &[u8], selection: &Selection, now: Duration) -> Result<Opened, Absence> {
        match self {
            Self::Express(_) => express::open(record, selection),
            Self::Onedoor(onedoor) => onedoor.open(record, now),
        }
    }

    /// What a new session's record holds, and how long it lives.
    pub(in crate::session) fn begin(&self, data: Value, https: bool, now: Duration) -> (Value, Duration) {
        match self {
            Self::Express(express) => express.begin(data, https, now),
            Self::Onedoor(onedoor) => onedoor.begin(data, now),
        }
    }

    /// The new bytes of a record whose data `change` has changed. `None` = the session has ended, or cannot be read.
    pub(in crate::session) fn rewrite<E>(
        &self,
        record: &[u8],
        now: Duration,
        change: impl FnOnce(&mut Value) -> Result<(), E>,
    ) -> Result<Option<Value>, E> {
        match self {
            Self::Express(_) => express::rewrite(record, change),
            Self::Onedoor(onedoor) => onedoor.rewrite(record, now, change),
        }
    }

    /// A cookie that the gateway sets. With the time at which the session begins it also says when it ends, where the
    /// format lets the browser know.
    pub(in crate::session) fn cookie(&self, value: String, https: bool, begins: Option<Duration>) -> Cookie<'static> {
        let mut cookie = Cookie::new(self.cookie_name(https).to_string(), value);
        cookie.set_http_only(true);
        if https {
            cookie.set_secure(true);
        }
        match self {
            Self::Express(express) => express.dress(&mut cookie, begins),
            Self::Onedoor(onedoor) => onedoor.dress(&mut cookie),
        }
        cookie
    }
}

/// The record as bytes, or why a reader would refuse it.
pub(in crate::session) fn seal(record: &Value) -> Result<Bytes, Fault> {
    let text = json::write(record);
    json::read(text.as_bytes())?;
    Ok(text.into())
}

pub(super) fn same_site(same_site: session::SameSite) -> SameSite {
    match same_site {
        session::SameSite::Lax => SameSite::Lax,
        session::SameSite::Strict => SameSite::Strict,
    }
}
