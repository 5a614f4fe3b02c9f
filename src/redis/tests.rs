//! Redis as it fails: never longer than the time limit, healed by itself, no answer to the wrong question.

use super::{server::Server, *};
use crate::clock;
use std::future::Future;
use tokio::time::sleep;

const TIMEOUT: Duration = Duration::from_millis(300);
/// A busy machine is late.
const SLACK: Duration = Duration::from_secs(5);
const W: Worker = Worker(0);

fn connect(server: &Server) -> Redis {
    Redis::open(&server.config(), Trust::Blind, None, TIMEOUT, &Workers::current(), &Metrics::new(1))
}

/// Waits for `condition`, at most ten seconds.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = clock::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: not within ten seconds");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn connected(server: &Server) -> Redis {
    let redis = connect(server);
    until("connected", async || !redis.degraded()).await;
    redis
}

async fn is_outage_in_time(redis: &Redis) {
    let begun = clock::now();
    let answer = redis.read(W, "k", 100).await;
    assert!(matches!(answer, Err(Failure::Outage(_))), "{answer:?}");
    assert!(begun.elapsed() < TIMEOUT + SLACK, "{:?}", begun.elapsed());
}

async fn heals(redis: &Redis) {
    until("healed", async || redis.read(W, "k", 100).await.is_ok() && !redis.degraded()).await;
}

#[tokio::test]
async fn a_command_does_what_its_name_says() {
    let server = Server::start(&[]);
    let redis = connected(&server).await;
    let minute = Duration::from_secs(60);
    assert_eq!(redis.read(W, "k", 100).await, Ok(Bytes::new()));
    assert_eq!(redis.create(W, "k", "one".into(), minute).await, Ok(true));
    assert_eq!(redis.create(W, "k", "two".into(), minute).await, Ok(false));
    assert_eq!(redis.read(W, "k", 2).await, Ok("on".into()));
    redis.write(W, "beside", "mark".into(), minute).await.unwrap();
    let (value, remaining, beside) = redis.read_whole(W, "k", Shape::Text, [None, Some("beside")], 100).await.unwrap();
    assert_eq!((value, beside), ("one".into(), [Ok(Bytes::new()), Ok("mark".into())]));
    assert!(remaining.is_some_and(|left| left <= minute && left > minute / 2));
    assert_eq!(redis.swap(W, "k", "two".into(), "three".into()).await, Ok(Swap::Changed));
    assert_eq!(redis.swap(W, "k", "one".into(), "\0\u{ff}".into()).await, Ok(Swap::Done));
    assert_eq!(redis.read(W, "k", 100).await, Ok("\0\u{ff}".into()));
    assert!(server.cli(&["pttl", "k"]).parse::<i64>().unwrap() > 30_000);
    assert_eq!(redis.renew(W, "k", minute * 2).await, Ok(true));
    assert!(server.cli(&["pttl", "k"]).parse::<i64>().unwrap() > 90_000);
    assert_eq!(redis.delete(W, "k").await, Ok(true));
    assert_eq!(redis.delete(W, "k").await, Ok(false));
    assert_eq!(redis.renew(W, "k", minute).await, Ok(false));
    assert_eq!(redis.swap(W, "k", "one".into(), "two".into()).await, Ok(Swap::Gone));
    assert_eq!(server.cli(&["exists", "k"]), "0");
    server.cli(&["set", "forever", "x"]);
    let nothing = [Ok(Bytes::new()), Ok(Bytes::new())];
    assert_eq!(redis.read_whole(W, "forever", Shape::Text, [None; 2], 9).await, Ok(("x".into(), None, nothing)));
}

#[tokio::test]
async fn renewing_never_shortens_and_is_the_same_on_servers_that_know_no_options() {
    let server = Server::start(&[]);
    let redis = connected(&server).await;
    let minute = Duration::from_secs(60);
    let left = || server.cli(&["ttl", "k"]).parse::<i64>().unwrap();
    for by_script in [false, true] {
        let renew = async |key, ttl| match by_script {
            false => redis.renew(W, key, ttl).await,
            true => Ok(redis.renew_by_script(redis.link(W)?, key, ttl).await.unwrap() > 0),
        };
        server.cli(&["set", "k", "x", "ex", "90"]);
        server.cli(&["set", "forever", "x"]);
        assert_eq!(renew("k", minute).await, Ok(false), "by script: {by_script}");
        assert!((80..=90).contains(&left()));
        assert_eq!(renew("k", minute * 3).await, Ok(true), "by script: {by_script}");
        assert!((170..=180).contains(&left()));
        assert_eq!(renew("forever", minute).await, Ok(false), "by script: {by_script}");
        assert_eq!(server.cli(&["ttl", "forever"]), "-1");
        assert_eq!(renew("none", minute).await, Ok(false), "by script: {by_script}");
    }
    let error = |text: &'static str| Error::new(fred::error::ErrorKind::Unknown, text);
    assert!(knows_no_options(&error("ERR wrong number of arguments for 'pexpire' command")));
    assert!(!knows_no_options(&error("READONLY You can't write against a read only replica.")));
}

#[tokio::test]
async fn a_hash_comes_as_its_fields_and_values_or_is_too_long() {
    let server = Server::start(&[]);
    let redis = connected(&server).await;
    let read = async |bytes_max| {
        let found = redis.read_whole(W, "hash", Shape::Hash, [None; 2], bytes_max).await;
        found.map(|(packed, remaining, _)| (packed, remaining.is_some()))
    };
    assert_eq!(read(100).await, Ok((Bytes::new(), true)));
    server.cli(&["hset", "hash", "name", "zoe", "empty", ""]);
    let packed = b"\0\0\0\x04name\0\0\0\x03zoe\0\0\0\x05empty\0\0\0\0";
    for _ in 0..2 {
        assert_eq!(read(packed.len() + 1).await, Ok((packed[..].into(), false)));
        assert_eq!(read(packed.len()).await.map(|(packed, _)| packed.len()), Ok(packed.len()));
        server.cli(&["script", "flush"]);
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_no_outage() {
    let server = Server::start(&[]);
    let redis = connected(&server).await;
    server.cli(&["rpush", "list", "x"]);
    assert_eq!(redis.read(W, "list", 100).await, Err(Failure::WrongType));
    assert_eq!(redis.read_whole(W, "list", Shape::Text, [None; 2], 100).await, Err(Failure::WrongType));
    assert_eq!(redis.swap(W, "list", "x".into(), "y".into()).await, Err(Failure::WrongType));
    assert_eq!(redis.read_whole(W, "list", Shape::Hash, [None; 2], 100).await, Err(Failure::WrongType));
    assert!(!redis.degraded());
}

#[tokio::test]
async fn a_killed_server_is_an_outage_within_the_time_limit_and_heals() {
    let mut server = Server::start(&[]);
    let redis = connected(&server).await;
    server.kill();
    for _ in 0..3 {
        is_outage_in_time(&redis).await;
    }
    assert!(redis.degraded());
    server.restart();
    heals(&redis).await;
}

#[tokio::test]
async fn a_silent_server_is_an_outage_within_the_time_limit_and_heals() {
    let server = Server::start(&[]);
    let redis = connected(&server).await;
    server.pause();
    for _ in 0..4 {
        is_outage_in_time(&redis).await;
    }
    until("noticed", async || redis.read(W, "k", 100).await.is_err() && redis.degraded()).await;
    server.resume();
    heals(&redis).await;
}

#[tokio::test]
async fn a_server_that_was_never_there_is_found_once_it_comes() {
    let mut server = Server::start(&[]);
    server.kill();
    let redis = connect(&server);
    is_outage_in_time(&redis).await;
    assert!(redis.degraded());
    server.restart();
    heals(&redis).await;
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_is_an_outage_for_writing_until_it_is_none_any_more() {
    let server = Server::start(&[]);
    let redis = connected(&server).await;
    server.cli(&["replicaof", "127.0.0.1", "1"]);
    let begun = clock::now();
    let created = redis.create(W, "k", "one".into(), Duration::from_secs(60)).await;
    assert!(matches!(created, Err(Failure::Outage(_))), "{created:?}");
    assert!(begun.elapsed() < TIMEOUT + SLACK, "{:?}", begun.elapsed());
    server.cli(&["replicaof", "no", "one"]);
    until("healed", async || redis.create(W, "k", "one".into(), Duration::from_secs(60)).await == Ok(true)).await;
}

#[tokio::test]
async fn a_killed_connection_comes_back() {
    let server = Server::start(&[]);
    // A busy machine may take longer to connect than any time limit that is tested.
    let (workers, metrics) = (Workers::current(), Metrics::new(1));
    let redis = Redis::open(&server.config(), Trust::Blind, None, Duration::from_secs(20), &workers, &metrics);
    until("connected", async || !redis.degraded()).await;
    for _ in 0..5 {
        server.cli(&["client", "kill", "type", "normal"]);
        // Whoever asks waits for the next connection.
        assert_eq!(redis.read(W, "k", 100).await, Ok(Bytes::new()));
    }
    heals(&redis).await;
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_keeps_ours() {
    let server = Server::start(&["--timeout", "5"]);
    let health = Arc::new(Health::new(2, String::new()));
    let _link = Link::open(&server.config(), Trust::Blind, TIMEOUT, Duration::from_secs(1), &health);
    until("connected", async || !health.degraded()).await;
    let ids = || -> Vec<String> {
        let list = server.cli(&["client", "list"]);
        let ours = list.lines().filter(|line| !line.contains("cmd=client"));
        ours.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    };
    let (before, begun) = (ids(), clock::now());
    assert_eq!(before.len(), 2);
    until("longer than the server waits", async || begun.elapsed() > Duration::from_secs(8)).await;
    assert_eq!(ids(), before);
    assert!(!health.degraded());
}

#[tokio::test]
async fn a_server_that_refuses_is_an_outage_whose_text_holds_no_secret() {
    let server = Server::start(&["--requirepass", "right-horse"]);
    let mut config = server.config();
    config.password = Some(crate::secret::Secret::new("wrong-horse"));
    let redis = Redis::open(&config, Trust::Blind, None, TIMEOUT, &Workers::current(), &Metrics::new(1));
    let Err(Failure::Outage(text)) = redis.read(W, "k", 100).await else { panic!("an outage") };
    assert!(!text.contains("horse"), "{text}");
    server.cli(&["-a", "right-horse", "config", "set", "requirepass", "wrong-horse"]);
    heals(&redis).await;
}

#[tokio::test]
async fn writes_that_redis_refuses_are_outages_and_quote_nothing() {
    let server = Server::start(&["--maxmemory", "1"]);
    let redis = connected(&server).await;
    let answer = redis.create(W, "k", "secret-value".into(), TIMEOUT).await;
    assert_eq!(answer, Err(Failure::Outage("Redis answers OOM".to_owned())));
    server.cli(&["replicaof", "127.0.0.1", "1"]);
    let answer = redis.delete(W, "k").await;
    assert!(matches!(answer, Err(Failure::Outage(_))), "{answer:?}");
    server.cli(&["replicaof", "no", "one"]);
    server.cli(&["acl", "setuser", "default", "-getrange"]);
    until("refused", async || {
        matches!(redis.read(W, "secret-key", 9).await, Err(Failure::Outage(text)) if text == "Redis answers NOPERM")
    })
    .await;
}

#[tokio::test]
async fn acl_users_and_databases_are_used() {
    let server = Server::start(&[]);
    server.cli(&["acl", "setuser", "door", "on", ">key", "~sess:*", "+@all"]);
    server.cli(&["-n", "3", "set", "sess:a", "three"]);
    let mut config = server.config();
    config.user = Some("door".to_owned());
    config.password = Some(crate::secret::Secret::new("key"));
    config.database = 3;
    let redis = Redis::open(&config, Trust::Blind, None, TIMEOUT, &Workers::current(), &Metrics::new(1));
    until("connected", async || redis.read(W, "sess:a", 9).await == Ok("three".into())).await;
    assert!(redis.read(W, "other", 9).await.is_err());
}

#[tokio::test]
async fn dropping_it_closes_its_connections() {
    let server = Server::start(&[]);
    let redis = Redis::open(&server.config(), Trust::Blind, Some(3), TIMEOUT, &Workers::current(), &Metrics::new(1));
    until("connected", async || !redis.degraded()).await;
    let clients = || server.cli(&["client", "list"]).lines().count();
    assert_eq!(clients(), 3 * 2 + 1);
    drop(redis);
    until("closed", async || clients() == 1).await;
}

#[tokio::test]
async fn fewer_connections_than_workers_are_shared() {
    let server = Server::start(&[]);
    let here = tokio::runtime::Handle::current();
    let workers = Workers::new(vec![here.clone(), here.clone(), here]);
    let redis = Redis::open(&server.config(), Trust::Blind, Some(2), TIMEOUT, &workers, &Metrics::new(1));
    for worker in 0..3 {
        assert_eq!(redis.read(Worker(worker), "k", 9).await, Ok(Bytes::new()));
    }
}

/// A place for a server that is none.
fn fake() -> (tokio::net::UnixListener, store::Redis) {
    use std::sync::atomic::AtomicU32;
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("onedoor-fake-{}-{number}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let address = store::Address::Unix(path);
    (listener, store::Redis { address, user: None, password: None, database: 0, tls: None })
}

/// Greets as Redis does, answers every read with the same bytes, and then closes if they are cut short.
async fn serve(listener: tokio::net::UnixListener, reply: &'static str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        crate::tasks::background(async move {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let greeting = !String::from_utf8_lossy(&buffer[..read]).contains("GETRANGE");
                let answer = if greeting { "+OK\r\n" } else { reply };
                if stream.write_all(answer.as_bytes()).await.is_err() || !answer.ends_with("\r\n") {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn every_refusal_and_every_broken_reply_is_an_outage_in_time_that_quotes_nothing() {
    let replies = [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-MOVED 1 127.0.0.1:1\r\n",
        "-MISCONF Redis is configured to save RDB snapshots\r\n",
        "-BUSY Redis is busy running a script\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "-CLUSTERDOWN The cluster is down\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-ERR unknown command 'GETRANGE', with args beginning with: 'secret'\r\n",
        "-secret\r\n",
        "secret garbage\r\n",
        "$100\r\nsecret",
        "",
    ];
    for reply in replies {
        let (listener, config) = fake();
        crate::tasks::background(serve(listener, reply));
        let redis = Redis::open(&config, Trust::Blind, None, TIMEOUT, &Workers::current(), &Metrics::new(1));
        for _ in 0..2 {
            let begun = clock::now();
            let answer = redis.read(W, "secret", 100).await;
            let Err(Failure::Outage(text)) = answer else { panic!("{reply:?}: {answer:?}") };
            assert!(!text.contains("secret"), "{reply:?}: {text}");
            assert!(begun.elapsed() < TIMEOUT + SLACK, "{reply:?}: {:?}", begun.elapsed());
        }
        if let store::Address::Unix(path) = config.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[tokio::test]
async fn a_throttle_lets_a_burst_pass_and_then_one_after_the_other() {
    let server = Server::start(&[]);
    let redis = connected(&server).await;
    let (interval, tolerance) = (Duration::from_secs(60), Duration::from_secs(120));
    let step = async |step| redis.throttle(W, "t", interval, tolerance, step).await.expect("an answer");
    assert_eq!(step(Step::Look).await, None);
    assert_eq!(server.cli(&["exists", "t"]), "0", "a look leaves nothing");
    assert_eq!((step(Step::Take).await, step(Step::Take).await), (None, None));
    let wait = step(Step::Take).await.expect("there is no place");
    assert!(wait <= interval && wait > interval / 2, "{wait:?}");
    assert!(server.cli(&["pttl", "t"]).parse::<i64>().is_ok_and(|left| (60_000..=120_000).contains(&left)));
    assert_eq!((step(Step::Return).await, step(Step::Take).await), (None, None));
    for _ in 0..3 {
        assert_eq!(step(Step::Return).await, None);
    }
    assert_eq!(server.cli(&["exists", "t"]), "0", "what nobody owes is not kept");
}
