//! From text to [`Config`]: every section is read, whatever is wrong in the others.

use super::{
    Config, Span, admin,
    diagnostic::{Diagnostics, Source},
    environment::Environment,
    hidden, identity, keys, limits, log, pages,
    reader::Reader,
    rules,
    section::Section,
    security_headers, server,
    session::{self, Session},
    store, syntax,
    upstreams::{self, Upstream},
};
use std::{cell::RefCell, fs, path::Path, path::PathBuf};
use toml::de::DeTable;

/// A configuration file after reading.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, where it is known what each rule governs: so that rules can be checked against each other
    /// whatever is wrong elsewhere. It may be used only if the diagnostics hold no error.
    pub config: Option<Config>,
    /// What the diagnostics point into.
    pub source: Source,
    /// Everything that was found.
    pub diagnostics: Diagnostics,
}

/// Reads a file. A file that cannot be read is a diagnostic, too.
pub fn load(path: &Path, environment: &Environment) -> Loaded {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => read(&name, &text, environment),
        Err(fault) => {
            let mut diagnostics = Diagnostics::default();
            diagnostics.error(
                0..0,
                format!("cannot read {name}: {fault}"),
                "name the configuration with -c, or write one: the README begins with some",
            );
            Loaded { config: None, source: Source::new(&name, "", &[]), diagnostics }
        }
    }
}

/// Reads a text. `name` is for diagnostics, and its directory is where relative file names in the text start.
pub fn read(name: &str, text: &str, environment: &Environment) -> Loaded {
    let directory = Path::new(name).parent().unwrap_or(Path::new(""));
    let reader = Reader {
        environment,
        directory,
        diagnostics: RefCell::new(Diagnostics::default()),
        hidden: RefCell::new(Vec::new()),
    };
    let (root, faults) = DeTable::parse_recoverable(text);
    let hidden = if faults.is_empty() { hidden::in_table(root.get_ref()) } else { hidden::in_text(text) };
    reader.hidden.borrow_mut().extend(hidden);
    syntax::report(&reader, text, &faults);

    // With broken syntax the parser's guess at the rest is not what was meant.
    let config = if syntax::only_repeats(&faults) { read_root(&reader, root.get_ref()) } else { None };

    let (diagnostics, hidden) = (reader.diagnostics.into_inner(), reader.hidden.into_inner());
    Loaded { config, source: Source::new(name, text, &hidden), diagnostics }
}

/// Reads the sections, each after those it refers to: rules name upstreams, sessions know the store. `None` if a rule
/// could not be read; everything else has a default to go on with.
fn read_root<'a>(reader: &'a Reader<'a>, entries: &'a DeTable<'a>) -> Option<Config> {
    let mut root = Section::new(reader, &keys::ROOT, Some(entries), 0..0);
    let mut watched = Vec::new();
    let server = server::read(root.table("server"), &mut watched);
    let store = store::read(root.table("store"), &mut watched);
    let identity = identity::read(root.table("identity"));
    let named = upstreams::read(&root.table("upstreams"), &identity, &mut watched);
    let sessions = read_sessions(&mut root, &store, &named, &mut watched);

    let known = sessions.as_deref().filter(|sessions| sessions.is_empty() != root.has("session"));
    let limits = limits::read(&root.table("limits"));
    let mut site = rules::Site {
        server: &server,
        identity: &identity,
        store: &store,
        sessions: known,
        limits: &limits,
        upstreams: named.clone(),
    };
    let rules: Vec<_> = root.tables("rules").into_iter().map(|section| rules::read(section, &mut site)).collect();
    let upstreams = site.upstreams;
    if !root.has("rules") {
        reader.error(root.span.clone(), "there are no rules: nothing would be served", "add [[rules]] with a `dest`");
    }
    check_writers(reader, sessions.as_deref().unwrap_or_default(), &store, &named);
    if !root.has("rules") || !rules.is_empty() {
        check_used(reader, &named, &limits, &rules);
    }
    let limits = limits.into_iter().map(|(limit, _)| limit).collect();
    let security_headers = security_headers::read(&root.table("security_headers"));
    let pages = pages::read(root.table("pages"), &mut watched);
    let admin = admin::read(root.table("admin"), &server);
    let log = log::read(root.table("log"));
    root.finish();
    let rules = rules.into_iter().collect::<Option<_>>()?;
    Some(Config {
        server,
        store,
        sessions: sessions.unwrap_or_default(),
        identity,
        upstreams,
        rules,
        limits,
        security_headers,
        pages,
        admin,
        log,
        watched,
    })
}

/// The sessions; `None` if one of them could not be read.
fn read_sessions(
    root: &mut Section<'_>,
    store: &store::Store,
    upstreams: &[Upstream],
    watched: &mut Vec<PathBuf>,
) -> Option<Vec<Session>> {
    let sections = root.tables("session").into_iter();
    let read: Vec<_> = sections.map(|section| session::read(section, store, upstreams, watched)).collect();
    for (index, session) in read.iter().enumerate() {
        let Some(session) = session else { continue };
        if read[..index].iter().flatten().any(|earlier| earlier.name == session.name) {
            let message = format!("two sessions are called `{}`", session.name);
            root.reader.error(
                session.span.clone(),
                message,
                "give each a `name` of its own, such as `name = \"shop\"`",
            );
        }
        let is_own = |session: &Session| matches!(session.format, session::Format::Onedoor { .. });
        if is_own(session) && read[..index].iter().flatten().any(is_own) {
            let remedy = "keep one with `format = \"onedoor\"`: one cookie holds them all";
            root.reader.error(session.span.clone(), "there are two sessions of the gateway's own", remedy);
        }
        let is_alike = |earlier: &&Session| {
            earlier.prefix == session.prefix && earlier.format == session.format && earlier.name != session.name
        };
        if let Some(earlier) = read[..index].iter().flatten().find(is_alike).filter(|_| !is_own(session)) {
            let (one, other) = (&earlier.name, &session.name);
            let message = format!("`{other}` has the records of `{one}`: a cookie of one may be used as the other's");
            let remedy = "where `accept` is to tell them apart, give each a `prefix` or `secrets` of its own";
            root.reader.warning(session.span.clone(), message, remedy);
        }
    }
    read.into_iter().collect()
}

/// Sessions in memory exist only if the gateway writes them, and it writes only some formats.
fn check_writers(reader: &Reader<'_>, sessions: &[Session], store: &store::Store, upstreams: &[Upstream]) {
    let authority = upstreams.iter().find(|upstream| upstream.session_authority);
    if let Some(upstream) = authority.filter(|_| !sessions.iter().any(|session| session.format.is_written_here())) {
        let remedy =
            "it steers sessions of `format = \"onedoor\"` or `\"express\"`; other formats the gateway only reads";
        let message = format!("the upstream `{}` has no session to steer", upstream.name);
        if !sessions.is_empty() {
            reader.error(upstream.span.clone(), message, remedy);
        }
    }
    for session in sessions.iter().filter(|_| store.url == store::Url::Memory) {
        let span = session.span.clone();
        let written_here = authority.is_some() && session.format.is_written_here();
        match session.format {
            _ if written_here => {}
            session::Format::Onedoor { .. } => reader.warning(
                span,
                "nobody can log in: no upstream may start a session",
                "give the login service `session_authority = true`",
            ),
            _ => {
                let mut remedy = "name the apps' Redis in [store]: `url = \"redis://127.0.0.1:6379\"`".to_owned();
                if session.format.is_written_here() {
                    remedy += "; or give an upstream `session_authority = true`";
                }
                let message = "the apps' sessions cannot be in the store `memory:`, which only the gateway can see";
                reader.error(span, message, remedy);
            }
        }
    }
}

/// Says which upstreams and limits no rule names, unless a rule is broken and may have meant them.
fn check_used(
    reader: &Reader<'_>,
    upstreams: &[Upstream],
    limits: &[(limits::Limit, Span)],
    rules: &[Option<rules::Rule>],
) {
    let Some(rules) = rules.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return };
    for (index, upstream) in upstreams.iter().enumerate() {
        if !rules.iter().any(|rule| rule.action.names(index)) {
            let message = format!("no rule uses the upstream `{}`", upstream.name);
            reader.warning(upstream.span.clone(), message, "name it as a `dest`, or remove it");
        }
    }
    for (place, (limit, span)) in limits.iter().enumerate() {
        if !rules.iter().any(|rule| rule.limits.contains(&place)) {
            let message = format!("no rule uses the limit `{}`", limit.name);
            reader.warning(span.clone(), message, "name it in a rule's `limit`, or remove it");
        }
    }
}
