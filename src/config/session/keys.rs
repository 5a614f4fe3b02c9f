//! The keys of `[session]`.

use super::preset::WORDS;
use crate::config::keys::{Key, Shape, Table};

/// The keys of `[session]`, of all formats.
pub(in crate::config) static TABLE: Table = Table {
    name: "[session]",
    keys: &[
        Key {
            name: "format",
            shape: Shape::Choice { default: None, of: &WORDS },
            meaning: "Whose sessions: those of a framework's apps, or `onedoor` (the gateway's own). Required.",
        },
        Key {
            name: "name",
            shape: Shape::Text(None),
            meaning: "The session's name in logs and for upstreams. By default the format.",
        },
        Key {
            name: "cookie",
            shape: Shape::Text(None),
            meaning: "The cookie's name. By default the framework's; for onedoor `__Host-onedoor` over https, else `onedoor`.",
        },
        Key {
            name: "secrets",
            shape: Shape::Secrets,
            meaning: "What signs the cookie, newest first; the first signs, all verify. For formats that sign.",
        },
        Key {
            name: "secrets_file",
            shape: Shape::Text(None),
            meaning: "A file with one secret a line, instead of `secrets`; relative to the configuration.",
        },
        Key {
            name: "prefix",
            shape: Shape::Text(None),
            meaning: "Begins the keys of the sessions in the store. By default the framework's; for onedoor `<namespace>session:`.",
        },
        Key {
            name: "user",
            shape: Shape::Texts(&[]),
            meaning: "Where the user's id is in the record; of several paths the first that is there. Required where the framework has no place for it.",
        },
        Key {
            name: "roles",
            shape: Shape::Text(None),
            meaning: "Where the roles are in the record: a text or a list of texts. Default for onedoor: `roles`.",
        },
        Key {
            name: "login",
            shape: Shape::Text(None),
            meaning: "Where a browser without a session is sent: a path of this site, or an absolute https URL. By default the framework's, else `/login`.",
        },
        Key {
            name: "return_to",
            shape: Shape::Text(None),
            meaning: "The query parameter that carries the way back; \"\" is none. By default the framework's, else `return_to`.",
        },
        Key { name: "forward_cookie", shape: Shape::Flag(true), meaning: "Whether upstreams see the session cookie." },
        Key {
            name: "set_by",
            shape: Shape::Texts(&["verified"]),
            meaning: "Who may set the session cookie: \"verified\" (any upstream whose value verifies), \"any\", or upstreams by name.",
        },
        Key {
            name: "harden",
            shape: Shape::Flag(true),
            meaning: "Add HttpOnly and, over https, Secure to session cookies that lack them.",
        },
        Key {
            name: "same_site",
            shape: Shape::Choice { default: None, of: &["lax", "strict"] },
            meaning: "SameSite of session cookies that lack it. By default nothing is added.",
        },
        Key {
            name: "cookie_path",
            shape: Shape::Text(Some("/")),
            meaning: "express: Path of cookies that the gateway sets.",
        },
        Key {
            name: "cookie_domain",
            shape: Shape::Text(None),
            meaning: "express: Domain of cookies that the gateway sets.",
        },
        Key {
            name: "cookie_max_age",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "express: lifetime of cookies that the gateway sets; by default that of the browser's session. starlette with secrets: how old a cookie may be; by default 14d. gorilla: the same; by default 30d.",
        },
        Key {
            name: "serializer",
            shape: Shape::Choice { default: Some("auto"), of: &["auto", "php", "php_serialize", "igbinary"] },
            meaning: "php: what wrote the records (`session.serialize_handler`); `auto` tells it by the first bytes.",
        },
        Key {
            name: "cookie_security",
            shape: Shape::Choice { default: Some("private"), of: &["private", "signed"] },
            meaning: "tower, actix: whether the cookie is encrypted or signed.",
        },
        Key {
            name: "block_keys",
            shape: Shape::Secrets,
            meaning: "gorilla: the AES keys beside `secrets`, in the same order; \"\" is none.",
        },
        Key { name: "hash_token", shape: Shape::Flag(false), meaning: "scs: whether the app has HashTokenInStore." },
        Key {
            name: "ttl",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "onedoor: unused this long is expired, by default `1h`. Else for how long `touch` renews a record that does not say so.",
        },
        Key {
            name: "max_age",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "This long after login is expired, whatever the app says. Needs `started_at`. For onedoor `12h` by default.",
        },
        Key {
            name: "started_at",
            shape: Shape::Text(None),
            meaning: "Where the login time is in the record (seconds or milliseconds since the epoch, or RFC 3339), \
                      or `first_seen`: when the gateway first saw this user under this id.",
        },
        Key {
            name: "idle_timeout",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "Unused this long is expired, even where the app would keep it. For onedoor that is `ttl`.",
        },
        Key {
            name: "touch",
            shape: Shape::Choice { default: Some("never"), of: &["never", "auto"] },
            meaning: "`auto`: renew records as the app itself would by reading them, for apps that see too few requests.",
        },
    ],
};
