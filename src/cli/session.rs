//! `onedoor session`: what a cookie stands for.

use super::{Exit, Files, Outcome, code, explain, load, say};
use clap::Subcommand;
use http::{HeaderMap, HeaderValue, header::COOKIE};

/// What to do about sessions.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell which record a cookie names, whether it is valid and why not, and what the record holds; secrets are masked
    Decode {
        /// The value of the session's cookie, or a whole Cookie header
        cookie: String,
        #[command(flatten)]
        files: Files,
    },
}

pub(super) fn run(command: Command) -> Outcome {
    let Command::Decode { cookie, files } = command;
    let loaded = load(&files.into())?;
    let Some(config) = &loaded.config else { return Ok(()) };
    let names: Vec<_> =
        config.sessions.iter().map(|session| session.cookie.clone().unwrap_or("onedoor".to_owned())).collect();
    if names.is_empty() {
        return Err(Exit::new(code::USAGE, "there is no [session] that a cookie could belong to"));
    }
    // A value may hold `=` itself: it is a header only if it begins with a cookie's name.
    let is_header = cookie.split_once('=').is_some_and(|(name, _)| {
        let name = name.trim().trim_start_matches("__Host-");
        names.iter().any(|known| known.trim_start_matches("__Host-") == name) || cookie.contains("; ")
    });
    let line = match is_header {
        true => cookie,
        false => names.iter().map(|name| format!("{name}={cookie}")).collect::<Vec<_>>().join("; "),
    };
    let is_https = line.contains("__Host-onedoor=");
    let line = HeaderValue::try_from(line).map_err(|_| Exit::new(code::USAGE, "the cookie is not a header value"))?;
    let headers = HeaderMap::from_iter([(COOKIE, line)]);
    let told = explain::ask(loaded, async |snapshot| snapshot.decode(&headers, is_https).await)?;
    say(told.trim_end())
}
