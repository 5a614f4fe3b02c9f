//! The formats, a file each with the same verbs: how a cookie names a record, and what a record means.
//!
//! A format that only apps write is a file here, an arm of `Dialect`, an arm of [`session::Format`], and a row of
//! `PRESETS` in [`session::preset`].

mod actix;
mod django;
mod express;
mod fastify;
mod flask;
mod foreign;
mod gorilla;
mod jar;
mod koa;
mod laravel;
mod onedoor;
mod own;
mod php;
mod python;
mod rails;
mod scs;
mod spellings;
mod spring;
mod starlette;
mod tower;

use super::{
    Absence,
    id::SessionId,
    value::{Fault, Value, gob, java, json, msgpack, selection::Selection},
};
use crate::{
    config::{path::RecordPath, session},
    redis::Outline,
};
use http::HeaderMap;
use percent_encoding::percent_decode;
use std::{fmt::Write, sync::Arc, time::Duration};

use django::Django;
use express::Express;
use fastify::Fastify;
use flask::Flask;
use foreign::{Dialect, Foreign};
use gorilla::Gorilla;
use jar::Jar;
use koa::Koa;
use laravel::Laravel;
pub(super) use onedoor::Onedoor;
pub(super) use own::{Own, seal};
use starlette::Starlette;

/// Whose sessions.
#[derive(Debug)]
pub(super) enum Format {
    /// The gateway writes them, too.
    Own(Own),
    /// Only apps write them.
    Foreign(Foreign),
}

/// A cookie that may prove a session's id.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Presented<'a> {
    /// Its value, as it came.
    pub(super) value: &'a [u8],
    /// The value of the format's second cookie, see [`Format::companion`].
    pub(super) companion: Option<&'a [u8]>,
    /// The time, since the Unix epoch.
    pub(super) now: Duration,
}

/// A record as its format understands it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Opened {
    /// The session's data, in which `user`, `roles` and the identity headers are looked up.
    pub(super) data: Value,
    /// When the session ends whatever happens, since the Unix epoch.
    pub(super) ends: Option<Duration>,
}

impl Opened {
    /// The record, unless it says itself that it has ended.
    fn unless_over(self, now: Duration) -> Result<Self, Absence> {
        if self.ends.is_some_and(|ends| ends <= now) { Err(Absence::Lapsed) } else { Ok(self) }
    }
}

impl<'a> Presented<'a> {
    /// The value, if it is plain ASCII.
    fn ascii(self) -> Result<&'a str, Absence> {
        str::from_utf8(self.value).ok().filter(|value| value.is_ascii()).ok_or(Absence::Malformed)
    }

    /// The value without the quotes around it.
    fn unquoted(self) -> Result<&'a str, Absence> {
        self.ascii().map(express::unquote)
    }

    /// The percent-decoded value as an id; what is decoded wrongly in whatever way does not fit any alphabet.
    fn decoded_id(self, fits: impl FnOnce(&[u8]) -> bool) -> Result<SessionId, Absence> {
        let value: Vec<u8> = percent_decode(self.value).collect();
        Presented { value: &value, ..self }.bare_id(fits)
    }

    /// The value itself as an id, where nothing is signed and `fits` knows the alphabet.
    fn bare_id(self, fits: impl FnOnce(&[u8]) -> bool) -> Result<SessionId, Absence> {
        let id = str::from_utf8(self.value).ok().filter(|id| fits(id.as_bytes()));
        id.map(SessionId::new).ok_or(Absence::Malformed)
    }
}

impl Format {
    /// Takes a `[session]` as one of this format.
    pub(super) fn compile(config: &session::Session, format: &session::Format) -> Self {
        let foreign = |dialect| Self::Foreign(Foreign::compile(config, dialect));
        let cookie = || config.cookie.as_deref().unwrap_or_default();
        match format {
            session::Format::Express { secrets, cookie_path, cookie_domain, cookie_max_age } => {
                let own = express::Own {
                    path: cookie_path.clone(),
                    domain: cookie_domain.clone(),
                    max_age: *cookie_max_age,
                    same_site: config.same_site,
                };
                Self::Own(Own::Express(Express::compile(config, secrets, own)))
            }
            session::Format::Onedoor { ttl, max_age } => {
                Self::Own(Own::Onedoor(Onedoor::compile(config, *ttl, *max_age)))
            }
            session::Format::Flask { secrets } => foreign(Dialect::Flask(Flask::compile(secrets))),
            session::Format::Django { secrets } => foreign(Dialect::Django(Django::compile(secrets))),
            session::Format::Starlette { secrets, cookie_max_age } => {
                foreign(Dialect::Starlette(Starlette::compile(secrets, *cookie_max_age)))
            }
            session::Format::Fastify { secrets } => foreign(Dialect::Fastify(Fastify::compile(secrets))),
            session::Format::Koa { secrets } => foreign(Dialect::Koa(Koa::compile(cookie(), secrets))),
            session::Format::Php { serializer } => foreign(Dialect::Php(*serializer)),
            session::Format::Laravel { secrets } => foreign(Dialect::Laravel(Laravel::compile(cookie(), secrets))),
            session::Format::Rails => foreign(Dialect::Rails),
            session::Format::Spring => foreign(Dialect::Spring),
            session::Format::Gorilla { pairs, cookie_max_age } => {
                foreign(Dialect::Gorilla(Gorilla::compile(cookie(), pairs, *cookie_max_age)))
            }
            session::Format::Scs { hash_token } => foreign(Dialect::Scs { hashed: *hash_token }),
            session::Format::Tower { secrets, security } => {
                let jar = (!secrets.is_empty()).then(|| Jar::compile(cookie(), secrets, *security));
                foreign(Dialect::Tower(jar))
            }
            session::Format::Actix { secrets, security } => {
                foreign(Dialect::Actix(Jar::compile(cookie(), secrets, *security)))
            }
        }
    }

    /// The format as one that the gateway writes.
    pub(super) fn own(&self) -> Option<&Own> {
        match self {
            Self::Own(own) => Some(own),
            Self::Foreign(_) => None,
        }
    }

    /// The name of the cookie.
    pub(super) fn cookie_name(&self, https: bool) -> &Arc<str> {
        match self {
            Self::Own(own) => own.cookie_name(https),
            Self::Foreign(foreign) => foreign.cookie_name(),
        }
    }

    /// The name of a second cookie that the first means nothing without, such as the one with its signature.
    pub(super) fn companion(&self) -> Option<&Arc<str>> {
        match self {
            Self::Own(_) => None,
            Self::Foreign(foreign) => foreign.companion(),
        }
    }

    /// Whether a cookie's value that proves an id proves it at any time and whatever else the request brings, so that
    /// it need not be verified again. False for signatures that end, or that travel in another cookie.
    pub(super) fn value_alone_proves(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Foreign(_) => false,
        }
    }

    /// Whether the apps forgive white space around a cookie's name and value.
    pub(super) fn forgives_spaces(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Foreign(foreign) => foreign.forgives_spaces(),
        }
    }

    /// Whether the apps read no cookie of these sessions in such a request, whatever it brings.
    pub(super) fn overlooks(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Foreign(foreign) => foreign.overlooks(headers),
        }
    }

    /// The id that a cookie proves. Asks no store.
    pub(super) fn verify(&self, cookie: Presented<'_>) -> Result<SessionId, Absence> {
        match self {
            Self::Own(own) => own.verify(cookie.value),
            Self::Foreign(foreign) => foreign.verify(cookie),
        }
    }

    /// The store's key for an id.
    pub(super) fn key(&self, id: &SessionId) -> String {
        match self {
            Self::Own(own) => own.key(id),
            Self::Foreign(foreign) => foreign.key(id),
        }
    }

    /// Where keys begin with nothing of their own: how those look that the framework makes.
    pub(super) fn outlines(&self) -> &'static [Outline] {
        match self {
            Self::Own(_) => &[],
            Self::Foreign(foreign) => foreign.outlines(),
        }
    }

    /// Whether records are hashes in Redis, see [`Store::of_hashes`](super::store::Store::of_hashes).
    pub(super) fn keeps_hashes(&self) -> bool {
        matches!(self, Self::Foreign(foreign) if foreign.keeps_hashes())
    }

    /// What of a record tells whether it is one, beside what is looked for in it.
    pub(super) fn judges_by(&self) -> Vec<RecordPath> {
        match self {
            Self::Own(Own::Express(_)) => express::judged_by().into(),
            Self::Own(Own::Onedoor(_)) | Self::Foreign(_) => Vec::new(),
        }
    }

    /// Reads a record at a time since the Unix epoch; what is not selected may be left out.
    pub(super) fn open(&self, record: &[u8], selection: &Selection, now: Duration) -> Result<Opened, Absence> {
        match self {
            Self::Own(own) => own.open(record, selection, now),
            Self::Foreign(foreign) => foreign.open(record, now),
        }
    }
}

/// In lower case.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes whatever is written");
        text
    })
}

#[cfg(test)]
mod tests;
