//! What every store must do, run on each of them.

use super::*;
use crate::redis::server::Server;
use std::convert::Infallible;

const W: Worker = Worker(0);
const MINUTE: Duration = Duration::from_secs(60);

fn memory() -> Store {
    Store(Kind::Memory(Arc::default()))
}

fn redis(server: &Server) -> Store {
    let store = store::Store::uncached(store::Url::Redis(server.config()), Duration::from_secs(2));
    Store::compile(&store, &Workers::current(), &Metrics::new(1))
}

/// Runs a promise on both stores.
async fn on_each(promise: impl AsyncFn(Store)) {
    promise(memory()).await;
    let server = Server::start(&[]);
    promise(redis(&server)).await;
}

fn replace(new: &'static str) -> impl FnMut(&[u8]) -> Result<Option<Bytes>, Infallible> {
    move |_| Ok(Some(new.into()))
}

#[tokio::test]
async fn a_created_record_is_read_with_its_time_left_until_deleted() {
    on_each(async |store| {
        assert_eq!(store.read(W, "k").await, Ok(Record::Absent));
        assert_eq!(store.create(W, "k", "v\0\u{ff}".into(), MINUTE).await, Ok(true));
        assert_eq!(store.read(W, "k").await, Ok(Record::Present("v\0\u{ff}".into())));
        let Reading { record, remaining, beside, from: _ } = store.read_whole(W, "k", [None; 2]).await.unwrap();
        assert_eq!(record, Record::Present("v\0\u{ff}".into()));
        assert_eq!(beside, [Record::Absent, Record::Absent]);
        let is_whole = |left: Duration| left <= MINUTE && left > MINUTE / 2;
        assert!(remaining.is_some_and(is_whole));
        assert!(store.remaining(W, "k").await.unwrap().is_some_and(|left| left.is_some_and(is_whole)));
        assert_eq!(store.remaining(W, "none").await, Ok(None));
        assert_eq!(store.delete(W, "k").await, Ok(true));
        assert_eq!(store.delete(W, "k").await, Ok(false));
        assert_eq!(store.read(W, "k").await, Ok(Record::Absent));
        assert_eq!(store.read_whole(W, "k", [None; 2]).await.unwrap().record, Record::Absent);
    })
    .await;
}

#[tokio::test]
async fn a_roster_names_each_record_once_until_it_is_struck_off() {
    on_each(async |store| {
        for key in ["a", "b", "c", "a"] {
            assert_eq!(store.enlist(W, "roster", key, MINUTE).await, Ok(Vec::new()), "nothing is there for long");
        }
        let mut all = store.enlisted(W, "roster").await.unwrap();
        all.sort_unstable();
        assert_eq!(all, ["a", "b", "c"]);
        store.strike(W, "roster", &["a".to_owned(), "c".to_owned(), "x".to_owned()]).await.unwrap();
        assert_eq!(store.enlisted(W, "roster").await.unwrap(), ["b"]);
        let left = store.remaining(W, "roster").await.unwrap().flatten();
        assert!(left.is_some_and(|left| left > MINUTE / 2));
        assert!(store.enlisted(W, "other").await.unwrap().is_empty());
        store.strike(W, "other", &[]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_lies_beside_a_record_is_read_with_it_and_written_over() {
    on_each(async |store| {
        store.write(W, "one", "1".into(), MINUTE).await.unwrap();
        store.write(W, "one", "2".into(), MINUTE * 2).await.unwrap();
        let reading = store.read_whole(W, "k", [Some("one"), Some("two")]).await.unwrap();
        assert_eq!(reading.record, Record::Absent);
        assert_eq!(reading.beside, [Record::Present("2".into()), Record::Absent]);
        let left = store.read_whole(W, "one", [None; 2]).await.unwrap().remaining;
        assert!(left.is_some_and(|left| left > MINUTE));
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_taken_is_not_created_again() {
    on_each(async |store| {
        assert_eq!(store.create(W, "k", "one".into(), MINUTE).await, Ok(true));
        assert_eq!(store.create(W, "k", "two".into(), MINUTE).await, Ok(false));
        assert_eq!(store.read(W, "k").await, Ok(Record::Present("one".into())));
    })
    .await;
}

#[tokio::test]
async fn an_expired_record_is_not_there() {
    on_each(async |store| {
        store.create(W, "k", "v".into(), Duration::from_millis(40)).await.unwrap();
        let begun = clock::now();
        while store.read(W, "k").await != Ok(Record::Absent) {
            assert!(begun.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(store.renew(W, "k", MINUTE).await, Ok(false));
        assert_eq!(store.update(W, "k", replace("new")).await, Ok(Updated::Gone));
        assert_eq!(store.read(W, "k").await, Ok(Record::Absent));
        assert_eq!(store.create(W, "k", "w".into(), MINUTE).await, Ok(true));
    })
    .await;
}

#[tokio::test]
async fn renewing_moves_the_end_and_never_makes_a_record() {
    on_each(async |store| {
        assert_eq!(store.renew(W, "k", MINUTE).await, Ok(false));
        store.create(W, "k", "v".into(), MINUTE).await.unwrap();
        assert_eq!(store.renew(W, "k", MINUTE * 3).await, Ok(true));
        let left = async || store.read_whole(W, "k", [None; 2]).await.unwrap().remaining.unwrap();
        assert!(left().await > MINUTE * 2);
        assert_eq!(store.renew(W, "k", MINUTE).await, Ok(false), "never shorter");
        assert!(left().await > MINUTE * 2);
    })
    .await;
}

#[tokio::test]
async fn an_update_keeps_the_time_left_and_never_makes_a_record() {
    on_each(async |store| {
        assert_eq!(store.update(W, "k", replace("new")).await, Ok(Updated::Gone));
        assert_eq!(store.read(W, "k").await, Ok(Record::Absent));
        store.create(W, "k", "old".into(), MINUTE).await.unwrap();
        assert_eq!(store.update(W, "k", replace("new")).await, Ok(Updated::Done));
        let Reading { record, remaining, .. } = store.read_whole(W, "k", [None; 2]).await.unwrap();
        assert_eq!(record, Record::Present("new".into()));
        assert!(remaining.is_some_and(|left| left <= MINUTE && left > MINUTE / 2));
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    on_each(async |store| {
        store.create(W, "k", "old".into(), MINUTE).await.unwrap();
        assert_eq!(store.update(W, "k", |_| Err("no")).await, Err(NotUpdated::Refused("no")));
        assert_eq!(store.update(W, "k", |_| Ok::<_, Infallible>(None)).await, Ok(Updated::Gone));
        assert_eq!(store.read(W, "k").await, Ok(Record::Present("old".into())));
    })
    .await;
}

#[tokio::test]
async fn parallel_updates_lose_nothing() {
    on_each(async |store| {
        store.create(W, "k", "0".into(), MINUTE).await.unwrap();
        let mut updates = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let store = store.clone();
            updates.spawn(async move {
                let add_one = |bytes: &[u8]| {
                    let count: u32 = std::str::from_utf8(bytes).unwrap().parse().unwrap();
                    Ok::<_, Infallible>(Some((count + 1).to_string().into()))
                };
                assert_eq!(store.update(W, "k", add_one).await, Ok(Updated::Done));
            });
        }
        updates.join_all().await;
        assert_eq!(store.read(W, "k").await, Ok(Record::Present("100".into())));
    })
    .await;
}

#[tokio::test]
async fn a_record_that_ends_during_an_update_stays_ended() {
    let server = Server::start(&[]);
    let store = redis(&server);
    store.create(W, "k", "old".into(), MINUTE).await.unwrap();
    let change = |_: &[u8]| {
        server.cli(&["del", "k"]);
        Ok::<_, Infallible>(Some("new".into()))
    };
    assert_eq!(store.update(W, "k", change).await, Ok(Updated::Gone));
    assert_eq!(server.cli(&["exists", "k"]), "0");
}

#[tokio::test]
async fn what_cannot_be_a_record_is_unreadable_and_no_outage() {
    let server = Server::start(&[]);
    let store = redis(&server);
    server.cli(&["rpush", "list", "x"]);
    server.cli(&["setrange", "long", "1048576", "x"]);
    server.cli(&["set", "empty", ""]);
    for key in ["list", "long"] {
        assert!(matches!(store.read(W, key).await, Ok(Record::Unreadable(_))), "{key}");
        let reading = store.read_whole(W, key, [None; 2]).await.unwrap();
        assert!(matches!(reading.record, Record::Unreadable(_)), "{key}");
        assert_eq!(store.update(W, key, replace("new")).await, Ok(Updated::Gone), "{key}");
    }
    assert_eq!(store.read(W, "empty").await, Ok(Record::Absent));
    assert_eq!(server.cli(&["type", "list"]), "list");
    let begun = clock::now();
    while store.degraded() {
        assert!(begun.elapsed() < MINUTE, "an unreadable record is no outage");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_store_that_is_missing_is_degraded_and_an_outage() {
    let mut server = Server::start(&[]);
    server.kill();
    let store = redis(&server);
    assert!(store.degraded());
    assert!(store.read(W, "k").await.is_err());
    assert!(matches!(store.update(W, "k", replace("new")).await, Err(NotUpdated::Outage(_))));
    assert!(!memory().degraded());
}
