//! What the frameworks do where nobody says otherwise: one row per format.

use crate::{
    config::{keys::quoted_list, section::Section},
    secret::Secret,
};
use std::time::Duration;

/// A framework's habits.
#[derive(Debug, PartialEq)]
pub struct Preset {
    /// The word in `format`.
    pub format: &'static str,
    /// `cookie`; `None` = the app's own choice, so the key is required.
    pub(super) cookie: Option<&'static str>,
    /// `prefix`
    pub(super) prefix: &'static str,
    /// `user`; none = the app's own choice, so the key is required.
    pub(super) user: &'static [&'static str],
    /// `login`
    pub(super) login: &'static str,
    /// `return_to`
    pub(super) return_to: &'static str,
    /// The record's members that are the framework's own, which `session_header` leaves out; `*` ends a beginning.
    pub own_members: &'static [&'static str],
    /// Whether its cookies are signed or encrypted.
    pub(super) secrets: Secrets,
    /// What one of `secrets` must be.
    pub(super) secret_form: SecretForm,
    /// The keys of `[session]` that not every format has.
    pub(super) options: &'static [&'static str],
    /// How old a cookie may be that says when it was signed, where `cookie_max_age` does not say.
    pub(super) cookie_max_age: Duration,
    /// What is different where there are secrets.
    signed: Option<&'static Preset>,
    /// Whether the framework renews a record's time to live when it only reads it, and `EXPIRE` does the same.
    pub renews_on_read: bool,
    /// Whether every new session has a new id, whatever the client sends.
    pub ids_are_new: bool,
}

/// Whether a framework's cookies are signed or encrypted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Secrets {
    /// They are not.
    Never,
    /// They are where there are secrets.
    Perhaps,
    /// They always are.
    Always,
}

/// What a secret must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SecretForm {
    /// Text as it is.
    Text,
    /// A key for AES-128 or AES-256, perhaps encoded.
    AesKey,
    /// A key of any length, perhaps encoded.
    Bytes,
    /// A key to sign with and one to encrypt with, perhaps encoded.
    MasterKey,
}

impl SecretForm {
    /// What it should have been, in words.
    pub(super) fn missed_by(self, secret: &str) -> Option<&'static str> {
        let length = || Secret::new(secret).bytes().map(|bytes| bytes.len());
        match self {
            Self::Text => None,
            Self::AesKey => (!matches!(length(), Some(16 | 32))).then_some("16 or 32 bytes"),
            Self::Bytes => length().is_none().then_some("bytes in base64 or hex"),
            Self::MasterKey => length().is_none_or(|length| length < 64).then_some("64 bytes or more"),
        }
    }
}

/// A framework of which nothing is known: the start of every row.
const UNKNOWN: Preset = Preset {
    format: "",
    cookie: None,
    prefix: "",
    user: &[],
    login: "/login",
    return_to: "return_to",
    own_members: &[],
    secrets: Secrets::Never,
    secret_form: SecretForm::Text,
    options: &[],
    cookie_max_age: Duration::ZERO,
    signed: None,
    renews_on_read: false,
    ids_are_new: false,
};

/// Sessions in Django's cache; those of django-redis-sessions are signed and have no prefix.
const DJANGO: Preset = Preset {
    format: "django",
    cookie: Some("sessionid"),
    prefix: ":1:django.contrib.sessions.cache",
    user: &["_auth_user_id"],
    own_members: &["_auth_user_hash"],
    login: "/accounts/login/",
    return_to: "next",
    secrets: Secrets::Perhaps,
    ids_are_new: true,
    ..UNKNOWN
};
const STARSESSIONS: Preset = Preset {
    format: "starlette",
    cookie: Some("session"),
    prefix: "starsessions.",
    own_members: &["__metadata__"],
    secrets: Secrets::Perhaps,
    ..UNKNOWN
};
const STARLETTE_SESSION: Preset = Preset {
    cookie: None,
    prefix: "",
    options: &["cookie_max_age"],
    cookie_max_age: Duration::from_secs(14 * 24 * 60 * 60),
    ..STARSESSIONS
};

/// All formats, in the order in which they are listed.
pub(super) static PRESETS: &[Preset] = &[
    Preset {
        format: "express",
        cookie: Some("connect.sid"),
        prefix: "sess:",
        own_members: &["cookie"],
        secrets: Secrets::Always,
        options: &["cookie_path", "cookie_domain", "cookie_max_age"],
        renews_on_read: true,
        ids_are_new: true,
        ..UNKNOWN
    },
    Preset {
        format: "fastify",
        cookie: Some("sessionId"),
        prefix: "sess:",
        own_members: &["cookie"],
        secrets: Secrets::Always,
        ids_are_new: true,
        ..UNKNOWN
    },
    Preset {
        format: "koa",
        cookie: Some("koa.sid"),
        prefix: "koa:sess:",
        own_members: &["cookie", "_expire", "_maxAge", "_session"],
        secrets: Secrets::Always,
        // With `rolling`; where a record says itself when it ends, it still does.
        renews_on_read: true,
        ..UNKNOWN
    },
    Preset {
        format: "flask",
        cookie: Some("session"),
        prefix: "session:",
        // Where Flask-Login has it.
        user: &["_user_id"],
        own_members: &["_permanent"],
        return_to: "next",
        secrets: Secrets::Perhaps,
        renews_on_read: true,
        ..UNKNOWN
    },
    Preset { signed: Some(&Preset { prefix: "", ..DJANGO }), ..DJANGO },
    Preset { signed: Some(&STARLETTE_SESSION), ..STARSESSIONS },
    Preset {
        format: "php",
        cookie: Some("PHPSESSID"),
        prefix: "PHPREDIS_SESSION:",
        options: &["serializer"],
        renews_on_read: true,
        ..UNKNOWN
    },
    Preset {
        format: "laravel",
        cookie: Some("laravel_session"),
        prefix: "laravel_database_laravel_cache:",
        own_members: &["_token", "_flash", "_previous", "password_hash_*"],
        user: &["login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d"],
        secrets: Secrets::Always,
        secret_form: SecretForm::AesKey,
        renews_on_read: true,
        ids_are_new: true,
        ..UNKNOWN
    },
    Preset {
        format: "rails",
        cookie: Some("_app_session"),
        prefix: "session:",
        own_members: &["_csrf_token", "session_id", "flash"],
        renews_on_read: true,
        ids_are_new: true,
        ..UNKNOWN
    },
    Preset {
        format: "spring",
        cookie: Some("SESSION"),
        prefix: "spring:session:sessions:",
        user: &["principal_name"],
        own_members: &[
            "creationTime",
            "lastAccessedTime",
            "maxInactiveInterval",
            "SPRING_SECURITY_*",
            "org.springframework.*",
        ],
        ids_are_new: true,
        ..UNKNOWN
    },
    Preset {
        format: "gorilla",
        prefix: "session_",
        secrets: Secrets::Always,
        secret_form: SecretForm::Bytes,
        options: &["block_keys", "cookie_max_age"],
        cookie_max_age: Duration::from_secs(30 * 86_400),
        ..UNKNOWN
    },
    Preset {
        format: "scs",
        cookie: Some("session"),
        prefix: "scs:session:",
        options: &["hash_token"],
        ids_are_new: true,
        ..UNKNOWN
    },
    Preset {
        format: "tower",
        cookie: Some("id"),
        secrets: Secrets::Perhaps,
        secret_form: SecretForm::MasterKey,
        options: &["cookie_security"],
        ids_are_new: true,
        ..UNKNOWN
    },
    Preset {
        format: "actix",
        cookie: Some("id"),
        secrets: Secrets::Always,
        secret_form: SecretForm::MasterKey,
        options: &["cookie_security"],
        ids_are_new: true,
        renews_on_read: true,
        ..UNKNOWN
    },
    Preset { format: "onedoor", user: &["user.id"], ids_are_new: true, ..UNKNOWN },
];

/// The words of `format`.
pub(super) static WORDS: [&str; PRESETS.len()] = {
    let mut words = [""; PRESETS.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = PRESETS[at].format;
        at += 1;
    }
    words
};

impl Preset {
    /// The row of a format. An unknown one is read as the first, which has the most keys, so that only the format is
    /// reported.
    pub fn of(format: Option<&str>, has_secrets: bool) -> &'static Self {
        let row = PRESETS.iter().find(|preset| Some(preset.format) == format).unwrap_or(&PRESETS[0]);
        row.signed.filter(|_| has_secrets).unwrap_or(row)
    }

    /// Refuses the keys that only other formats have.
    pub(super) fn refuse_keys_of_others(&self, section: &mut Section<'_>) {
        if self.secrets == Secrets::Never {
            for name in ["secrets", "secrets_file"] {
                let message = format!("cookies of `format = \"{}\"` are not signed", self.format);
                section.refuse(
                    name,
                    &message,
                    "leave it out: the cookie is a random id that means nothing outside the store",
                );
            }
        }
        let rows = || PRESETS.iter().flat_map(|preset| [preset].into_iter().chain(preset.signed));
        let mut options: Vec<_> = rows().flat_map(|row| row.options).collect();
        options.sort_unstable();
        options.dedup();
        options.retain(|name| !self.options.contains(name));
        for name in options {
            if self.signed.is_some_and(|signed| signed.options.contains(name)) {
                let remedy = "leave it out: without `secrets` the cookie is the bare id";
                section.refuse(name, &format!("`{name}` needs `secrets`"), remedy);
                continue;
            }
            let with = rows().filter(|row| row.options.contains(name)).map(|row| row.format);
            let message = format!("`{name}` is only for `format` {}", quoted_list(with));
            section.refuse(name, &message, "leave it out");
        }
    }
}
