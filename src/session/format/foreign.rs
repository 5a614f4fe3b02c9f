//! The formats that only apps write: what they have in common, and where they differ.

use super::{Absence, Opened, Presented, SessionId, Value, starlette};
use crate::config::session;
use std::sync::Arc;

/// Sessions that the gateway reads and never writes.
#[derive(Debug)]
pub(in crate::session) struct Foreign {
    cookie: Arc<str>,
    companion: Option<Arc<str>>,
    prefix: String,
    dialect: Dialect,
}

/// Where they differ.
#[derive(Debug)]
pub(super) enum Dialect {
    Starlette,
}

impl Foreign {
    pub(super) fn compile(config: &session::Session, dialect: Dialect) -> Self {
        let cookie: Arc<str> = config.cookie.as_deref().unwrap_or_default().into();
        let companion = match dialect {
            Dialect::Starlette => None,
        };
        Self { cookie, companion, prefix: config.prefix.clone(), dialect }
    }

    pub(super) fn cookie_name(&self) -> &Arc<str> {
        &self.cookie
    }

    pub(super) fn companion(&self) -> Option<&Arc<str>> {
        self.companion.as_ref()
    }

    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        match &self.dialect {
            Dialect::Starlette => starlette::verify(cookie),
        }
    }

    pub(super) fn key(&self, id: &SessionId) -> String {
        [&self.prefix, id.expose()].concat()
    }

    /// What is no map in the app's language is no session.
    pub(super) fn open(&self, record: &[u8]) -> Result<Opened, Absence> {
        let data = match &self.dialect {
            Dialect::Starlette => starlette::read(record),
        }?;
        match data {
            Value::Map(_) => Ok(Opened { data, ends: None }),
            _ => Err(Absence::Unreadable("not an object")),
        }
    }
}
