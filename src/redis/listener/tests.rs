//! What is heard, and what is not believed.

use super::*;
use crate::{
    config::store::Invalidation,
    redis::{
        greeting::{FLAGS, lacking},
        server::Server,
    },
    tasks::Workers,
    telemetry::metrics::Metrics,
};

const TIMEOUT: Duration = Duration::from_millis(500);
const STALENESS: Duration = Duration::from_secs(2);
/// What a busy machine may take longer.
const SLACK: Duration = Duration::from_secs(5);

/// A listener, and what it has heard.
struct Stage {
    redis: Arc<Primaries>,
    proofs: Arc<Proofs>,
    listener: Listener,
    heard: Arc<Mutex<Vec<String>>>,
}

fn cache(invalidation: Invalidation) -> store::Cache {
    store::Cache { entries: 1, max_staleness: STALENESS, invalidation, configure: false }
}

impl Stage {
    fn new(server: &store::Redis, cache: store::Cache) -> Self {
        let (workers, metrics) = (Workers::current(), Metrics::new(1));
        let redis = Primaries::connect(&store::Url::Redis(server.clone()), Some(2), TIMEOUT, &workers, &metrics);
        let (redis, proofs) = (Arc::new(redis), Arc::new(Proofs::new(cache.max_staleness)));
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let prefixes = vec!["sess:".to_owned(), "sess:own:".to_owned(), "a[*]?:".to_owned()];
        let outlines = vec![Outline { length: 3, letters: &[(b'0', b'9'), (b'-', b'-'), (b'_', b'_')] }];
        let hearing = Hearing { prefixes, outlines, namespace: "onedoor:".to_owned(), cache };
        let sink = heard.clone();
        let sink = move |event: Event<'_>| {
            let line = match event {
                Event::Key(key, change) => format!("{} {change:?}", String::from_utf8_lossy(key)),
                Event::Cleared(_) => "cleared".to_owned(),
            };
            sink.lock().unwrap().push(line);
        };
        let listener = Listener::start(redis.clone(), hearing, proofs.clone(), sink).unwrap();
        Self { redis, proofs, listener, heard }
    }

    fn is_armed(&self) -> bool {
        self.proofs.hold()
    }

    fn proof(&self) -> Arc<Proof> {
        self.proofs.of(&self.redis.now().all()[0]).expect("it is listened to")
    }

    async fn armed(&self, status: Status) {
        let what = || format!("armed: {:?}", self.listener.status());
        until(what, || self.is_armed() && self.listener.status() == status).await;
        self.heard.lock().unwrap().clear();
    }

    /// Waits until this was heard.
    async fn hears(&self, line: &str) {
        until(|| line.to_owned(), || self.heard.lock().unwrap().iter().any(|heard| heard == line)).await;
    }
}

async fn until(what: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let begun = clock::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(15), "{}: not within fifteen seconds", what());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn tracking_tells_that_something_happened_below_the_prefixes_and_nowhere_else() {
    let server = Server::start(&[]);
    let stage = Stage::new(&server.config(), cache(Invalidation::Auto));
    stage.armed(Status::Tracking).await;
    server.cli(&["set", "queue", "x"]);
    server.cli(&["set", "sess:own:1", "x"]);
    stage.hears("sess:own:1 Any").await;
    server.cli(&["expire", "sess:own:1", "100"]);
    server.cli(&["mset", "sess:2", "x", "a[*]?:3", "x"]);
    stage.hears("a[*]?:3 Any").await;
    assert!(!stage.heard.lock().unwrap().iter().any(|line| line.starts_with("queue") || line.starts_with("onedoor")));
}

#[tokio::test]
async fn events_tell_what_happened() {
    let server = Server::start(&["--notify-keyspace-events", "KEA"]);
    let stage = Stage::new(&server.config(), cache(Invalidation::Auto));
    stage.armed(Status::Events).await;
    server.cli(&["set", "queue", "x"]);
    server.cli(&["set", "axxx:", "x"]);
    server.cli(&["set", "sess:1", "x", "px", "50"]);
    stage.hears("sess:1 Written").await;
    stage.hears("sess:1 Renewed").await;
    stage.hears("sess:1 Expired").await;
    server.cli(&["set", "a[*]?:1", "x"]);
    server.cli(&["rename", "a[*]?:1", "sess:own:1"]);
    server.cli(&["unlink", "sess:own:1"]);
    stage.hears("sess:own:1 Deleted").await;
    let heard = stage.heard.lock().unwrap().clone();
    for line in ["a[*]?:1 Written", "a[*]?:1 MovedAway", "sess:own:1 Written"] {
        assert!(heard.iter().any(|heard| heard == line), "{line}: {heard:?}");
    }
    assert!(!heard.iter().any(|line| line.starts_with("queue") || line.starts_with("axxx")), "{heard:?}");
}

#[tokio::test]
async fn keys_without_a_beginning_are_told_of_by_their_outline_and_by_events_alone() {
    let server = Server::start(&["--notify-keyspace-events", "KEA"]);
    for (invalidation, status) in [(Invalidation::Auto, Status::Events), (Invalidation::Tracking, Status::Tracking)] {
        let stage = Stage::new(&server.config(), cache(invalidation));
        stage.armed(status.clone()).await;
        for key in ["12", "1234", "1:2", "1a2", "1-2", "_0_", "sess:1"] {
            server.cli(&["set", key, "x"]);
        }
        let how = if status == Status::Events { "Written" } else { "Any" };
        stage.hears(&format!("sess:1 {how}")).await;
        let mut heard = stage.heard.lock().unwrap().clone();
        heard.retain(|line| !line.starts_with("sess:1"));
        assert_eq!(stage.proof().is_by_events(), status == Status::Events);
        match status {
            Status::Events => assert_eq!(heard, ["1-2 Written", "_0_ Written"]),
            _ => assert!(heard.is_empty(), "{heard:?}"),
        }
    }
}

#[tokio::test]
async fn flushes_and_exchanged_databases_are_noticed_either_way() {
    for (options, status) in [(&["--notify-keyspace-events", "KA"] as &[&str], Status::Events), (&[], Status::Tracking)]
    {
        let server = Server::start(options);
        let stage = Stage::new(&server.config(), cache(Invalidation::Auto));
        for command in [["flushall", "sync"], ["flushdb", "async"]] {
            stage.armed(status.clone()).await;
            let (proof, read) = (stage.proof(), stage.proofs.now());
            server.cli(&command);
            stage.hears("cleared").await;
            assert!(!proof.covers(read, proof.now()), "what was read before it is worth nothing");
        }
        stage.armed(status.clone()).await;
        let begun = clock::now();
        server.cli(&["swapdb", "0", "1"]);
        stage.hears("cleared").await;
        assert!(begun.elapsed() < STALENESS + SLACK, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn lost_connections_end_the_proof_and_it_begins_anew() {
    let server = Server::start(&[]);
    let stage = Stage::new(&server.config(), cache(Invalidation::Auto));
    stage.armed(Status::Tracking).await;
    let list = server.cli(&["client", "list"]);
    let ours = list.lines().find(|line| line.contains("name=onedoor-listener")).unwrap();
    let id = ours.split(' ').next().unwrap().trim_start_matches("id=").to_owned();
    server.cli(&["client", "kill", "id", &id]);
    stage.hears("cleared").await;
    stage.armed(Status::Tracking).await;
    server.cli(&["client", "kill", "type", "normal"]);
    stage.hears("cleared").await;
    stage.armed(Status::Tracking).await;
    server.cli(&["set", "sess:1", "x"]);
    stage.hears("sess:1 Any").await;
}

#[tokio::test]
async fn a_server_that_hangs_or_goes_is_not_believed_longer_than_allowed_and_heals() {
    let mut server = Server::start(&[]);
    let stage = Stage::new(&server.config(), cache(Invalidation::Auto));
    stage.armed(Status::Tracking).await;
    let begun = clock::now();
    server.pause();
    until(|| "disarmed".to_owned(), || !stage.is_armed()).await;
    assert!(begun.elapsed() < STALENESS + SLACK, "{:?}", begun.elapsed());
    server.resume();
    stage.armed(Status::Tracking).await;
    server.kill();
    until(|| "disarmed".to_owned(), || !stage.is_armed()).await;
    server.restart();
    stage.armed(Status::Tracking).await;
    until(|| "healed".to_owned(), || !stage.redis.degraded()).await;
}

#[tokio::test]
async fn events_that_are_switched_off_are_missed_and_tracking_takes_over() {
    let server = Server::start(&["--notify-keyspace-events", "KA"]);
    let stage = Stage::new(&server.config(), cache(Invalidation::Auto));
    stage.armed(Status::Events).await;
    let begun = clock::now();
    server.cli(&["config", "set", "notify-keyspace-events", ""]);
    until(|| "disarmed".to_owned(), || !stage.is_armed()).await;
    assert!(begun.elapsed() < STALENESS + SLACK, "{:?}", begun.elapsed());
    stage.armed(Status::Tracking).await;
}

#[tokio::test]
async fn what_is_lacking_is_said_or_set() {
    let server = Server::start(&["--notify-keyspace-events", "Kl"]);
    let stage = Stage::new(&server.config(), cache(Invalidation::Events));
    let said = |status| matches!(status, Status::Deaf(why) if why.ends_with("notify-keyspace-events lKg$hxe"));
    until(|| "said".to_owned(), || said(stage.listener.status())).await;
    assert!(!stage.is_armed());
    let mut cache = cache(Invalidation::Auto);
    cache.configure = true;
    let stage = Stage::new(&server.config(), cache);
    stage.armed(Status::Events).await;
    let flags = server.cli(&["config", "get", "notify-keyspace-events"]);
    assert!("Klg$hxe".chars().all(|flag| flags.contains(flag)), "{flags}");
    assert_eq!(lacking("AKE"), "");
    assert_eq!(lacking("A"), "K");
    assert_eq!(lacking(""), FLAGS);
}

#[tokio::test]
async fn who_may_not_listen_to_events_hears_by_tracking_and_who_may_nothing_hears_nothing() {
    let server = Server::start(&["--notify-keyspace-events", "KA"]);
    let rights = [
        "~onedoor:*",
        "~sess:*",
        "~a*",
        "resetchannels",
        "-@all",
        "+ping",
        "+hello",
        "+auth",
        "+client",
        "+set",
        "+del",
        "+select",
    ];
    server.cli(&[&["acl", "setuser", "door", "on", ">key"], &rights as &[&str], &["+config|get"]].concat());
    let mut config = server.config();
    config.user = Some("door".to_owned());
    config.password = Some(crate::secret::Secret::new("key"));
    let stage = Stage::new(&config, cache(Invalidation::Auto));
    stage.armed(Status::Tracking).await;
    server.cli(&["set", "sess:1", "x"]);
    stage.hears("sess:1 Any").await;
    server.cli(&["acl", "setuser", "door", "-set"]);
    until(|| "disarmed".to_owned(), || !stage.is_armed()).await;
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let server = Server::start(&[]);
    let stage = Stage::new(&server.config(), cache(Invalidation::Auto));
    stage.armed(Status::Tracking).await;
    let Stage { redis, proofs, listener, .. } = stage;
    drop((redis, listener));
    until(|| "ended".to_owned(), || !proofs.hold()).await;
    until(|| "closed".to_owned(), || server.cli(&["client", "list"]).lines().count() == 1).await;
}
