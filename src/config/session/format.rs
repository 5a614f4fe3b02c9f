//! `format`, with what only this format has.

use super::{CookieSecurity, KeyPair, Serializer};
use crate::secret::Secret;
use std::time::Duration;

/// Whose sessions, with the keys that only this format has.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// `express`: express-session with connect-redis.
    Express {
        /// `secrets`, newest first; at least one.
        secrets: Vec<Secret>,
        /// `cookie_path` (`/`), for sessions that the gateway itself writes.
        cookie_path: String,
        /// `cookie_domain`
        cookie_domain: Option<String>,
        /// `cookie_max_age`; `None` = a cookie for the browser's session.
        cookie_max_age: Option<Duration>,
    },
    /// `flask`: Flask-Session.
    Flask {
        /// `secrets`, newest first; none = the cookie is not signed.
        secrets: Vec<Secret>,
    },
    /// `django`
    Django {
        /// `secrets`, newest first; none = the records are not signed.
        secrets: Vec<Secret>,
    },
    /// `starlette`: starsessions, or starlette-session with secrets.
    Starlette {
        /// `secrets`, newest first; none = the cookie is not signed.
        secrets: Vec<Secret>,
        /// `cookie_max_age`: how old a signed cookie may be.
        cookie_max_age: Duration,
    },
    /// `fastify`: @fastify/session with connect-redis.
    Fastify {
        /// `secrets`, newest first; at least one.
        secrets: Vec<Secret>,
    },
    /// `koa`: koa-generic-session and koa-session with an external store.
    Koa {
        /// `secrets`, newest first; at least one.
        secrets: Vec<Secret>,
    },
    /// `php`: PHP's own sessions with phpredis.
    Php {
        /// `serializer`
        serializer: Serializer,
    },
    /// `laravel`: the redis driver.
    Laravel {
        /// `secrets`: APP_KEY, then APP_PREVIOUS_KEYS; at least one, each of 16 or 32 bytes.
        secrets: Vec<Secret>,
    },
    /// `rails`: redis-actionpack, redis-session-store and the cache store.
    Rails,
    /// `spring`: Spring Session.
    Spring,
    /// `gorilla`: gorilla/sessions with boj/redistore.
    Gorilla {
        /// `secrets` with their `block_keys`, newest first; at least one.
        pairs: Vec<KeyPair>,
        /// `cookie_max_age` (30 days)
        cookie_max_age: Duration,
    },
    /// `scs`: alexedwards/scs.
    Scs {
        /// `hash_token`
        hash_token: bool,
    },
    /// `tower`: tower-sessions.
    Tower {
        /// `secrets`, 64 bytes or more each, newest first; none = the cookie is the bare id.
        secrets: Vec<Secret>,
        /// `cookie_security`
        security: CookieSecurity,
    },
    /// `actix`: actix-session.
    Actix {
        /// `secrets`, 64 bytes or more each, newest first; at least one.
        secrets: Vec<Secret>,
        /// `cookie_security`
        security: CookieSecurity,
    },
    /// `onedoor`: the gateway's own.
    Onedoor {
        /// `ttl`: unused this long = expired.
        ttl: Duration,
        /// `max_age`: from login.
        max_age: Duration,
    },
}

impl Format {
    /// Whether the gateway can write such sessions, too.
    pub fn is_written_here(&self) -> bool {
        matches!(self, Self::Express { .. } | Self::Onedoor { .. })
    }

    /// The same with the newest of several secrets alone; `None` = the cookie is not signed with one of several.
    pub fn with_newest_secret(&self) -> Option<Self> {
        let mut newest = self.clone();
        let secrets = match &mut newest {
            Self::Express { secrets, .. }
            | Self::Flask { secrets }
            | Self::Starlette { secrets, .. }
            | Self::Laravel { secrets }
            | Self::Fastify { secrets }
            | Self::Koa { secrets }
            | Self::Tower { secrets, .. }
            | Self::Actix { secrets, .. } => secrets,
            Self::Gorilla { pairs, .. } => {
                let several = pairs.len() > 1;
                pairs.truncate(1);
                return several.then_some(newest);
            }
            Self::Django { .. }
            | Self::Php { .. }
            | Self::Rails
            | Self::Spring
            | Self::Scs { .. }
            | Self::Onedoor { .. } => return None,
        };
        let several = secrets.len() > 1;
        secrets.truncate(1);
        several.then_some(newest)
    }
}
