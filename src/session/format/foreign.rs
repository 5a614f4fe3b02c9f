//! The formats that only apps write: what they have in common, and where they differ.

use super::{
    Absence, Django, Fastify, Flask, Gorilla, Jar, Koa, Laravel, Opened, Presented, SessionId, Starlette, Value, actix,
    django, fastify, gorilla, koa, php, python, rails, scs, spring, tower,
};
use crate::{
    config::session::{self, Serializer},
    http::cookie_header,
    redis::Outline,
    session::value::{json::Author, msgpack::Keys},
};
use http::HeaderMap;
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
    Fastify(Fastify),
    Koa(Koa),
    Php(Serializer),
    Laravel(Laravel),
    Rails,
    Spring,
    Gorilla(Gorilla),
    Scs {
        /// Whether the store is told the token's hash alone.
        hashed: bool,
    },
    /// Without a jar the cookie is the bare id.
    Tower(Option<Jar>),
    Actix(Jar),
}

impl Foreign {
    pub(super) fn compile(config: &session::Session, dialect: Dialect) -> Self {
        let cookie: Arc<str> = config.cookie.as_deref().unwrap_or_default().into();
        let companion = match dialect {
            Dialect::Koa(_) => Some(format!("{cookie}.sig").into()),
            _ => None,
        };
        Self { cookie, companion, prefix: config.prefix.clone(), dialect }
    }

    pub(super) fn cookie_name(&self) -> &Arc<str> {
        &self.cookie
    }

    pub(super) fn companion(&self) -> Option<&Arc<str>> {
        self.companion.as_ref()
    }

    pub(super) fn forgives_spaces(&self) -> bool {
        match self.dialect {
            Dialect::Flask(_) | Dialect::Django(_) | Dialect::Starlette(_) | Dialect::Fastify(_) => true,
            Dialect::Spring | Dialect::Tower(_) | Dialect::Actix(_) => true,
            Dialect::Koa(_) | Dialect::Php(_) | Dialect::Laravel(_) | Dialect::Rails => false,
            Dialect::Gorilla(_) | Dialect::Scs { .. } => false,
        }
    }

    pub(super) fn overlooks(&self, headers: &HeaderMap) -> bool {
        match self.dialect {
            Dialect::Flask(_) => cookie_header::quotes_a_semicolon(headers),
            Dialect::Tower(_) | Dialect::Actix(_) => cookie_header::is_beyond_ascii(headers),
            _ => false,
        }
    }

    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        match &self.dialect {
            Dialect::Flask(flask) => flask.verify(cookie),
            Dialect::Django(_) => django::verify(cookie),
            Dialect::Starlette(starlette) => starlette.verify(cookie),
            Dialect::Fastify(fastify) => fastify.verify(cookie),
            Dialect::Koa(koa) => koa.verify(cookie),
            Dialect::Php(_) => php::verify(cookie),
            Dialect::Laravel(laravel) => laravel.verify(cookie),
            Dialect::Rails => rails::verify(cookie),
            Dialect::Spring => spring::verify(cookie),
            Dialect::Gorilla(gorilla) => gorilla.verify(cookie),
            Dialect::Scs { .. } => scs::verify(cookie),
            Dialect::Tower(jar) => tower::verify(jar.as_ref(), cookie),
            Dialect::Actix(jar) => actix::verify(jar, cookie),
        }
    }

    pub(super) fn key(&self, id: &SessionId) -> String {
        match self.dialect {
            Dialect::Rails => [&self.prefix, &*rails::private_id(id)].concat(),
            Dialect::Scs { hashed: true } => [&self.prefix, &*scs::hashed(id)].concat(),
            _ => [&self.prefix, id.expose()].concat(),
        }
    }

    pub(super) fn outlines(&self) -> &'static [Outline] {
        const UUID: &[Outline] = &[Outline { length: 36, letters: &[(b'0', b'9'), (b'a', b'f'), (b'-', b'-')] }];
        match self.dialect {
            _ if !self.prefix.is_empty() => &[],
            Dialect::Koa(_) | Dialect::Starlette(_) => UUID,
            Dialect::Django(_) => &[Outline { length: 32, letters: &[(b'0', b'9'), (b'a', b'z')] }],
            Dialect::Tower(_) => &[tower::KEYS],
            Dialect::Actix(_) => &[actix::KEYS],
            _ => &[],
        }
    }

    pub(super) fn keeps_hashes(&self) -> bool {
        matches!(self.dialect, Dialect::Spring)
    }

    /// What is no map in the app's language is no session.
    pub(super) fn open(&self, record: &[u8], now: Duration) -> Result<Opened, Absence> {
        let endless = |data| Opened { data, ends: None };
        let opened = match &self.dialect {
            Dialect::Flask(_) => python::read(record, Keys::Any, Author::Anyone).map(endless).map_err(Absence::from),
            Dialect::Django(django) => django.read(record).map(endless),
            Dialect::Starlette(starlette) => starlette.read(record).map(endless),
            Dialect::Php(serializer) => php::read(record, *serializer).map(endless),
            Dialect::Laravel(laravel) => laravel.read(record).map(endless),
            Dialect::Rails => rails::read(record, now),
            Dialect::Fastify(_) => fastify::read(record, now),
            Dialect::Koa(_) => koa::read(record, now),
            Dialect::Spring => spring::read(record, now),
            Dialect::Gorilla(_) => gorilla::read(record).map(endless),
            Dialect::Scs { .. } => scs::read(record).map(endless),
            Dialect::Tower(_) => tower::read(record).map(endless),
            Dialect::Actix(_) => actix::read(record).map(endless),
        }?;
        match opened.data {
            Value::Map(_) => Ok(opened),
            _ => Err(Absence::Unreadable("not an object")),
        }
    }
}
