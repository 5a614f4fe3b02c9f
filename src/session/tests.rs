//! From Cookie headers and records to verdicts.

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
        (r#"{"user":{"id":"42"}}"#, Some("42")),
        (r#"{"user":{"id":9007199254740993}}"#, Some("9007199254740993")),
        (r#"{"user":{"id":0}}"#, Some("0")),
        (r#"{"user":{"id":""},"passport":{"user":7}}"#, Some("7")),
        (r#"{"user":{},"passport":{"user":{"id":"x"}}}"#, Some("x")),
        (r#"{"user":{"id":true}}"#, None),
        (r#"{"user":{"id":1.5}}"#, None),
        (r#"{"user":{"id":null}}"#, None),
        (r#"{"user":{"id":["42"]}}"#, None),
        (r#"{"user":"42"}"#, None),
        (r#"{"passport":{}}"#, None),
        (r#"{}"#, None),
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
        let record = format!(r#"{{"user":{{"id":1}},"roles":{roles}}}"#);
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
    let anonymous = sessions.plant("anonymous", "{}").await;
    assert_eq!(judge(&["connect.sid=x", &anonymous, &signed]).await, Absence::Anonymous);
}

#[tokio::test]
async fn of_several_cookies_the_first_with_a_user_counts_and_is_the_only_one_forwarded() {
    let sessions = sessions(express(&[SECRET]));
    let anonymous = sessions.plant("anonymous", "{}").await;
    let zoe = sessions.plant("zoe", r#"{"user":{"id":"zoe"}}"#).await;
    let max = sessions.plant("max", r#"{"user":{"id":"max"}}"#).await;
    let first = format!("a=b; connect.sid=forged; novalue; {anonymous}");
    let second = format!("{zoe}; {max}");
    let identified = sessions.identify(&cookies(&[&first, &second]), false, Activity::Counts, W).await;
    assert_eq!(user(&identified), Some("zoe"));
    assert_eq!(identified.presented, Some(SessionId::new("zoe")));
    assert_eq!(identified.edits, [CookieEdit { name: "connect.sid".into(), keep: Keep::Only(4) }]);
    let identified = sessions.identify(&cookies(&[&first]), false, Activity::Counts, W).await;
    assert_eq!((user(&identified), identified.edits.len()), (None, 0));
    assert_eq!(identified.presented, Some(SessionId::new("anonymous")));
}

#[tokio::test]
async fn a_cookie_that_does_not_verify_never_reaches_the_store_and_of_those_that_do_only_eight() {
    let mut server = Server::start(&[]);
    let sessions = Arc::new(Sessions::compile(&config(express(&[SECRET])), store(Some(&server)), &Metrics::new(1)));
    let zoe = sessions.plant("zoe", r#"{"user":{"id":"zoe"}}"#).await;
    let forged = vec!["connect.sid=s:x.y"; 100].join("; ");
    let asked = |server: &Server| {
        let stats = server.cli(&["info", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_getrange")).unwrap_or("calls=0,").to_owned();
        line.split(['=', ',']).nth(1).unwrap().parse::<u32>().unwrap()
    };
    let identified = sessions.identify(&cookies(&[&forged]), false, Activity::Counts, W).await;
    assert_eq!((absence(identified), asked(&server)), (Absence::BadSignature, 0));
    let signed: Vec<_> =
        (0..20).map(|n| format!("connect.sid={}", sessions.sign(&SessionId::new(format!("{n}"))))).collect();
    let many = signed.join("; ");
    let identified = sessions.identify(&cookies(&[&many, &zoe]), false, Activity::Counts, W).await;
    assert_eq!((absence(identified), asked(&server)), (Absence::NotFound, 8));
    assert_eq!(user(&sessions.identify(&cookies(&[&forged, &zoe]), false, Activity::Counts, W).await), Some("zoe"));
    server.kill();
    assert!(matches!(
        sessions.identify(&cookies(&[&forged]), false, Activity::Counts, W).await.verdict,
        Verdict::Absent(_)
    ));
    let identified = sessions.identify(&cookies(&[&zoe]), false, Activity::Counts, W).await;
    assert!(matches!(identified.verdict, Verdict::Unknown(_)) && identified.edits.is_empty());
}

#[tokio::test]
async fn a_cookie_that_stays_at_the_gateway_is_cut_on_every_rule() {
    let mut config = config(express(&[SECRET]));
    config.forward_cookie = false;
    let sessions = Arc::new(Sessions::compile(&config, store(None), &Metrics::new(1)));
    let zoe = sessions.plant("zoe", r#"{"user":{"id":"zoe"}}"#).await;
    let cut = [CookieEdit { name: "connect.sid".into(), keep: Keep::Nothing }];
    assert_eq!(sessions.identify(&cookies(&[&zoe]), false, Activity::Counts, W).await.edits, cut);
    assert_eq!(sessions.strip_edits(&cookies(&["connect.sid=x"]), false), cut);
    assert_eq!(sessions.strip_edits(&cookies(&["a=b"]), false), []);
    assert_eq!(sessions.identify(&cookies(&["a=b"]), false, Activity::Counts, W).await.edits, []);
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
async fn a_name_that_an_app_trims_to_the_sessions_does_not_get_past_a_valid_cookie() {
    let sessions = sessions(express(&["keyboard cat"]));
    let signed = |id: &str| sessions.sign(&SessionId::new(id));
    sessions.store.create(W, "sess:a", r#"{"user":{"id":"a"}}"#.into(), Duration::from_secs(60)).await.unwrap();
    for planted in [&b"\xa0connect.sid="[..], b"=connect.sid=", b"= connect.sid ="] {
        let line = [planted, signed("b").as_bytes(), b"; connect.sid=", signed("a").as_bytes()].concat();
        let headers = HeaderMap::from_iter([(http::header::COOKIE, http::HeaderValue::from_bytes(&line).unwrap())]);
        let identified = sessions.identify(&headers, false, Activity::Counts, W).await;
        assert_eq!(identified.edits.first().map(|edit| edit.keep.clone()), Some(Keep::Only(1)), "{planted:?}");
    }
}

#[tokio::test]
async fn where_nothing_is_limited_and_nothing_can_be_revoked_a_look_up_is_one_command() {
    let server = Server::start(&[]);
    let sessions = Arc::new(Sessions::compile(&config(express(&[SECRET])), store(Some(&server)), &Metrics::new(1)));
    let zoe = sessions.plant("zoe", r#"{"user":{"id":"zoe"}}"#).await;
    server.cli(&["config", "resetstat"]);
    assert_eq!(user(&sessions.identify(&cookies(&[&zoe]), false, Activity::Counts, W).await), Some("zoe"));
    let stats = server.cli(&["info", "commandstats"]);
    let asked = |name: &str| stats.lines().any(|line| line.starts_with(&format!("cmdstat_{name}:")));
    assert!(asked("getrange") && !["pttl", "get", "set", "exists", "pexpire"].into_iter().any(asked), "{stats}");
}

#[tokio::test]
async fn a_revoked_session_is_refused_by_every_gateway_though_its_record_is_there() {
    let store = store(None);
    let mut config = config(express(&[SECRET]));
    config.revocable = true;
    let gateway = || Arc::new(Sessions::compile(&config, store.clone(), &Metrics::new(1)));
    let (one, two) = (gateway(), gateway());
    let zoe = one.plant("zoe", r#"{"user":{"id":"zoe"}}"#).await;
    let max = one.plant("max", r#"{"user":{"id":"max"}}"#).await;
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
async fn cookies_that_nobody_looked_up_do_not_pass_as_anonymous() {
    let sessions = sessions(express(&[SECRET]));
    let signed: Vec<_> =
        (0..10).map(|n| format!("connect.sid={}", sessions.sign(&SessionId::new(format!("{n}"))))).collect();
    let identified = sessions.identify(&cookies(&[&signed.join("; ")]), false, Activity::Counts, W).await;
    assert_eq!(identified.edits, [CookieEdit { name: "connect.sid".into(), keep: Keep::AllBut(vec![8, 9]) }]);
}

#[tokio::test]
async fn a_signature_in_a_second_cookie_is_forwarded_with_its_cookie_or_not_at_all() {
    let mut config = config(FormatConfig::Koa { secrets: vec![Secret::new("koa key one")] });
    config.cookie = Some("koa.sid".to_owned());
    let sessions = Arc::new(Sessions::compile(&config, store(None), &Metrics::new(1)));
    let record = r#"{"user":{"id":"zoe"}}"#;
    let minute = Duration::from_secs(60);
    sessions.store.create(W, "sess:gtw81HCzReIIx1XuA2ovipK_tzasDqEZ", record.into(), minute).await.unwrap();
    let signed = "koa.sid=gtw81HCzReIIx1XuA2ovipK_tzasDqEZ; koa.sid.sig=EofcuBuKCgHUhAvqVs3lCitaS8s";
    let line = format!("koa.sid.sig=forged; koa.sid=planted; {signed}; koa.sid=late");
    let identified = sessions.identify(&cookies(&[&line]), false, Activity::Counts, W).await;
    assert_eq!(user(&identified), Some("zoe"));
    let edit = |name: &str, keep| CookieEdit { name: name.into(), keep };
    assert_eq!(identified.edits, [edit("koa.sid", Keep::Only(2)), edit("koa.sid.sig", Keep::Only(3))]);
    let alone =
        sessions.identify(&cookies(&["koa.sid=gtw81HCzReIIx1XuA2ovipK_tzasDqEZ"]), false, Activity::Counts, W).await;
    assert_eq!(absence(alone), Absence::BadSignature);

    config.forward_cookie = false;
    let sessions = Arc::new(Sessions::compile(&config, store(None), &Metrics::new(1)));
    let cut = [edit("koa.sid", Keep::Nothing), edit("koa.sid.sig", Keep::Nothing)];
    assert_eq!(sessions.strip_edits(&cookies(&[signed]), false), cut);
}

/// PHP, Koa, Rails and Go keep the white space in the name or the value; some read a name alone as a cookie without a
/// value. The gateway knows nobody whom the app does not, and the app sees the cookie that counts and no other.
#[tokio::test]
async fn a_cookie_that_its_app_reads_otherwise_does_not_count() {
    let id = "tguhmhqrj7vmmerqqf19q0fpin";
    let mut php = config(FormatConfig::Php { serializer: config::session::Serializer::Auto });
    php.cookie = Some("PHPSESSID".to_owned());
    let php = Arc::new(Sessions::compile(&php, store(None), &Metrics::new(1)));
    let record = "user|a:1:{s:2:\"id\";i:7;}";
    php.store.create(W, &format!("sess:{id}"), record.into(), Duration::from_secs(60)).await.unwrap();
    let express = sessions(express(&[SECRET]));
    express.plant(id, r#"{"user":{"id":7}}"#).await;
    let judge = async |sessions: &Arc<Sessions>, line: &str| {
        let identified = sessions.identify(&cookies(&[line]), false, Activity::Counts, W).await;
        (user(&identified).map(str::to_owned), identified.edits.into_iter().map(|edit| edit.keep).collect::<Vec<_>>())
    };
    let known = Some("7".to_owned());
    let (name, signed) = ("connect.sid", express.sign(&SessionId::new(id)));
    assert_eq!(judge(&php, &format!("a=b;  PHPSESSID={id}")).await, (known.clone(), vec![]));
    for spaced in [" =", "= ", "\t=", " = "] {
        assert_eq!(judge(&php, &format!("PHPSESSID{spaced}{id}")).await, (None, vec![]), "{spaced:?}");
        let both = format!("PHPSESSID{spaced}{id}; PHPSESSID={id}");
        assert_eq!(judge(&php, &both).await, (known.clone(), vec![Keep::Only(1)]), "{spaced:?}");
        assert_eq!(judge(&express, &format!("{name}{spaced}{signed}")).await, (known.clone(), vec![]), "{spaced:?}");
    }
    assert_eq!(judge(&php, &format!("PHPSESSID={id} ; a=b")).await, (None, vec![]));
    assert_eq!(judge(&php, &format!("PHPSESSID; PHPSESSID={id}")).await, (known.clone(), vec![Keep::Only(1)]));
    assert_eq!(judge(&express, &format!("{name} ; {name}={signed}")).await, (known, vec![Keep::Only(1)]));
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
    server.cli(&["hset", key, "lastAccessedTime", &now, "maxInactiveInterval", "1800", index, "\"zoe\""]);
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
