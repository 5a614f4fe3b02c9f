//! Commands: which are taken, and what becomes of sessions that obey them.

use super::*;
use crate::{
    config::session::{Format as FormatConfig, SameSite, Session},
    redis::server::Server,
    session::{
        Absence, Activity, Verdict,
        store::Store,
        tests::{SECRET, W, config, cookies, express, onedoor, store},
    },
    telemetry::metrics::Metrics,
};
use std::{sync::Arc, time::Duration};

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    lines.iter().map(field).collect()
}

fn commands(lines: &[(&str, &str)]) -> Commands {
    Commands::take(&mut headers(lines)).unwrap().unwrap()
}

/// A browser with one cookie jar, in front of sessions.
struct Browser {
    sessions: Arc<Sessions>,
    https: bool,
    jar: HeaderMap,
}

impl Browser {
    fn new(format: FormatConfig, store: Store) -> Self {
        let config = Session { steered: true, ..config(format) };
        Self {
            sessions: Arc::new(Sessions::compile(&config, store, &Metrics::new(1))),
            https: false,
            jar: HeaderMap::new(),
        }
    }

    /// One request whose response carries `lines`; keeps the cookies it sets and returns their lines.
    async fn obey(&mut self, lines: &[(&str, &str)]) -> Result<Vec<String>, Disobedience> {
        let presented = self.sessions.identify(&self.jar, self.https, Activity::Counts, W).await.presented;
        let set = self.sessions.obey(&commands(lines), presented.as_ref(), None, self.https, W).await?;
        let set: Vec<_> = set.iter().map(|line| line.to_str().unwrap().to_owned()).collect();
        if let Some(line) = set.last() {
            self.jar = cookies(&[line.split(';').next().unwrap()]);
        }
        Ok(set)
    }

    async fn record(&self) -> Result<String, Absence> {
        match self.sessions.identify(&self.jar, self.https, Activity::Counts, W).await.verdict {
            Verdict::Known(session) => Ok(json::write(&session.record)),
            Verdict::Absent(absence) => Err(absence),
            verdict => panic!("{verdict:?}"),
        }
    }
}

/// Runs a story on both formats and both stores.
async fn on_each(story: impl AsyncFn(Browser)) {
    let server = Server::start(&[]);
    for format in [onedoor(), express(&[SECRET])] {
        story(Browser::new(format.clone(), store(None))).await;
        story(Browser::new(format, store(Some(&server)))).await;
    }
}

/// The data of a record, without what the format itself keeps there.
fn data(record: &str) -> String {
    record.replace(r#""cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"#, "")
}

#[test]
fn commands_leave_the_header_and_nothing_else_does() {
    let mut response = headers(&[
        ("session-login", r#"{"user":{"id":"42"}}"#),
        ("Session-Update", r#"{"cart":["a"],"draft":null}"#),
        ("session-increment", r#"{"count":1}"#),
        ("session-logout", "this"),
        ("sessions-left", "stays"),
        ("set-cookie", "a=b"),
    ]);
    let taken = Commands::take(&mut response).unwrap().unwrap();
    assert!(
        taken.logout == Some(Logout::This)
            && taken.login.is_some()
            && taken.update.is_some()
            && taken.increment.is_some()
    );
    assert_eq!(response, headers(&[("sessions-left", "stays"), ("set-cookie", "a=b")]));
    assert_eq!(Commands::take(&mut response), Ok(None));
}

#[test]
fn a_command_that_cannot_be_obeyed_names_its_header_and_is_removed_all_the_same() {
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(COMMAND_MAX));
    let refused: &[(&[(&str, &str)], &str)] = &[
        (&[("session-logn", "{\"user\":{\"id\":1}}")], "session-…"),
        (&[("session-logout", "everyone")], "session-logout"),
        (&[("session-logout", "This")], "session-logout"),
        (&[("session-logout", "")], "session-logout"),
        (&[("session-login", "")], "session-login"),
        (&[("session-login", "[]")], "session-login"),
        (&[("session-login", "{\"a\":1")], "session-login"),
        (&[("session-login", "{\"a\":\"é\"}")], "session-login"),
        (&[("session-login", &long)], "session-login"),
        (&[("session-update", "null")], "session-update"),
        (&[("session-update", "7")], "session-update"),
        (&[("session-increment", r#"{"a":"1"}"#)], "session-increment"),
        (&[("session-increment", r#"{"a":{"b":null}}"#)], "session-increment"),
        (&[("session-increment", "1")], "session-increment"),
        (&[("session_login", "{}")], "session-login"),
        (&[("session.update", "{}")], "session-update"),
        (&[("session-login", "{}"), ("session-login", "{}")], "session-login"),
        (&[("session-login", "{}"), ("session_login", "{}")], "session-login"),
    ];
    for (lines, header) in refused {
        let mut response = headers(lines);
        let fault = Commands::take(&mut response).unwrap_err();
        assert_eq!(fault.header, *header, "{lines:?}");
        assert!(response.is_empty(), "{lines:?}");
    }
}

#[test]
fn commands_of_others_are_discarded_in_every_spelling() {
    let mut response =
        headers(&[("session_login", "é"), ("Session-Login", "{}"), ("session.logout", "this"), ("x", "y")]);
    assert!(Commands::discard(&mut response));
    assert_eq!(response, headers(&[("x", "y")]));
    assert!(!Commands::discard(&mut response));
}

#[tokio::test]
async fn the_counter_site_counts() {
    on_each(async |mut browser| {
        let set = browser.obey(&[("session-login", r#"{"user":{"id":"42"},"count":0}"#)]).await.unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(data(&browser.record().await.unwrap()), r#"{"user":{"id":"42"},"count":0}"#);
        for _ in 0..3 {
            assert_eq!(browser.obey(&[("session-increment", r#"{"count":1}"#)]).await, Ok(vec![]));
        }
        let update = r#"{"cookie":{},"cart":["a"],"user":{"name":"\u00e9"}}"#;
        assert_eq!(browser.obey(&[("session-update", update)]).await, Ok(vec![]));
        let record = browser.record().await.unwrap();
        assert!(record.contains(r#""user":{"id":"42","name":"é"},"count":3"#), "{record}");
        let logged_in = browser.jar.clone();
        let set = browser.obey(&[("session-logout", "this")]).await.unwrap();
        assert!(set[0].contains("=; HttpOnly; ") && set[0].contains("; Path=/; Max-Age=0; Expires="), "{set:?}");
        browser.jar = logged_in;
        assert_eq!(browser.record().await, Err(Absence::NotFound));
    })
    .await;
}

#[tokio::test]
async fn a_login_kills_the_old_id_and_keeps_none_of_its_data() {
    on_each(async |mut browser| {
        browser.obey(&[("session-update", r#"{"user":{"id":"thief"},"n":1}"#)]).await.unwrap();
        let old = browser.jar.clone();
        browser.obey(&[("session-login", r#"{"user":{"id":"zoe"}}"#)]).await.unwrap();
        assert_ne!(browser.jar, old);
        assert_eq!(data(&browser.record().await.unwrap()), r#"{"user":{"id":"zoe"}}"#);
        browser.jar = old;
        assert_eq!(browser.record().await, Err(Absence::NotFound));
    })
    .await;
}

#[tokio::test]
async fn everywhere_ends_every_session_of_a_user_and_nobody_elses() {
    on_each(async |mut browser| {
        let sessions = browser.sessions.clone();
        let beside = || Browser { sessions: sessions.clone(), https: false, jar: HeaderMap::new() };
        let (mut phone, mut other, mut renamed, mut guest) = (beside(), beside(), beside(), beside());
        for browser in [&mut browser, &mut phone] {
            browser.obey(&[("session-login", r#"{"user":{"id":"42"}}"#)]).await.unwrap();
        }
        other.obey(&[("session-login", r#"{"user":{"id":"4"}}"#)]).await.unwrap();
        guest.obey(&[("session-update", r#"{"cart":1}"#)]).await.unwrap();
        renamed.obey(&[("session-login", r#"{"user":{"id":"5"}}"#)]).await.unwrap();
        renamed.obey(&[("session-update", r#"{"user":{"id":"42"}}"#)]).await.unwrap();
        let mut left = beside();
        left.obey(&[("session-login", r#"{"user":{"id":"42"}}"#)]).await.unwrap();
        left.obey(&[("session-update", r#"{"user":{"id":"6"}}"#)]).await.unwrap();

        let before = browser.jar.clone();
        let all = [("session-logout", "everywhere"), ("session-login", r#"{"user":{"id":"42"},"new":true}"#)];
        browser.obey(&all).await.unwrap();
        assert!(browser.record().await.unwrap().contains("\"new\":true"), "who logs in afterwards stays");
        browser.jar = before;
        for browser in [&browser, &phone, &renamed] {
            let gone = browser.record().await.unwrap_err();
            assert!(matches!(gone, Absence::NotFound | Absence::Revoked), "{gone}");
        }
        for browser in [&other, &left] {
            assert!(browser.record().await.is_ok(), "another user's");
        }
        assert_eq!(guest.record().await, Err(Absence::Anonymous));
        let cleared = guest.obey(&[("session-logout", "everywhere")]).await.unwrap();
        assert!(cleared[0].contains("Max-Age=0"), "{cleared:?}");
    })
    .await;
}

#[tokio::test]
async fn everywhere_ends_sessions_too_that_an_app_began() {
    let server = Server::start(&[]);
    let mut browser = Browser::new(express(&[SECRET]), store(Some(&server)));
    let (sessions, id) = (browser.sessions.clone(), SessionId::new("an-app-s"));
    let cookie = format!("connect.sid={}", sessions.format.own().unwrap().sign(&id));
    let app = Browser { sessions: sessions.clone(), https: false, jar: cookies(&[&cookie]) };
    let record = r#"{"cookie":{},"user":{"id":"42"}}"#.into();
    sessions.store.create(W, &sessions.format.key(&id), record, Duration::from_secs(60)).await.unwrap();
    assert!(app.record().await.is_ok());
    browser.obey(&[("session-login", r#"{"user":{"id":"42"}}"#)]).await.unwrap();
    browser.obey(&[("session-logout", "everywhere")]).await.unwrap();
    assert_eq!(app.record().await, Err(Absence::NotFound));
}

#[tokio::test]
async fn all_commands_at_once_are_obeyed_in_their_order() {
    on_each(async |mut browser| {
        browser.obey(&[("session-login", r#"{"user":{"id":"a"}}"#)]).await.unwrap();
        let all = [
            ("session-increment", r#"{"n":2}"#),
            ("session-update", r#"{"n":40,"user":{"x":1}}"#),
            ("session-login", r#"{"user":{"id":"b"},"n":1}"#),
            ("session-logout", "this"),
        ];
        assert_eq!(browser.obey(&all).await.unwrap().len(), 1);
        assert_eq!(data(&browser.record().await.unwrap()), r#"{"user":{"id":"b","x":1},"n":42}"#);
        let set = browser.obey(&[("session-logout", "this"), ("session-update", r#"{"lang":"de"}"#)]).await.unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(browser.record().await, Err(Absence::Anonymous));
    })
    .await;
}

#[tokio::test]
async fn an_update_of_a_session_that_ended_meanwhile_starts_a_new_one_without_a_user() {
    on_each(async |mut browser| {
        browser.obey(&[("session-login", r#"{"user":{"id":"zoe"}}"#)]).await.unwrap();
        let presented = browser.sessions.identify(&browser.jar, false, Activity::Counts, W).await.presented.unwrap();
        browser.obey(&[("session-logout", "this")]).await.unwrap();
        let late = commands(&[("session-update", r#"{"cart":1}"#)]);
        let set = browser.sessions.obey(&late, Some(&presented), None, false, W).await.unwrap();
        assert_eq!(set.len(), 1);
        let old = format!("{}={}", browser.sessions.format.cookie_name(false), browser.sessions.sign(&presented));
        browser.jar = cookies(&[&old]);
        assert_eq!(browser.record().await, Err(Absence::NotFound));
        browser.jar = cookies(&[set[0].to_str().unwrap().split(';').next().unwrap()]);
        assert_eq!(browser.record().await, Err(Absence::Anonymous));
    })
    .await;
}

#[tokio::test]
async fn a_command_that_faults_on_the_record_changes_nothing() {
    on_each(async |mut browser| {
        browser.obey(&[("session-login", r#"{"user":{"id":"zoe"},"n":"text"}"#)]).await.unwrap();
        let before = browser.record().await;
        let faults: &[&[(&str, &str)]] = &[
            &[("session-update", r#"{"m":1}"#), ("session-increment", r#"{"n":1}"#)],
            &[("session-increment", r#"{"user":1}"#)],
            &[("session-login", r#"{"n":[]}"#), ("session-increment", r#"{"n":1}"#)],
        ];
        for lines in faults {
            let fault = browser.obey(lines).await.unwrap_err();
            assert!(
                matches!(fault, Disobedience::Fault(CommandFault { header: "session-increment", .. })),
                "{fault:?}"
            );
            assert_eq!(browser.record().await, before);
        }
        // As deep as a command may be; the record around it may not.
        let deep = format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64));
        let outcome = browser.obey(&[("session-update", &deep)]).await;
        assert!(outcome.is_ok() || matches!(outcome, Err(Disobedience::Fault(_))), "{outcome:?}");
        assert!(browser.record().await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn parallel_increments_lose_nothing() {
    on_each(async |mut browser| {
        browser.obey(&[("session-login", r#"{"user":{"id":"zoe"},"big":9007199254740993}"#)]).await.unwrap();
        let presented = browser.sessions.identify(&browser.jar, false, Activity::Counts, W).await.presented.unwrap();
        let sessions = std::sync::Arc::new(browser.sessions);
        let mut increments = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (sessions, presented) = (sessions.clone(), presented.clone());
            increments.spawn(async move {
                let one = commands(&[("session-increment", r#"{"big":1,"in":{"side":2}}"#)]);
                assert_eq!(sessions.obey(&one, Some(&presented), None, false, W).await, Ok(vec![]));
            });
        }
        increments.join_all().await;
        let Verdict::Known(session) = sessions.identify(&browser.jar, false, Activity::Counts, W).await.verdict else {
            panic!("known")
        };
        assert_eq!(session.record.member("big"), Some(&Value::Integer("9007199254741043".into())));
        assert!(json::write(&session.record).contains(r#""in":{"side":100}"#));
    })
    .await;
}

#[tokio::test]
async fn cookies_are_set_as_the_format_has_them() {
    let mut browser = Browser::new(onedoor(), store(None));
    let login = [("session-login", r#"{"user":{"id":1}}"#)];
    let set = browser.obey(&login).await.unwrap();
    assert!(set[0].starts_with("onedoor=") && set[0].ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{set:?}");
    assert_eq!(set[0].len(), "onedoor=; HttpOnly; SameSite=Lax; Path=/".len() + 43);
    browser.https = true;
    let set = browser.obey(&login).await.unwrap();
    assert!(
        set[0].starts_with("__Host-onedoor=") && set[0].ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"),
        "{set:?}"
    );
    let mut strict = config(onedoor());
    strict.same_site = Some(SameSite::Strict);
    browser.sessions = Arc::new(Sessions::compile(&strict, store(None), &Metrics::new(1)));
    assert!(browser.obey(&login).await.unwrap()[0].contains("; SameSite=Strict; "));
    let mut browser = Browser::new(express(&[SECRET]), store(None));
    let set = browser.obey(&login).await.unwrap();
    assert!(set[0].starts_with("connect.sid=s%3A") && set[0].ends_with("; HttpOnly; Path=/"), "{set:?}");
}

#[tokio::test]
async fn records_are_written_with_the_formats_key_and_time_to_live() {
    let server = Server::start(&[]);
    let login = [("session-login", r#"{"user":{"id":1}}"#)];
    for (format, ttl) in [(express(&[SECRET]), 86_400), (onedoor(), 3600)] {
        server.cli(&["flushall"]);
        let mut browser = Browser::new(format, store(Some(&server)));
        browser.obey(&login).await.unwrap();
        let key = server.cli(&["keys", "sess:*"]);
        let left: i64 = server.cli(&["ttl", &key]).parse().unwrap();
        assert!(left <= ttl && left > ttl - 10, "{key} {left}");
        browser.obey(&[("session-update", r#"{"a":1}"#)]).await.unwrap();
        let left: i64 = server.cli(&["ttl", &key]).parse().unwrap();
        assert!(left <= ttl && left > ttl - 10, "{key} {left}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_an_outage() {
    let mut server = Server::start(&[]);
    let mut browser = Browser::new(onedoor(), store(Some(&server)));
    browser.obey(&[("session-login", r#"{"user":{"id":1}}"#)]).await.unwrap();
    let presented = browser.sessions.identify(&browser.jar, false, Activity::Counts, W).await.presented;
    server.kill();
    let down = clock::now();
    let logout = commands(&[("session-logout", "this")]);
    let answer = browser.sessions.obey(&logout, presented.as_ref(), None, false, W).await;
    assert!(matches!(answer, Err(Disobedience::Outage(_))), "{answer:?}");
    assert!(down.elapsed() < Duration::from_secs(4));
}
