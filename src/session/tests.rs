//! From Cookie headers and records to verdicts.

mod cookies;
mod judged;

use super::{revocation::End, *};
use crate::{
    clock,
    config::{
        environment::Environment,
        session::{Format as FormatConfig, SetBy, preset::Preset},
    },
    redis::server::Server,
    secret::Secret,
    tasks::Workers,
};
use config::store::{self as store_config, Url};
use http::{HeaderValue, header::COOKIE};
use std::time::Duration;

pub(crate) const W: Worker = Worker(0);
pub(crate) const SECRET: &str = "keyboard cat";

/// A `[session]` with the format's defaults.
pub(crate) fn config(format: FormatConfig) -> config::session::Session {
    let is_express = matches!(format, FormatConfig::Express { .. });
    let path = |text: &str| RecordPath(text.split('.').map(str::to_owned).collect());
    config::session::Session {
        name: if is_express { "express" } else { "onedoor" }.to_owned(),
        format,
        preset: Preset::of(Some(if is_express { "express" } else { "onedoor" }), is_express),
        cookie: is_express.then(|| "connect.sid".to_owned()),
        prefix: "sess:".to_owned(),
        user: vec![path("user.id"), path("passport.user"), path("passport.user.id")],
        roles: Some(path("roles")),
        login: "/login".to_owned(),
        return_to: Some("return_to".to_owned()),
        forward_cookie: true,
        set_by: SetBy::Verified,
        harden: true,
        same_site: None,
        lifetime: config::session::Lifetime::default(),
        revocable: false,
        steered: false,
        deletion_is_final: false,
        namespace: "onedoor:".to_owned(),
        span: 0..0,
    }
}

pub(crate) fn express(secrets: &[&str]) -> FormatConfig {
    FormatConfig::Express {
        secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(),
        cookie_path: "/".to_owned(),
        cookie_domain: None,
        cookie_max_age: None,
    }
}

pub(crate) fn onedoor() -> FormatConfig {
    FormatConfig::Onedoor { ttl: Duration::from_secs(3600), max_age: Duration::from_secs(12 * 3600) }
}

/// A `[session]` as it is read from a file.
pub(super) fn read_section(lines: &str) -> config::session::Session {
    let text = format!("[store]\nurl = 'redis://h'\n[session]\n{lines}\n[[rules]]\ndest = 'http://a'\n");
    let loaded = config::read("gateway.toml", &text, &Environment::default());
    let shown = loaded.diagnostics.render(&loaded.source, false);
    let config = loaded.config.filter(|_| !loaded.diagnostics.has_errors());
    config.unwrap_or_else(|| panic!("{shown}")).sessions.remove(0)
}

/// A store in memory, or on a server if there is one.
pub(crate) fn store(server: Option<&Server>) -> Store {
    let url = server.map_or(Url::Memory, |server| Url::Redis(server.config()));
    let config = store_config::Store::uncached(url, Duration::from_secs(2));
    let workers = server.map_or(Workers::new(Vec::new()), |_| Workers::current());
    Store::compile(&config, &workers, &Metrics::new(1))
}

pub(crate) fn cookies(lines: &[&str]) -> HeaderMap {
    let value = |line: &&str| (COOKIE, HeaderValue::from_str(line).unwrap());
    lines.iter().map(value).collect()
}

impl Sessions {
    /// The cookie's value that proves `id`.
    pub(crate) fn sign(&self, id: &SessionId) -> String {
        self.format.own().expect("a format that the gateway writes").sign(id)
    }

    /// A record under `id`, and the cookie that names it.
    pub(crate) async fn plant(&self, id: &str, record: &str) -> String {
        let id = SessionId::new(id);
        let minute = Duration::from_secs(60);
        let key = self.format.key(&id);
        assert_eq!(self.store.create(W, &key, record.to_owned().into(), minute).await, Ok(true));
        format!("{}={}", self.format.cookie_name(false), self.sign(&id))
    }
}

fn sessions(format: FormatConfig) -> Arc<Sessions> {
    Arc::new(Sessions::compile(&config(format), store(None), &Metrics::new(1)))
}

fn user(identified: &Identified) -> Option<&str> {
    match &identified.verdict {
        Verdict::Known(session) => Some(&session.user),
        _ => None,
    }
}

fn absence(identified: Identified) -> Absence {
    match identified.verdict {
        Verdict::Absent(absence) => absence,
        verdict => panic!("{verdict:?}"),
    }
}

#[tokio::test]
async fn the_user_is_the_first_path_with_text_or_a_whole_number() {
    let sessions = sessions(express(&[SECRET]));
    let rows = [
        (r#"{"cookie":{},"user":{"id":"42"}}"#, Some("42")),
        (r#"{"cookie":{},"user":{"id":9007199254740993}}"#, Some("9007199254740993")),
        (r#"{"cookie":{},"user":{"id":0}}"#, Some("0")),
        (r#"{"cookie":{},"user":{"id":""},"passport":{"user":7}}"#, Some("7")),
        (r#"{"cookie":{},"user":{},"passport":{"user":{"id":"x"}}}"#, Some("x")),
        (r#"{"cookie":{},"user":{"id":true}}"#, None),
        (r#"{"cookie":{},"user":{"id":1.5}}"#, None),
        (r#"{"cookie":{},"user":{"id":null}}"#, None),
        (r#"{"cookie":{},"user":{"id":["42"]}}"#, None),
        (r#"{"cookie":{},"user":"42"}"#, None),
        (r#"{"cookie":{},"passport":{}}"#, None),
        (r#"{"cookie":{}}"#, None),
    ];
    for (number, (record, expected)) in rows.into_iter().enumerate() {
        let cookie = sessions.plant(&format!("id{number}"), record).await;
        let identified = sessions.identify(&cookies(&[&cookie]), false, Activity::Counts, W).await;
        assert_eq!(user(&identified), expected, "{record}");
        assert_eq!(identified.presented, Some(SessionId::new(format!("id{number}"))));
        assert_eq!(identified.edits, []);
        if expected.is_none() {
            assert_eq!(absence(identified), Absence::Anonymous);
        }
    }
}

#[tokio::test]
async fn roles_are_text_or_a_list_of_text_and_nothing_else() {
    let sessions = sessions(express(&[SECRET]));
    let rows: [(&str, &[&str]); 6] = [
        (r#""admin""#, &["admin"]),
        (r#"["a","b"]"#, &["a", "b"]),
        (r#"["a",1]"#, &[]),
        (r#"{"a":true}"#, &[]),
        ("7", &[]),
        ("null", &[]),
    ];
    for (number, (roles, expected)) in rows.into_iter().enumerate() {
        let record = format!(r#"{{"cookie":{{}},"user":{{"id":1}},"roles":{roles}}}"#);
        let cookie = sessions.plant(&format!("id{number}"), &record).await;
        let Verdict::Known(session) = sessions.identify(&cookies(&[&cookie]), false, Activity::Counts, W).await.verdict
        else {
            panic!("{roles}");
        };
        assert_eq!(session.roles, expected, "{roles}");
    }
}

#[tokio::test]
async fn what_is_no_session_says_why() {
    let sessions = sessions(express(&[SECRET]));
    let judge = async |lines: &[&str]| absence(sessions.identify(&cookies(lines), false, Activity::Counts, W).await);
    assert_eq!(judge(&[]).await, Absence::NoCookie);
    assert_eq!(judge(&["Connect.sid=x; other=y"]).await, Absence::NoCookie);
    assert_eq!(judge(&["connect.sid=x"]).await, Absence::Malformed);
    assert_eq!(judge(&["connect.sid=s:x.y"]).await, Absence::BadSignature);
    let signed = format!("connect.sid={}", sessions.sign(&SessionId::new("gone")));
    assert_eq!(judge(&[&signed]).await, Absence::NotFound);
    let null = sessions.plant("null", "null").await;
    assert_eq!(judge(&[&null]).await, Absence::NotFound);
    for (id, record) in
        [("list", "[]"), ("number", "7"), ("cut", "{\"a\":"), ("bom", "\u{feff}{}"), ("deep", &"[".repeat(9999))]
    {
        let cookie = sessions.plant(id, record).await;
        assert!(matches!(judge(&[&cookie]).await, Absence::Unreadable(_)), "{id}");
    }
    let anonymous = sessions.plant("anonymous", r#"{"cookie":{}}"#).await;
    assert_eq!(judge(&["connect.sid=x", &anonymous, &signed]).await, Absence::Anonymous);
}

#[tokio::test]
async fn the_gateways_own_sessions_have_a_name_per_scheme_and_are_renewed_and_ended() {
    let server = Server::start(&[]);
    let sessions = Arc::new(Sessions::compile(&config(onedoor()), store(Some(&server)), &Metrics::new(1)));
    let now = clock::since_epoch().as_millis();
    let record = |created: u128| format!(r#"{{"created":{created},"data":{{"user":{{"id":"zoe"}}}}}}"#);
    let id = "Z".repeat(43);
    let cookie = sessions.plant(&id, &record(now)).await;
    let identified = sessions.identify(&cookies(&[&cookie]), false, Activity::Counts, W).await;
    assert_eq!(user(&identified), Some("zoe"));
    // It was planted with a minute to live.
    let key = sessions.format.key(&SessionId::new(id.as_str()));
    assert!(server.cli(&["ttl", &key]).parse::<u32>().unwrap() > 3500);
    assert_eq!(absence(sessions.identify(&cookies(&[&cookie]), true, Activity::Counts, W).await), Absence::NoCookie);
    let secure = format!("__Host-{cookie}");
    assert_eq!(user(&sessions.identify(&cookies(&[&secure]), true, Activity::Counts, W).await), Some("zoe"));
    let old = sessions.plant(&"Y".repeat(43), &record(now - 12 * 3_600_000)).await;
    let identified = sessions.identify(&cookies(&[&old]), false, Activity::Counts, W).await;
    assert_eq!(identified.presented, None);
    assert_eq!(identified.edits, [CookieEdit { name: "onedoor".into(), keep: Keep::AllBut(vec![0]) }]);
    assert_eq!(absence(identified), Absence::Expired);
    assert!(sessions.owns_cookie(b"onedoor") && sessions.owns_cookie(b"__Host-onedoor") && !sessions.owns_cookie(b"x"));
}

#[tokio::test]
async fn where_nothing_is_limited_and_nothing_can_be_revoked_a_look_up_is_one_command() {
    let server = Server::start(&[]);
    let sessions = Arc::new(Sessions::compile(&config(express(&[SECRET])), store(Some(&server)), &Metrics::new(1)));
    let zoe = sessions.plant("zoe", r#"{"cookie":{},"user":{"id":"zoe"}}"#).await;
    server.cli(&["config", "resetstat"]);
    assert_eq!(user(&sessions.identify(&cookies(&[&zoe]), false, Activity::Counts, W).await), Some("zoe"));
    let stats = server.cli(&["info", "commandstats"]);
    let asked = |name: &str| stats.lines().any(|line| line.starts_with(&format!("cmdstat_{name}:")));
    assert!(asked("getrange") && !["pttl", "get", "set", "exists", "pexpire"].into_iter().any(asked), "{stats}");
}

#[test]
fn a_deletion_is_final_where_no_id_is_used_twice_and_the_store_tells_of_the_key() {
    let sections = [
        ("format = 'express'\nsecrets = 'keyboard cat'\nuser = 'id'", true),
        ("format = 'express'\nsecrets = 'keyboard cat'\nuser = 'id'\nprefix = ''", false),
        ("format = 'django'\nsecrets = 'keyboard cat'", true),
        ("format = 'tower'\nuser = 'id'", true),
        ("format = 'php'\nuser = 'id'", false),
        ("format = 'onedoor'", false),
    ];
    for (section, is_final) in sections {
        let sessions = Sessions::compile(&read_section(section), store(None), &Metrics::new(1));
        let found = (sessions.deletion_is_final, sessions.revocations.are_in_store());
        assert_eq!(found, (is_final, is_final), "{section}");
    }
}

#[tokio::test]
async fn a_revoked_session_is_refused_by_every_gateway_though_its_record_is_there() {
    let store = store(None);
    let mut config = config(express(&[SECRET]));
    config.revocable = true;
    let gateway = || Arc::new(Sessions::compile(&config, store.clone(), &Metrics::new(1)));
    let (one, two) = (gateway(), gateway());
    let zoe = one.plant("zoe", r#"{"cookie":{},"user":{"id":"zoe"}}"#).await;
    let max = one.plant("max", r#"{"cookie":{},"user":{"id":"max"}}"#).await;
    assert_eq!(user(&two.identify(&cookies(&[&zoe]), false, Activity::Counts, W).await), Some("zoe"));
    assert_eq!(two.strip_edits(&cookies(&[&zoe]), false), [], "not known to be over");
    one.revocations.revoke("sess:zoe", Some(Duration::from_secs(9)), &store, W).await.unwrap();
    // A read that began before may bring what was true then.
    for older in [None, Some(End::Over)] {
        one.revocations.note("sess:zoe", older);
        assert!(one.revocations.knows("sess:zoe"));
    }
    let edit = [CookieEdit { name: "connect.sid".into(), keep: Keep::AllBut(vec![1]) }];
    for (gateway, why) in [(&one, Absence::Revoked), (&two, Absence::Resurrected)] {
        let identified = gateway.identify(&cookies(&["a=b", &zoe]), false, Activity::Counts, W).await;
        assert_eq!((identified.presented.clone(), &identified.edits[..]), (None, &edit[..]));
        assert_eq!(absence(identified), why);
        assert_eq!(gateway.strip_edits(&cookies(&["a=b", &zoe]), false), edit);
        assert_eq!(gateway.presented_by_id(&cookies(&[&zoe]), false, W).await, None);
        let both = gateway.identify(&cookies(&[&zoe, &max]), false, Activity::Counts, W).await;
        assert_eq!((user(&both), both.edits.len()), (Some("max"), 1));
    }
    let life = store.read_whole(W, "onedoor:revoked:{sess:zoe}", [None; 2]).await.unwrap().remaining;
    assert!(life > Some(Duration::from_secs(3600)), "longer than a record that is written again: {life:?}");
}

#[tokio::test]
async fn a_record_that_is_a_hash_in_redis_is_read_whole() {
    let server = Server::start(&[]);
    let mut config = config(FormatConfig::Spring);
    config.cookie = Some("SESSION".to_owned());
    config.user = vec![RecordPath(vec!["principal_name".to_owned()])];
    let sessions = Arc::new(Sessions::compile(&config, store(Some(&server)), &Metrics::new(1)));
    let cookie = "SESSION=NThkMjYxMzktOGZiZS00NDEzLWI2ODktNmY3NjUwZTZmZjc4";
    let key = "sess:58d26139-8fbe-4413-b689-6f7650e6ff78";
    let judge = async || sessions.identify(&cookies(&[cookie]), false, Activity::Counts, W).await;
    assert_eq!(absence(judge().await), Absence::NotFound);
    let now = clock::since_epoch().as_millis().to_string();
    let index = "sessionAttr:org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME";
    server.cli(&[
        "hset",
        key,
        "creationTime",
        &now,
        "lastAccessedTime",
        &now,
        "maxInactiveInterval",
        "1800",
        index,
        "\"zoe\"",
    ]);
    assert_eq!(user(&judge().await), Some("zoe"));
    // As Spring leaves a session behind that was logged out.
    server.cli(&["hset", key, "maxInactiveInterval", "0"]);
    assert_eq!(absence(judge().await), Absence::Lapsed);
    server.cli(&["hset", key, "sessionAttr:long", &"x".repeat(120_000)]);
    for number in 0..9 {
        server.cli(&["hset", key, &format!("sessionAttr:{number}"), &"x".repeat(120_000)]);
    }
    assert_eq!(absence(judge().await), Absence::Unreadable("longer than 1 MiB, as no session should be"));
    server.cli(&["set", key, "text"]);
    assert!(matches!(absence(judge().await), Absence::Unreadable(_)));
}
