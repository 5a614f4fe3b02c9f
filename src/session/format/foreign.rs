//! The formats that only apps write: what they have in common, and where they differ.

use super::{
    Absence, Django, Flask, Laravel, Opened, Presented, SessionId, Starlette, Value, django, php, python, rails,
};
use crate::{
    config::session::{self, Serializer},
    session::value::msgpack::Keys,
};
use std::{sync::Arc, time::Duration};

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
    Flask(Flask),
    Django(Django),
    Starlette(Starlette),
    Php(Serializer),
    Laravel(Laravel),
    Rails,
}

impl Foreign {
    pub(super) fn compile(config: &session::Session, dialect: Dialect) -> Self {
        let cookie: Arc<str> = config.cookie.as_deref().unwrap_or_default().into();
        let companion = match dialect {
            Dialect::Flask(_)
            | Dialect::Django(_)
            | Dialect::Starlette(_)
            | Dialect::Php(_)
            | Dialect::Laravel(_)
            | Dialect::Rails => None,
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
            Dialect::Flask(flask) => flask.verify(cookie),
            Dialect::Django(_) => django::verify(cookie),
            Dialect::Starlette(starlette) => starlette.verify(cookie),
            Dialect::Php(_) => php::verify(cookie),
            Dialect::Laravel(laravel) => laravel.verify(cookie),
            Dialect::Rails => rails::verify(cookie),
        }
    }

    pub(super) fn key(&self, id: &SessionId) -> String {
        match self.dialect {
            Dialect::Rails => [&self.prefix, &*rails::private_id(id)].concat(),
            _ => [&self.prefix, id.expose()].concat(),
        }
    }

    /// What is no map in the app's language is no session.
    pub(super) fn open(&self, record: &[u8], now: Duration) -> Result<Opened, Absence> {
        let endless = |data| Opened { data, ends: None };
        let opened = match &self.dialect {
            Dialect::Flask(_) => python::read(record, Keys::Any).map(endless).map_err(Absence::from),
            Dialect::Django(django) => django.read(record).map(endless),
            Dialect::Starlette(starlette) => starlette.read(record).map(endless),
            Dialect::Php(serializer) => php::read(record, *serializer).map(endless),
            Dialect::Laravel(laravel) => laravel.read(record).map(endless),
            Dialect::Rails => rails::read(record, now),
        }?;
        match opened.data {
            Value::Map(_) => Ok(opened),
            _ => Err(Absence::Unreadable("not an object")),
        }
    }
}
