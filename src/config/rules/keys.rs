//! The keys of `[[rules]]`.

use crate::config::keys::{Key, Shape, Table};

/// The keys of a rule.
pub(in crate::config) static TABLE: Table = Table {
    name: "[[rules]]",
    keys: &[
        Key {
            name: "path",
            shape: Shape::Texts(&[]),
            meaning: "Exact by default; `*` is one segment, `**` any number; `/x/**` also matches `/x`. By default everything.",
        },
        Key { name: "method", shape: Shape::Texts(&[]), meaning: "One or many; HEAD matches GET. By default all." },
        Key {
            name: "dest",
            shape: Shape::Dest,
            meaning: "Where the request goes: an upstream's name or a URL; or several with weights, where a user stays on \
                      one side.",
        },
        Key {
            name: "session",
            shape: Shape::Choice { default: None, of: &["required", "optional", "off"] },
            meaning: "`required` (default), `optional`: identity if there is a session, `off`: no look-up \
                      (default with `redirect` and `respond`).",
        },
        Key {
            name: "accept",
            shape: Shape::Texts(&[]),
            meaning: "Which sessions count, by their names. By default all.",
        },
        Key { name: "roles", shape: Shape::Texts(&[]), meaning: "The user must have one of these, else 403." },
        Key {
            name: "max_auth_age",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "How long ago the login may be; after that the user must log in again: 401, or to login with \
                      `reauth=1`.",
        },
        Key {
            name: "on_refusal",
            shape: Shape::Choice { default: Some("auto"), of: &["auto", "redirect", "status"] },
            meaning: "`auto`: a browser's navigation is sent to login, anything else gets 401.",
        },
        Key {
            name: "strip_prefix",
            shape: Shape::Text(None),
            meaning: "Taken from the front of the forwarded path, by segments.",
        },
        Key { name: "add_prefix", shape: Shape::Text(None), meaning: "Put in front of the forwarded path." },
        Key {
            name: "rewrite_location",
            shape: Shape::Flag(false),
            meaning: "`Location` and the `Path` of cookies get back what the prefixes changed.",
        },
        Key {
            name: "set_request_headers",
            shape: Shape::Names,
            meaning: "Set on what is forwarded; \"\" removes. Never what says who is calling, or frames the message.",
        },
        Key { name: "set_response_headers", shape: Shape::Names, meaning: "Set on what comes back; \"\" removes." },
        Key {
            name: "timeout",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "Until the head of the response, instead of the upstream's `response_timeout`.",
        },
        Key {
            name: "total_timeout",
            shape: Shape::Duration { default: None, zero: false },
            meaning: "Until the end of the response. By default none.",
        },
        Key {
            name: "encoded_slash",
            shape: Shape::Choice { default: Some("refuse"), of: &["refuse", "keep"] },
            meaning: "`%2F` in the path: 400, or an ordinary character that stays encoded.",
        },
        Key {
            name: "empty_segments",
            shape: Shape::Choice { default: Some("merge"), of: &["merge", "keep"] },
            meaning: "`//` in the path: forwarded as `/`, or as it came. Rules are chosen as if it were `/`.",
        },
        Key {
            name: "enforce",
            shape: Shape::Flag(true),
            meaning: "`false` only reports what would have been refused.",
        },
        Key {
            name: "allow",
            shape: Shape::Texts(&[]),
            meaning: "Networks that the client's address must be in, else 403. By default all.",
        },
        Key { name: "limit", shape: Shape::Texts(&[]), meaning: "How often somebody may: names of `[limits]`." },
        Key {
            name: "cross_site",
            shape: Shape::Texts(&[]),
            meaning: "Unsafe methods and WebSockets that another site starts: `refuse` (403, the default where a \
                      session is required), `allow` (the default elsewhere), or the origins that may.",
        },
        Key {
            name: "preflight",
            shape: Shape::Choice { default: Some("refuse"), of: &["refuse", "pass"] },
            meaning: "`pass`: a browser's CORS preflight goes on without cookie or identity.",
        },
        Key {
            name: "body",
            shape: Shape::Size { default: "0", from: 0, to: u64::MAX },
            meaning: "The body of a request; \"0\" is unlimited. By default the server's.",
        },
        Key {
            name: "security_headers",
            shape: Shape::FlagOrHeaders,
            meaning: "`false`, or a table of those of this rule.",
        },
        Key {
            name: "touch",
            shape: Shape::Flag(true),
            meaning: "`false`: a request does not count as use of its session, such as a page that polls.",
        },
        Key {
            name: "on_outage",
            shape: Shape::Choice { default: None, of: &["refuse", "stale", "anonymous"] },
            meaning: "While the store cannot be asked: 503, a session proven not long ago, or (optional rules) nobody. \
                      By default `[store.outage] policy`.",
        },
        Key { name: "redirect", shape: Shape::Text(None), meaning: "Instead of `dest`: 308 to this URL or path." },
        Key { name: "respond", shape: Shape::Table(&RESPOND), meaning: "Instead of `dest`: this answer." },
    ],
};

/// The keys of `respond`.
static RESPOND: Table = Table {
    name: "respond = { status = ... }",
    keys: &[
        Key {
            name: "status",
            shape: Shape::Count { default: None, from: 200, to: 599 },
            meaning: "The status. Required.",
        },
        Key { name: "body", shape: Shape::Text(Some("")), meaning: "The body, plain text." },
    ],
};
