//! `[session]`.

use super::{
    Span,
    diagnostic::Fault,
    keys::{quoted_list, similar},
    path::RecordPath,
    section::Section,
    store::Store,
    upstreams::Upstream,
};
use crate::secret::Secret;
use std::{path::PathBuf, time::Duration};

mod cookies;
mod format;
mod keys;
mod lifetime;
mod login;
pub mod preset;
mod secrets;

pub use cookies::{CookieSecurity, KeyPair};
pub use format::Format;
pub(super) use keys::TABLE;
pub use lifetime::{Lifetime, StartedAt, Touch};
pub(super) use login::parse_target;
use preset::{Preset, Secrets};

/// `ttl` of the gateway's own sessions.
const TTL: Duration = Duration::from_secs(60 * 60);
/// `max_age` of the gateway's own sessions.
const MAX_AGE: Duration = Duration::from_secs(12 * 60 * 60);

/// `[session]`: one credential.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// `name`, by default the format's.
    pub name: String,
    /// `format`, with what only this format has.
    pub format: Format,
    /// What is known of the format's framework.
    pub preset: &'static Preset,
    /// `cookie`: its name. `None` only for `onedoor`, whose cookie is `__Host-onedoor` over https and `onedoor` over http.
    pub cookie: Option<String>,
    /// `prefix` of its keys in the store.
    pub prefix: String,
    /// `user`: the first path that is there counts.
    pub user: Vec<RecordPath>,
    /// `roles`
    pub roles: Option<RecordPath>,
    /// `login`: a path of this site or an absolute https URL.
    pub login: String,
    /// `return_to`: the query parameter with the way back; `None` = none.
    pub return_to: Option<String>,
    /// `forward_cookie`
    pub forward_cookie: bool,
    /// `set_by`
    pub set_by: SetBy,
    /// `harden`
    pub harden: bool,
    /// `same_site`
    pub same_site: Option<SameSite>,
    /// `max_age`, `started_at`, `idle_timeout` and `touch` of sessions that apps write.
    pub lifetime: Lifetime,
    /// Whether an upstream may steer such sessions.
    pub steered: bool,
    /// Whether the gateway may end such a session for good while an app may still write its record.
    pub revocable: bool,
    /// Whether its app does by deleting the record, as far as the store tells of that.
    pub deletion_is_final: bool,
    /// The store's namespace, for what is kept beside the records.
    pub namespace: String,
    /// Where the section stands.
    pub span: Span,
}

/// `serializer`: what wrote a PHP record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// `"auto"`: told by the first bytes.
    Auto,
    /// `"php"`
    Php,
    /// `"php_serialize"`
    PhpSerialize,
    /// `"igbinary"`
    Igbinary,
}

/// `set_by`: who may set a cookie of the session's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBy {
    /// `"verified"`: any upstream whose value verifies.
    Verified,
    /// `["auth"]`: these upstreams.
    Upstreams(Vec<String>),
    /// `"any"`
    Any,
}

/// `same_site`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `"lax"`
    Lax,
    /// `"strict"`
    Strict,
}

/// Reads a `[session]`. The files it was read from, too, are added to `watched`.
pub(super) fn read(
    mut section: Section<'_>,
    store: &Store,
    upstreams: &[Upstream],
    watched: &mut Vec<PathBuf>,
) -> Option<Session> {
    section.require("format", "say whose sessions: \"express\", or \"onedoor\" for the gateway's own");
    let word = section.choice("format");
    let has_secrets = section.has("secrets") || section.has("secrets_file");
    let preset = Preset::of(word, has_secrets);
    preset.refuse_keys_of_others(&mut section);
    let secrets = match preset.secrets {
        Secrets::Never => Vec::new(),
        Secrets::Perhaps => secrets::read(&mut section, preset, false, watched),
        Secrets::Always => secrets::read(&mut section, preset, word.is_some(), watched),
    };
    let format = read_format(&mut section, preset, secrets);
    let managed = matches!(format, Format::Onedoor { .. });
    let steered = upstreams.iter().any(|upstream| upstream.session_authority) && format.is_written_here();
    let cookie = section.parsed("cookie", parse_cookie_name).or_else(|| preset.cookie.map(str::to_owned));
    if cookie.is_none() && !managed {
        section.require("cookie", "name the app's session cookie: the framework has no name of its own for it");
    }
    check_host_cookie(&mut section, cookie.as_deref(), &format);
    let prefix = section.text("prefix").map(|text| text.text);
    let default_prefix = || if managed { format!("{}session:", store.namespace) } else { preset.prefix.to_owned() };
    let prefix = prefix.unwrap_or_else(default_prefix);
    warn_of_prefix(&mut section, preset, &prefix);
    let session = Session {
        name: section.parsed("name", parse_name).or_else(|| word.map(str::to_owned)).unwrap_or_default(),
        cookie,
        prefix,
        user: read_user(&mut section, preset, word.is_some()),
        roles: section
            .parsed("roles", RecordPath::parse)
            .or_else(|| managed.then(|| RecordPath(vec!["roles".to_owned()]))),
        login: section.parsed("login", |text| parse_target(text, "https")).unwrap_or_else(|| preset.login.to_owned()),
        return_to: section.parsed("return_to", parse_parameter).unwrap_or_else(|| Some(preset.return_to.to_owned())),
        forward_cookie: section.flag("forward_cookie"),
        set_by: read_set_by(&mut section, managed, upstreams),
        harden: section.flag("harden"),
        same_site: section
            .choice("same_site")
            .map(|word| if word == "strict" { SameSite::Strict } else { SameSite::Lax }),
        lifetime: lifetime::read(&mut section, preset),
        revocable: steered && !managed,
        steered,
        deletion_is_final: preset.ids_are_new && !managed && store.may_tell_deletions(),
        namespace: store.namespace.clone(),
        span: section.span.clone(),
        format,
        preset,
    };
    section.finish();
    word.map(|_| session)
}

fn read_format(section: &mut Section<'_>, preset: &Preset, secrets: Vec<Secret>) -> Format {
    match preset.format {
        "flask" => Format::Flask { secrets },
        "django" => Format::Django { secrets },
        "starlette" => Format::Starlette { cookie_max_age: read_cookie_max_age(section, preset), secrets },
        "fastify" => Format::Fastify { secrets },
        "koa" => Format::Koa { secrets },
        "php" => Format::Php { serializer: read_serializer(section) },
        "laravel" => Format::Laravel { secrets },
        "rails" => Format::Rails,
        "spring" => Format::Spring,
        "gorilla" => cookies::read_gorilla(section, preset, secrets),
        "scs" => Format::Scs { hash_token: section.flag("hash_token") },
        "tower" => Format::Tower { security: cookies::read_security(section, &secrets), secrets },
        "actix" => Format::Actix { security: cookies::read_security(section, &secrets), secrets },
        "onedoor" => read_onedoor(section),
        _ => read_express(section, secrets),
    }
}

/// A `__Host-` cookie that browsers would not take.
fn check_host_cookie(section: &mut Section<'_>, cookie: Option<&str>, format: &Format) {
    if let (Some(cookie), Format::Express { cookie_path, cookie_domain, .. }) = (cookie, format)
        && cookie.starts_with("__Host-")
        && (cookie_path != "/" || cookie_domain.is_some())
    {
        let remedy = "browsers want `cookie_path = \"/\"` and no `cookie_domain` for it";
        section.reader.error(section.span_of("cookie"), "a `__Host-` cookie has no path and no domain", remedy);
    }
}

/// No record of the framework would have such a key.
fn warn_of_prefix(section: &mut Section<'_>, preset: &Preset, prefix: &str) {
    let (message, remedy) = match preset.format {
        "rails" if prefix.ends_with("2::") => {
            ("`prefix` holds the `2::` that begins Rails' private ids", "leave `2::` out: it is always asked for")
        }
        "spring" if !prefix.ends_with("sessions:") => {
            ("`prefix` does not end in `sessions:`", "write the namespace and `sessions:`, such as `myapp:sessions:`")
        }
        _ => return,
    };
    section.reader.warning(section.span_of("prefix"), message, remedy);
}

fn read_express(section: &mut Section<'_>, secrets: Vec<Secret>) -> Format {
    Format::Express {
        secrets,
        cookie_path: section.parsed("cookie_path", parse_cookie_path).unwrap_or_default(),
        cookie_domain: section.parsed("cookie_domain", parse_cookie_domain),
        cookie_max_age: section.optional_duration("cookie_max_age"),
    }
}

/// How old a cookie may be that says when it was signed.
fn read_cookie_max_age(section: &mut Section<'_>, preset: &Preset) -> Duration {
    let default = preset.cookie_max_age;
    if preset.options.contains(&"cookie_max_age") {
        section.optional_duration("cookie_max_age").unwrap_or(default)
    } else {
        default
    }
}

fn read_serializer(section: &mut Section<'_>) -> Serializer {
    match section.choice("serializer") {
        Some("php") => Serializer::Php,
        Some("php_serialize") => Serializer::PhpSerialize,
        Some("igbinary") => Serializer::Igbinary,
        _ => Serializer::Auto,
    }
}

fn read_onedoor(section: &mut Section<'_>) -> Format {
    let (ttl, max_age) = (section.optional_duration("ttl"), section.optional_duration("max_age"));
    let (ttl, max_age) = (ttl.unwrap_or(TTL), max_age.unwrap_or(MAX_AGE));
    if ttl > max_age && section.has("ttl") {
        let remedy = "no session lives longer than `max_age`: raise it, or lower `ttl`";
        section.reader.warning(section.span_of("ttl"), "`ttl` is longer than `max_age`", remedy);
    }
    Format::Onedoor { ttl, max_age }
}

fn read_user(section: &mut Section<'_>, preset: &Preset, required: bool) -> Vec<RecordPath> {
    if preset.user.is_empty() && required {
        section.require("user", "name the path to the user's id in the record, such as `user = \"user.id\"`");
    }
    let paths = section.parsed_list("user", RecordPath::parse);
    if section.has("user") {
        return paths;
    }
    preset.user.iter().filter_map(|path| RecordPath::parse(path).ok()).collect()
}

fn read_set_by(section: &mut Section<'_>, managed: bool, upstreams: &[Upstream]) -> SetBy {
    if managed {
        let remedy = "leave it out: the gateway alone sets this cookie";
        section.refuse("set_by", "`set_by` means nothing for sessions of the gateway's own", remedy);
        return SetBy::Verified;
    }
    let texts = section.texts("set_by");
    match texts.as_slice() {
        [only] if only.text == "verified" => return SetBy::Verified,
        [only] if only.text == "any" => return SetBy::Any,
        _ => {}
    }
    let names = || upstreams.iter().map(|upstream| upstream.name.as_str());
    for text in &texts {
        if names().any(|name| name == text.text) {
            continue;
        }
        let remedy = match similar(&text.text, names().chain(["verified", "any"])) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!("\"verified\", \"any\", or some of {}", quoted_list(names())),
        };
        section.reader.error(text.span.clone(), format!("`set_by` names no upstream: `{}`", text.text), remedy);
    }
    SetBy::Upstreams(texts.into_iter().map(|text| text.text).collect())
}

fn parse_name(text: &str) -> Result<String, Fault> {
    let sane = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if text.is_empty() || !sane {
        return Err(Fault::new(format!("`{text}` is not a name"), "letters, digits, `-`, `_` and `.`"));
    }
    Ok(text.to_owned())
}

/// RFC 6265 section 4.1.1: a cookie's name is a token, as a header's is.
fn parse_cookie_name(text: &str) -> Result<String, Fault> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(Fault::new(format!("`{text}` is not a cookie name"), "letters, digits and `!#$%&'*+-.^_`|~`"));
    }
    Ok(text.to_owned())
}

fn parse_cookie_path(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') || text.bytes().any(|byte| !(0x21..0x7f).contains(&byte) || byte == b';') {
        return Err(Fault::new(format!("`{text}` is not a cookie path"), "it begins with `/`, without spaces and `;`"));
    }
    Ok(text.to_owned())
}

fn parse_cookie_domain(text: &str) -> Result<String, Fault> {
    super::origin::parse_host(text.strip_prefix('.').unwrap_or(text))
}

fn parse_parameter(text: &str) -> Result<Option<String>, Fault> {
    let sane = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    match (text, sane) {
        ("", _) => Ok(None),
        (_, true) => Ok(Some(text.to_owned())),
        _ => Err(Fault::new(format!("`{text}` is not a query parameter"), "letters, digits, `-`, `.`, `_` and `~`")),
    }
}
