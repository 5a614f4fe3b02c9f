//! `onedoor explain`: what would happen to a request, and why.

use super::{Exit, Files, Outcome, code, colour, health, load, say};
use crate::{
    config::{Config, Loaded, server::Listen},
    gateway::snapshot::Snapshot,
    http::peer::Peer,
    reload::Surroundings,
    tasks::{Worker, Workers},
    telemetry::{
        events,
        metrics::{Metrics, families},
        output::Output,
    },
};
use clap::Args;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{COOKIE, HOST},
};
use std::{io, net::IpAddr};
use tokio::runtime;
use tracing::Level;

/// The request to explain.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// The method, such as GET
    method: Method,
    /// The path with its query, such as /account?tab=1, or a whole URL
    target: String,
    /// A cookie: name=value, a whole Cookie header, or just the value of the session's cookie
    #[arg(long, value_name = "COOKIE")]
    cookie: Vec<String>,
    /// A header field, such as 'Accept: text/html'
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The address of the peer
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    from: IpAddr,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(question: Question) -> Outcome {
    let Question { method, target, cookie, header, from, files } = question;
    let loaded = load(&files.into())?;
    let Some(config) = loaded.config.clone() else { return Ok(()) };
    let headers = headers(&config, &cookie, &header)?;
    let request = Request::builder().method(method).uri(&target).body(());
    let mut request = request.map_err(|error| {
        Exit::new(code::USAGE, format_args!("{target}: {error}; the gateway answers such a request with 400"))
    })?;
    *request.headers_mut() = headers;
    if !request.headers().contains_key(HOST) {
        let host = host(&config, request.uri());
        let host = HeaderValue::try_from(host).map_err(|_| Exit::new(code::USAGE, "the target's host is no Host"))?;
        request.headers_mut().insert(HOST, host);
    }
    let (head, ()) = request.into_parts();

    let page = config.admin.listen.and_then(|address| health::read(&Listen::Tcp(address), "/metrics").ok().flatten());
    let story = ask(loaded, async |snapshot| {
        for (upstream, endpoint) in page.iter().flat_map(|page| page.lines().filter_map(sick)) {
            snapshot.upstreams().leave_out(upstream, endpoint);
        }
        let peer = Peer::new(Some(from), local_port(&config), config.server.tls.is_some(), Worker(0));
        snapshot.explain(head, &peer).await
    })?;
    say(story.trim_end())?;
    match memory(&config).filter(|_| story.lines().any(|line| line.starts_with("source"))) {
        Some(told) => say(format_args!("memory    of the gateway that runs: {told}")),
        None => Ok(()),
    }
}

/// What the running gateway says of its memory of sessions.
fn memory(config: &Config) -> Option<&'static str> {
    let page = health::read(&Listen::Tcp(config.admin.listen?), "/readyz").ok().flatten()?;
    let (_, word) = page.rsplit_once("\"memory\":\"")?;
    Some(match word.split('"').next()? {
        "events" => "in use, kept true by keyspace events",
        "tracking" => "in use, kept true by client tracking",
        "partly" => "in use for a part of the servers; its log says why",
        _ => "not in use; its log says why",
    })
}

/// The upstream and the endpoint that a line of the running gateway's metrics says get no requests.
fn sick(line: &str) -> Option<(&str, &str)> {
    let labels = line.strip_prefix("onedoor_endpoint_up{upstream=\"")?.strip_suffix("\"} 0")?;
    labels.split_once("\",endpoint=\"")
}

/// Compiles the configuration as `run` does, and asks it.
pub(super) fn ask<T>(loaded: Loaded, question: impl AsyncFnOnce(&Snapshot) -> T) -> Result<T, Exit> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Exit::new(code::UNAVAILABLE, error))?;
    runtime.block_on(async {
        let metrics = Metrics::new(1);
        let dropped = metrics.counter(&families::LOG_DROPPED, &[]);
        let output = Output::start(io::stderr(), dropped).map_err(|error| Exit::new(code::UNAVAILABLE, error))?;
        // Why the store does not answer, for instance.
        events::start(Level::WARN, true, output.clone());
        let surroundings = Surroundings { workers: Workers::current(), output: output.clone(), metrics };
        let compiled = surroundings.compile(loaded, None, colour());
        let snapshot = compiled.map_err(Exit::misconfigured)?;
        let answer = question(&snapshot).await;
        output.close();
        Ok(answer)
    })
}

fn headers(config: &Config, cookies: &[String], fields: &[String]) -> Result<HeaderMap, Exit> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let parsed = field.split_once(':').and_then(|(name, value)| {
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
        });
        let (name, value) =
            parsed.ok_or_else(|| Exit::new(code::USAGE, format_args!("--header '{field}' is not 'Name: value'")))?;
        headers.append(name, value);
    }
    let own = config.sessions.first().map_or("onedoor", |session| session.cookie.as_deref().unwrap_or("onedoor"));
    let named = |cookie: &String| match cookie.split_once('=') {
        Some((name, value)) if name == own || !value.trim_matches('=').is_empty() => cookie.clone(),
        // What stands at its end pads the value.
        _ => format!("{own}={cookie}"),
    };
    if !cookies.is_empty() {
        let line = cookies.iter().map(named).collect::<Vec<_>>().join("; ");
        let line = HeaderValue::try_from(line).map_err(|_| Exit::new(code::USAGE, "--cookie is not a header value"))?;
        headers.insert(COOKIE, line);
    }
    Ok(headers)
}

/// What a client would send as Host: that of a target that is a whole URL, else that of the site.
fn host(config: &Config, target: &Uri) -> String {
    if let Some(authority) = target.authority().filter(|_| target.scheme().is_some()) {
        return authority.to_string();
    }
    let server = &config.server;
    match (&server.public_url, server.hosts.first(), local_port(config)) {
        (Some(url), ..) => url.to_string().trim_start_matches("https://").trim_start_matches("http://").to_owned(),
        (None, Some(host), _) => host.clone(),
        (None, None, Some(port)) => format!("localhost:{port}"),
        (None, None, None) => "localhost".to_owned(),
    }
}

fn local_port(config: &Config) -> Option<u16> {
    config.server.listen.iter().find_map(|listen| match listen {
        Listen::Tcp(address) => Some(address.port()),
        Listen::Unix(_) | Listen::Passed(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, read};

    #[test]
    fn a_cookie_is_a_pair_a_whole_header_or_the_value_of_the_sessions() {
        let text = "[session]\nformat = 'php'\nuser = 'id'\n[[rules]]\nredirect = '/'\n";
        let config = read("", text, &Environment::default()).config.expect("a configuration");
        for (given, line) in [
            ("abc", "PHPSESSID=abc"),
            ("YWI==", "PHPSESSID=YWI=="),
            ("PHPSESSID=", "PHPSESSID="),
            ("theme=dark", "theme=dark"),
            ("a=b; PHPSESSID=abc", "a=b; PHPSESSID=abc"),
        ] {
            let headers = headers(&config, &[given.to_owned()], &[]).unwrap_or_else(|exit| panic!("{exit:?}"));
            assert_eq!(headers[COOKIE], line);
        }
    }
}
