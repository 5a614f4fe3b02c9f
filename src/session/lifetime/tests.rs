//! Ages and idle times on a clock that the test sets; the store is the real one in memory.

use super::*;
use crate::{
    config::path::RecordPath,
    redis::server::Server,
    session::{
        tests::{SECRET, W, config, express, store},
        value::json,
    },
};

const NOW: Duration = Duration::from_secs(1_795_216_700);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const KEY: &str = "sess:one";

fn lifetime(limits: session::Lifetime) -> Lifetime {
    let mut config = config(express(&[SECRET]));
    config.lifetime = limits;
    Lifetime::compile(&config).expect("something is limited")
}

fn path(text: &str) -> Option<StartedAt> {
    Some(StartedAt::Path(RecordPath::parse(text).unwrap()))
}

/// One gateway's view of the session in a store.
struct Door<'a> {
    lifetime: Lifetime,
    store: &'a Store,
    user: &'static str,
    remaining: Option<Duration>,
}

impl<'a> Door<'a> {
    fn new(limits: session::Lifetime, store: &'a Store) -> Self {
        Self { lifetime: lifetime(limits), store, user: "zoe", remaining: Some(HOUR) }
    }

    async fn ask(
        &self,
        now: Duration,
        record: &str,
        activity: Activity,
    ) -> Result<Result<Option<Duration>, Absence>, Outage> {
        let mark_key = self.lifetime.mark_key(KEY);
        let reading = self.store.read_whole(W, KEY, [mark_key.as_deref(), None]).await?;
        self.lifetime.learn(KEY, self.remaining, &reading.beside[0], now);
        let data = json::read(record.as_bytes()).unwrap();
        let subject = Subject { key: KEY, user: self.user, data: &data, activity, now };
        self.lifetime.judge(subject, self.store, W).await
    }

    /// Uses the session.
    async fn visit(&self, now: Duration) -> Result<Option<Duration>, Absence> {
        self.ask(now, "{}", Activity::Counts).await.unwrap()
    }

    async fn pass_by(&self, now: Duration) -> Result<Option<Duration>, Absence> {
        self.ask(now, "{}", Activity::Ignored).await.unwrap()
    }

    async fn mark(&self) -> Option<Mark> {
        match self.store.read(W, "onedoor:mark:{sess:one}").await.unwrap() {
            Record::Present(text) => Mark::read(&text),
            _ => None,
        }
    }
}

#[test]
fn nothing_is_judged_where_nothing_is_limited() {
    assert!(Lifetime::compile(&config(express(&[SECRET]))).is_none());
}

#[tokio::test]
async fn the_age_counts_from_the_login_time_however_the_app_writes_it() {
    let store = store(None);
    let door =
        Door::new(session::Lifetime { max_age: Some(HOUR), started_at: path("at"), ..Default::default() }, &store);
    let judge = async |at: &str, now| door.ask(now, &format!(r#"{{"at":{at}}}"#), Activity::Counts).await.unwrap();
    for at in [
        "1795216700",
        "1795216700000",
        "1795216700.0",
        "\"1795216700\"",
        "\"2026-11-20T23:18:20Z\"",
        "\"2026-11-21T00:18:20.000+01:00\"",
    ] {
        assert_eq!(judge(at, NOW).await, Ok(Some(NOW)), "{at}");
        assert_eq!(judge(at, NOW + HOUR - MINUTE).await, Ok(Some(NOW)), "{at}");
        assert_eq!(judge(at, NOW + HOUR).await, Err(Absence::Expired), "{at}");
    }
    let future = (NOW + HOUR * 2).as_secs().to_string();
    for at in ["null", "\"yesterday\"", "\"\"", "true", "[]", "-1", "1795216700000000", "1e400", &future] {
        assert_eq!(judge(at, NOW).await, Err(Absence::NoStart), "{at}");
    }
    assert!(door.mark().await.is_none(), "the record tells enough");
}

#[tokio::test]
async fn the_age_counts_from_the_first_sight_of_a_user_under_an_id_by_any_gateway() {
    let store = store(None);
    let limits =
        session::Lifetime { max_age: Some(HOUR), started_at: Some(StartedAt::FirstSeen), ..Default::default() };
    let (one, mut two) = (Door::new(limits.clone(), &store), Door::new(limits, &store));
    assert_eq!(one.visit(NOW).await, Ok(Some(NOW)));
    assert_eq!(two.visit(NOW + MINUTE * 30).await, Ok(Some(NOW)));
    assert_eq!(one.visit(NOW + HOUR - MINUTE).await, Ok(Some(NOW)));
    assert_eq!(one.visit(NOW + HOUR).await, Err(Absence::Expired));
    assert_eq!(two.visit(NOW + HOUR).await, Err(Absence::Expired));
    two.user = "max";
    assert_eq!(two.visit(NOW + HOUR).await, Ok(Some(NOW + HOUR)), "another user");
    let reading = store.read_whole(W, "onedoor:mark:{sess:one}", [None; 2]).await.unwrap();
    assert!(reading.remaining.is_some_and(|left| left >= HOUR), "as long as the record at least");
    two.lifetime.forget(KEY, &store, W).await;
    assert_eq!(two.mark().await, None);
}

#[tokio::test]
async fn a_session_that_is_not_used_for_long_enough_is_over_everywhere() {
    let store = store(None);
    let limits = session::Lifetime { idle_timeout: Some(HOUR), ..Default::default() };
    let (one, two) = (Door::new(limits.clone(), &store), Door::new(limits.clone(), &store));
    assert_eq!(one.visit(NOW).await, Ok(None));
    assert_eq!(one.visit(NOW + MINUTE * 5).await, Ok(None));
    assert_eq!(one.mark().await.unwrap().used, NOW, "written at most every tenth");
    assert_eq!(one.visit(NOW + MINUTE * 7).await, Ok(None));
    assert_eq!(one.mark().await.unwrap().used, NOW + MINUTE * 7);
    assert_eq!(two.pass_by(NOW + MINUTE * 50).await, Ok(None), "seen, but not used");
    assert_eq!(one.mark().await.unwrap().used, NOW + MINUTE * 7);
    assert_eq!(one.visit(NOW + MINUTE * 66).await, Ok(None));
    assert_eq!(two.visit(NOW + MINUTE * 100).await, Ok(None), "the other's use counts here");
    assert_eq!(one.visit(NOW + MINUTE * 159).await, Ok(None));
    for door in [&one, &two] {
        assert_eq!(door.visit(NOW + MINUTE * 219).await, Err(Absence::Idle));
        assert_eq!(door.pass_by(NOW + MINUTE * 219).await, Err(Absence::Idle), "asking does not help");
    }
    let three = Door::new(limits, &store);
    assert_eq!(three.pass_by(NOW + MINUTE * 220).await, Err(Absence::Idle), "a restart does not help");
    one.lifetime.forget(KEY, &store, W).await;
    assert_eq!(three.pass_by(NOW + MINUTE * 220).await, Ok(None), "no mark: used now");
    assert_eq!(three.pass_by(NOW + MINUTE * 280).await, Err(Absence::Idle), "and not used since");
}

#[tokio::test]
async fn a_mark_does_not_end_before_its_record_though_the_app_renews_that_later() {
    let store = store(None);
    let mut door = Door::new(session::Lifetime { idle_timeout: Some(HOUR), ..Default::default() }, &store);
    let left = async || store.read_whole(W, "onedoor:mark:{sess:one}", [None; 2]).await.unwrap().remaining.unwrap();
    door.remaining = Some(HOUR * 24);
    door.visit(NOW).await.unwrap();
    door.remaining = Some(MINUTE);
    door.visit(NOW + MINUTE * 30).await.unwrap();
    assert!(left().await > HOUR * 24);
    door.remaining = None;
    door.visit(NOW + MINUTE * 60).await.unwrap();
    assert!(left().await > HOUR * 24 * 365);
}

#[tokio::test]
async fn a_record_is_renewed_as_the_app_would_and_rarely() {
    let server = Server::start(&[]);
    let store = store(Some(&server));
    let limits = session::Lifetime { touch: Touch::Auto { ttl: Some(HOUR) }, ..Default::default() };
    let visit = async |door: &Lifetime, record: &str, now, activity| {
        let data = json::read(record.as_bytes()).unwrap();
        let subject = Subject { key: KEY, user: "zoe", data: &data, activity, now };
        door.judge(subject, &store, W).await.unwrap().unwrap();
    };
    let left = || server.cli(&["ttl", KEY]).parse::<i64>().unwrap();
    let door = lifetime(limits.clone());
    server.cli(&["set", KEY, "x", "ex", "3590"]);
    visit(&door, "{}", NOW, Activity::Counts).await;
    assert!(left() <= 3590, "not due");
    visit(&door, "{}", NOW + MINUTE, Activity::Ignored).await;
    assert!(left() <= 3590, "no use");
    visit(&door, "{}", NOW + MINUTE, Activity::Counts).await;
    assert!(left() > 3590);
    server.cli(&["expire", KEY, "600"]);
    visit(&door, "{}", NOW + MINUTE + MINUTE / 2, Activity::Counts).await;
    assert!(left() <= 600, "not again within a minute");
    let cookie = |limit| format!(r#"{{"cookie":{{"originalMaxAge":{limit}}}}}"#);
    visit(&lifetime(limits.clone()), &cookie("7199001"), NOW, Activity::Counts).await;
    assert!(left() > 7190, "the record's own lifetime counts first");
    visit(&lifetime(limits.clone()), &cookie("null"), NOW, Activity::Counts).await;
    assert!(left() > 7190, "never shorter");
    server.cli(&["persist", KEY]);
    visit(&lifetime(limits), "{}", NOW, Activity::Counts).await;
    assert_eq!(left(), -1, "what does not expire stays so");
}

#[tokio::test]
async fn without_the_store_an_idle_time_is_not_enforced_and_an_age_only_where_it_is_known() {
    let mut server = Server::start(&[]);
    let store = store(Some(&server));
    let idle = Door::new(session::Lifetime { idle_timeout: Some(HOUR), ..Default::default() }, &store);
    let age = session::Lifetime { max_age: Some(HOUR), started_at: Some(StartedAt::FirstSeen), ..Default::default() };
    let (known, unknown) = (Door::new(age.clone(), &store), Door::new(age, &store));
    known.visit(NOW).await.unwrap();
    idle.visit(NOW).await.unwrap();
    server.kill();
    let data = json::read(b"{}").unwrap();
    let ask = async |door: &Door<'_>, now| {
        let subject = Subject { key: KEY, user: "zoe", data: &data, activity: Activity::Counts, now };
        door.lifetime.judge(subject, &store, W).await
    };
    assert_eq!(ask(&idle, NOW + HOUR * 2).await, Ok(Ok(None)));
    assert_eq!(ask(&known, NOW + MINUTE * 30).await, Ok(Ok(Some(NOW))));
    assert_eq!(ask(&known, NOW + HOUR).await, Ok(Err(Absence::Expired)));
    assert!(ask(&unknown, NOW).await.is_err());
}
