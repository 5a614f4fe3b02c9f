//! Sessions whose records are renewed, on a real server.

use super::*;
use crate::{
    config::{self, environment::Environment},
    redis::server::Server,
    session::{Activity, Look, Source, Trust, compile, id::SessionId, near_cache::Named, store::Store},
    tasks::Workers,
    telemetry::metrics::Metrics,
};

/// When a renewal is asked for.
const DUE: Duration = Duration::from_secs(25);

/// So many records, and sessions that may be in memory as long as the second is kept.
fn stage(server: &Server, count: usize) -> (Arc<Sessions>, impl Sized) {
    for number in 0..count {
        server.cli(&["set", &format!("sess:{number}"), r#"{"cookie":{},"user":{"id":"1"}}"#]);
    }
    let address = server.config().address.to_string();
    let text = format!(
        "[store]\nurl = 'redis+unix://{}'\ntimeout = '30s'\n[store.cache]\nmax_staleness = '60s'\n[session]\nformat = 'express'\n\
         secrets = ['keyboard cat keyboard cat']\nuser = 'user.id'\n[[rules]]\ndest = 'http://a'\n",
        address.trim_start_matches("unix:")
    );
    let loaded = config::read("gateway.toml", &text, &Environment::default());
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics.render(&loaded.source, false)));
    let metrics = Metrics::new(1);
    let store = Store::compile(&config.store, &Workers::current(), &metrics);
    let (mut sessions, watcher) = compile(&config, &store, &metrics, &[]);
    (sessions.remove(0), watcher)
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = clock::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not within thirty seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where a session's verdict comes from; `None` = there is no session.
async fn source(sessions: &Arc<Sessions>, number: usize) -> Option<Source> {
    let id = SessionId::new(number.to_string());
    let key = sessions.format.key(&id);
    let look = Look { trust: Trust::Memory, ..Look::from(WORKER) };
    let found = sessions.look_up(&Named::new(id, key), Activity::Counts, look).await;
    found.ok().filter(|found| !found.is_missing()).map(|found| found.source)
}

/// Brings sessions to memory, lets their records live for so many milliseconds, and waits until that is known.
async fn renew(server: &Server, sessions: &Arc<Sessions>, count: usize, milliseconds: &str) -> Vec<Confirmation> {
    let near = sessions.near.as_ref().expect("there is memory");
    let mut asked = Vec::new();
    for number in 0..count {
        until("in memory", async || source(sessions, number).await == Some(Source::Memory)).await;
        server.cli(&["pexpire", &format!("sess:{number}"), milliseconds]);
        until("renewed", async || near.has_renewed()).await;
        let Due::Now(batch) = near.due(near.moment(clock::now() + DUE)) else { panic!("it is due") };
        asked.extend(batch);
    }
    asked
}

fn calls(server: &Server, command: &str) -> usize {
    let stats = server.cli(&["info", "commandstats"]);
    let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
    line.and_then(|line| line.split(['=', ',']).nth(1)).map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn sessions_that_live_on_cost_one_command_together() {
    let server = Server::start(&["--notify-keyspace-events", "Kg$hxe"]);
    let (sessions, _watcher) = stage(&server, 20);
    let asked = renew(&server, &sessions, 20, "600000").await;
    let before = (calls(&server, "exists"), calls(&server, "pttl"));
    sessions.confirm(sessions.near.as_ref().unwrap(), asked).await;
    assert_eq!((calls(&server, "exists"), calls(&server, "pttl")), (before.0 + 1, before.1));
    for number in 0..20 {
        assert_eq!(source(&sessions, number).await, Some(Source::Memory));
    }
    // They will be asked for again.
    assert!(sessions.near.as_ref().unwrap().has_renewed());
}

#[tokio::test]
async fn who_may_not_ask_for_many_asks_for_each() {
    let server = Server::start(&["--notify-keyspace-events", "Kg$hxe"]);
    server.cli(&["acl", "setuser", "default", "-exists"]);
    let (sessions, _watcher) = stage(&server, 5);
    let asked = renew(&server, &sessions, 5, "600000").await;
    let before = calls(&server, "pttl");
    sessions.confirm(sessions.near.as_ref().unwrap(), asked).await;
    assert_eq!(calls(&server, "pttl"), before + 5);
    assert_eq!(source(&sessions, 4).await, Some(Source::Memory));
    assert!(!sessions.near.as_ref().unwrap().has_renewed(), "their lives are known");
}

#[tokio::test]
async fn a_life_that_was_shortened_is_over_when_it_is_asked_for_though_nobody_has_told() {
    let server = Server::start(&["--notify-keyspace-events", "Kg$hxe", "--enable-debug-command", "yes"]);
    server.cli(&["debug", "set-active-expire", "0"]);
    let (sessions, _watcher) = stage(&server, 3);
    let asked = renew(&server, &sessions, 3, "1").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(source(&sessions, 0).await, Some(Source::Memory), "nobody has come across it");
    sessions.confirm(sessions.near.as_ref().unwrap(), asked).await;
    for number in 0..3 {
        until("over", async || source(&sessions, number).await.is_none()).await;
    }
}
