//! Where sessions live: behind TLS, an ACL, sentinels, in a cluster; and what happens when a part of that goes away.

use crate::harness::{
    ARMED, Cluster, Gateway, Jar, Listener, Redis, Reply, SECRET, Sentinel, Setup, Upstream, eventually, free_address,
    get, record, signed,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::time::{Duration, Instant};

/// How long a request may take at most: `[store] timeout`, and a busy machine.
const LIMIT: Duration = Duration::from_secs(6);

fn setup(url: &str, store: &str, app: &Upstream) -> Setup {
    let app = app.url();
    Setup::new(format!(
        r#"
        [store]
        url = "{url}"
        timeout = "1s"
        {store}
        [session]
        format = "express"
        secrets = ["{SECRET}"]
        user = "user.id"
        # Kept beside the records, in the same slots.
        idle_timeout = "1h"
        [upstreams]
        app = "{app}"
        [[rules]]
        path = ["/login", "/login/"]
        dest = "app"
        session = "off"
        [[rules]]
        dest = "app"
        "#
    ))
}

fn cookie(id: &str) -> String {
    format!("connect.sid={}", signed(id, SECRET))
}

/// The status that a session gets, in time.
fn status(gateway: &Gateway, id: &str) -> u16 {
    let begun = Instant::now();
    let status = gateway.send(&get("/").cookie(cookie(id))).status();
    assert!(begun.elapsed() < LIMIT, "{status} after {:?}", begun.elapsed());
    status
}

/// Waits until a session passes; until then every answer is 503, and in time.
fn passes(gateway: &Gateway, id: &str) {
    eventually(&format!("session {id} passes"), || match status(gateway, id) {
        200 => Some(()),
        503 => None,
        other => panic!("{other}"),
    });
}

/// Waits until a session is refused so; what was heard or remembered shortly before may hold for a moment.
fn refused(gateway: &Gateway, id: &str, wanted: u16) {
    eventually(&format!("session {id} is refused with {wanted}"), || (status(gateway, id) == wanted).then_some(()));
}

fn store_is(gateway: &Gateway, state: &str) {
    eventually(&format!("readyz says {state}"), || {
        let response = get("/readyz").send(gateway.admin);
        assert_eq!(response.status(), 200);
        (response.json()["store"] == state).then_some(())
    });
}

#[test]
fn tls_with_an_authority_of_our_own_and_a_client_certificate() {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "an authority of our own");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let issue = |name: &str, purpose| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let (server, server_key) = issue("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    let (client, client_key) = issue("gateway", ExtendedKeyUsagePurpose::ClientAuth);
    let (_, other_key) = issue("gateway", ExtendedKeyUsagePurpose::ClientAuth);
    let files = crate::harness::Dir::new();
    let file = |name, text: &str| files.write(name, text).display().to_string();
    let (ca_file, cert, key) = (file("ca", &ca), file("cert", &server), file("key", &server_key));
    let port = free_address().port().to_string();
    let options =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca_file];
    let (redis, app) = (Redis::with(&options), Upstream::echo());
    redis.set("sess:one", record("1", "[]"));

    let with = |keys: &str| {
        let setup = setup(&format!("rediss://127.0.0.1:{port}"), keys, &app);
        setup.file("ca.pem", &ca).file("cert.pem", &client).file("key.pem", &client_key).file("other.pem", &other_key)
    };
    let gateway = with("ca = \"ca.pem\"\ncert = \"cert.pem\"\nkey = \"key.pem\"").start();
    passes(&gateway, "one");
    for keys in ["", "ca = \"ca.pem\""] {
        let gateway = with(keys).start();
        assert_eq!(status(&gateway, "one"), 503, "{keys}");
        assert_eq!(get("/readyz").send(gateway.admin).json()["store"], "degraded");
    }
    let mut wrong = with("ca = \"ca.pem\"\ncert = \"cert.pem\"\nkey = \"other.pem\"").launch();
    assert_eq!(wrong.process.exit_code(), Some(78), "the key is not the certificate's");
}

#[test]
fn the_rights_that_the_readme_names_are_enough() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    grant(&redis, "");
    redis.set("sess:one", record("1", "[]"));
    let url = format!("redis://onedoor:change-me@{}", redis.address());
    let gateway = setup(&url, "", &app).start();
    passes(&gateway, "one");
    assert_eq!(status(&gateway, "none"), 401);
    store_is(&gateway, "ok");
    nothing_was_denied(&redis);
}

#[test]
fn the_rights_for_steered_sessions_are_enough() {
    let redis = Redis::start();
    grant(&redis, "+zadd +zrange +zrangebyscore +zrem");
    let app = Upstream::start(|request| match request.target() {
        "/login" => Reply::new(200, &[("Session-Login", "{\"user\":{\"id\":\"42\"}}")], ""),
        "/logout" => Reply::new(200, &[("Session-Logout", "everywhere")], ""),
        _ => Reply::new(200, &[("Session-Increment", "{\"count\":1}")], ""),
    });
    let (url, app) = (format!("redis://onedoor:change-me@{}", redis.address()), app.url());
    let gateway = Gateway::start(format!(
        "[store]\nurl = \"{url}\"\n[session]\nformat = \"onedoor\"\n[upstreams]\n\
         app = {{ endpoints = \"{app}\", session_authority = true }}\n\
         [[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"optional\"\n[[rules]]\ndest = \"app\"\n"
    ));
    let mut jar = Jar::default();
    for (path, wanted) in [("/login", 200), ("/", 200), ("/logout", 200), ("/", 401)] {
        assert_eq!(jar.send(get(path), gateway.address).status(), wanted, "{path}");
    }
    nothing_was_denied(&redis);
}

#[test]
fn a_right_that_keyspace_events_lack_is_named_and_they_are_turned_to_once_it_is_there() {
    let (redis, app) = (Redis::start(), Upstream::echo());
    grant(&redis, "");
    redis.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"]);
    redis.set("sess:one", record("1", "[]"));
    let url = format!("redis://onedoor:change-me@{}", redis.address());
    let gateway = setup(&url, "", &app).start();
    let memory_is = |by: &str| {
        eventually(&format!("memory is kept true by {by}"), || {
            (get("/readyz").send(gateway.admin).json()["memory"] == by).then_some(())
        });
    };
    memory_is("tracking");
    gateway.log_line("which needs +psubscribe allchannels");
    passes(&gateway, "one");
    let rights = ["+psubscribe", "allchannels"];
    let readme = include_str!("../../README.md").replace('\n', " ");
    assert!(rights.iter().all(|right| readme.contains(right)), "README does not name them");
    redis.ask(&[&["ACL", "SETUSER", "onedoor"], &rights as &[&str]].concat());
    memory_is("events");
    passes(&gateway, "one");
}

/// Makes the user that the README shows, with these rights beside, which it must name, too.
fn grant(redis: &Redis, beside: &str) {
    let readme = include_str!("../../README.md");
    assert!(readme.replace('\n', " ").contains(beside), "README does not name {beside}");
    let command = readme.lines().find(|line| line.starts_with("ACL SETUSER onedoor")).unwrap();
    let command: Vec<_> = command.split(' ').chain(beside.split(' ').filter(|right| !right.is_empty())).collect();
    assert_eq!(redis.ask(&command).as_deref(), Some("OK"));
}

fn nothing_was_denied(redis: &Redis) {
    assert_eq!(redis.ask(&["ACL", "LOG"]).unwrap_or_default(), "");
}

#[test]
fn a_failover_by_sentinels_is_followed_and_no_request_waits_for_it() {
    let mut primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    let (sentinel, app) = (Sentinel::of(&primary), Upstream::echo());
    primary.set("sess:one", record("1", "[]"));
    primary.set("sess:two", record("2", "[]"));
    eventually("the replica has it", || replica.ask(&["GET", "sess:two"]));
    [&primary, &replica].iter().for_each(|redis| grant(redis, "+role"));
    let gateway = setup(&sentinel.url().replace("://", "://onedoor:change-me@"), "", &app).start();
    passes(&gateway, "one");
    store_is(&gateway, "ok");
    primary.kill();
    refused(&gateway, "one", 503);
    passes(&gateway, "one");
    store_is(&gateway, "ok");
    // Logged out while the old primary is away: its return must not bring the session back.
    replica.ask(&["DEL", "sess:one"]);
    refused(&gateway, "one", 401);
    primary.restart();
    for _ in 0..20 {
        assert_eq!((status(&gateway, "one"), status(&gateway, "two")), (401, 200));
    }
    assert_eq!(primary.ask(&["EXISTS", "sess:one"]).as_deref(), Some("1"));
    nothing_was_denied(&replica);
}

#[test]
fn a_planned_failover_is_followed_although_the_old_primary_goes_on_answering() {
    let primary = Redis::start();
    let mut replica = Redis::replica_of(&primary);
    let (sentinel, app) = (Sentinel::of(&primary), Upstream::echo());
    primary.set("sess:one", record("1", "[]"));
    eventually("the replica has it", || replica.ask(&["GET", "sess:one"]));
    // The first of the sentinels is not there.
    let url = sentinel.url().replace("://", &format!("://{},", free_address()));
    let gateway = setup(&url, "", &app).start();
    passes(&gateway, "one");
    eventually("the sentinel agrees", || {
        sentinel.redis.ask(&["SENTINEL", "FAILOVER", "main"]).filter(|reply| reply == "OK")
    });
    replica.wait_for_info("replication", "role:master");
    replica.ask(&["DEL", "sess:one"]);
    refused(&gateway, "one", 401);
    assert_eq!(primary.ask(&["EXISTS", "sess:one"]).as_deref(), Some("1"), "it has not yet been told");
    replica.kill();
    // The old primary is not asked.
    refused(&gateway, "one", 503);
}

#[test]
fn a_primary_that_hangs_is_replaced_and_what_it_says_afterwards_does_not_count() {
    let primary = Redis::start();
    let replica = Redis::replica_of(&primary);
    let (sentinel, app) = (Sentinel::of(&primary), Upstream::echo());
    for id in ["one", "two"] {
        primary.set(&format!("sess:{id}"), record("1", "[]"));
    }
    eventually("the replica has it", || replica.ask(&["GET", "sess:two"]));
    let gateway = setup(&sentinel.url(), "", &app).start();
    passes(&gateway, "one");
    primary.pause();
    refused(&gateway, "one", 503);
    store_is(&gateway, "degraded");
    passes(&gateway, "one");
    replica.ask(&["DEL", "sess:one"]);
    refused(&gateway, "one", 401);
    primary.resume();
    for _ in 0..20 {
        assert_eq!((status(&gateway, "one"), status(&gateway, "two")), (401, 200));
    }
}

#[test]
fn one_dead_primary_of_a_cluster_stops_its_own_slots_alone() {
    let (mut cluster, app) = (Cluster::start(0), Upstream::echo());
    let home = |id: &str| cluster.home_of(&format!("sess:{id}"));
    let ids: Vec<String> = (0..30).map(|number| format!("id-{number}")).collect();
    let homes: Vec<usize> = ids.iter().map(|id| home(id)).collect();
    assert!((0..3).all(|node| homes.contains(&node)), "{homes:?}");
    for (id, home) in ids.iter().zip(&homes) {
        cluster.nodes[*home].set(&format!("sess:{id}"), record("1", "[]"));
    }
    let gateway = setup(&cluster.url(), "", &app).start();
    let of = |node: usize| ids.iter().zip(&homes).filter(move |(_, home)| **home == node).map(|(id, _)| id);
    for id in &ids {
        passes(&gateway, id);
    }
    cluster.nodes[0].pause();
    refused(&gateway, of(0).next().unwrap(), 503);
    for _ in 0..3 {
        assert_eq!(status(&gateway, of(0).next().unwrap()), 503);
        for id in of(1).chain(of(2)) {
            assert_eq!(status(&gateway, id), 200, "{id} does not live there");
        }
    }
    store_is(&gateway, "degraded");
    cluster.nodes[0].resume();
    of(0).for_each(|id| passes(&gateway, id));
    cluster.nodes[1].kill();
    for id in of(0).chain(of(2)) {
        assert_eq!(status(&gateway, id), 200, "{id} does not live there");
    }
    cluster.nodes[1].restart();
    of(1).for_each(|id| passes(&gateway, id));
    store_is(&gateway, "ok");
}

#[test]
fn one_hung_primary_of_a_cluster_leaves_the_memory_of_the_others_in_use() {
    for (events, policy) in [(true, "refuse"), (false, "stale")] {
        let (cluster, app) = (Cluster::start(0), Upstream::echo());
        if events {
            cluster.nodes.iter().for_each(|node| drop(node.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"])));
        }
        let mut of: Vec<Vec<String>> = vec![Vec::new(); 3];
        for id in (0..60).map(|number| format!("id-{number}")) {
            of[cluster.home_of(&format!("sess:{id}"))].push(id);
        }
        of.iter_mut().for_each(|ids| ids.truncate(2));
        for (node, ids) in cluster.nodes.iter().zip(&of) {
            ids.iter().for_each(|id| node.set(&format!("sess:{id}"), record("1", "[]")));
        }
        let outage = format!("[store.outage]\npolicy = \"{policy}\"");
        let gateway = setup(&cluster.url(), &outage, &app).start();
        let remembered = |id: &String| {
            eventually(&format!("{id} is answered from memory"), || {
                let before = remembered(&gateway);
                passes(&gateway, id);
                (remembered(&gateway) > before).then_some(())
            });
        };
        of.iter().flatten().for_each(remembered);

        cluster.nodes[0].pause();
        if policy == "refuse" {
            refused(&gateway, &of[0][0], 503);
        } else {
            eventually("it passes as stale", || {
                assert_eq!(status(&gateway, &of[0][0]), 200);
                gateway.output().contains("\"verdict_from\":\"stale\"").then_some(())
            });
        }
        store_is(&gateway, "degraded");
        for node in [1, 2] {
            of[node].iter().for_each(remembered);
            cluster.nodes[node].ask(&["DEL", &format!("sess:{}", of[node][0])]);
            refused(&gateway, &of[node][0], 401);
            remembered(&of[node][1]);
        }
        let hung = format!("\"server\":\"{}\"", cluster.nodes[0].address());
        let is_it = |line: &str| line.contains("sessions are not answered from memory") && line.contains(&hung);
        assert!(gateway.output().lines().any(is_it));
        assert!(!gateway.measures(ARMED), "of some sessions nothing is heard");

        cluster.nodes[0].resume();
        of[0].iter().for_each(remembered);
        gateway.armed();
    }
}

/// How many requests were answered from memory.
fn remembered(gateway: &Gateway) -> u64 {
    let page = get("/metrics").send(gateway.admin).text();
    let line = page.lines().find(|line| line.contains("session_memory_total") && line.contains("\"hit\""));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_replica_takes_over_in_a_cluster_and_slots_move() {
    let (mut cluster, app) = (Cluster::start(1), Upstream::echo());
    let ids: Vec<String> = (0..30).map(|number| format!("id-{number}")).collect();
    let lives_on = |node: usize| ids.iter().find(|id| cluster.home_of(&format!("sess:{id}")) == node).unwrap().clone();
    let (first, second) = (lives_on(0), lives_on(1));
    cluster.nodes[0].set(&format!("sess:{first}"), record("1", "[]"));
    cluster.nodes[1].set(&format!("sess:{second}"), record("2", "[]"));
    cluster.nodes.iter().for_each(|node| grant(node, "+cluster|slots +asking"));
    let gateway = setup(&cluster.url().replace("://", "://onedoor:change-me@"), "", &app).start();
    passes(&gateway, &first);
    passes(&gateway, &second);

    // The second node's slot moves to the third.
    let key = format!("sess:{second}");
    cluster.hand_over(&key, 1, 2, || assert_eq!(status(&gateway, &second), 200, "ASK is followed"));
    assert_eq!(status(&gateway, &second), 200, "MOVED is followed at once");

    // What was written first is there first.
    cluster.nodes[3].wait_for_info("keyspace", "db0:keys=");
    cluster.nodes[0].kill();
    refused(&gateway, &first, 503);
    passes(&gateway, &first);
    assert_eq!(status(&gateway, &second), 200);
    cluster.nodes[1..].iter().for_each(nothing_was_denied);
}

#[test]
fn a_slot_that_moves_ends_no_session_and_a_logout_in_a_cluster_is_for_good() {
    let (cluster, app) = (Cluster::start(0), Upstream::echo());
    cluster.nodes.iter().for_each(|node| drop(node.ask(&["CONFIG", "SET", "notify-keyspace-events", "KA"])));
    let gateway = setup(&cluster.url(), "", &app).start();
    let by_events = || gateway.output().contains("keyspace events").then_some(());
    eventually("memory is in use", by_events);
    let id = (0..).map(|number| format!("id-{number}"));
    let id = id.into_iter().find(|id| cluster.home_of(&format!("sess:{id}")) == 1).unwrap();
    let key = format!("sess:{id}");
    cluster.nodes[1].set(&key, record("1", "[]"));
    passes(&gateway, &id);
    cluster.hand_over(&key, 1, 2, || passes(&gateway, &id));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        passes(&gateway, &id);
    }
    let revoked = || cluster.nodes[2].keys("onedoor:revoked:*");
    assert!(revoked().is_empty(), "the server that gave the key away told of a deletion, which is none");
    eventually("memory is in use again", || {
        passes(&gateway, &id);
        gateway.output().contains("\"verdict_from\":\"memory\"").then_some(())
    });

    eventually("a deletion is heard", || {
        cluster.nodes[2].set(&key, record("1", "[]"));
        let _ = status(&gateway, &id);
        cluster.nodes[2].ask(&["DEL", &key]);
        std::thread::sleep(Duration::from_millis(50));
        (!revoked().is_empty()).then_some(())
    });
    cluster.nodes[2].set(&key, record("1", "[]"));
    refused(&gateway, &id, 401);
}

#[test]
fn a_gateway_that_starts_before_its_servers_heals_by_itself() {
    let (app, black_hole) = (Upstream::echo(), Listener::bind());
    // Nobody, and somebody who takes connections and says nothing.
    for place in [free_address().to_string(), black_hole.url().replace("http://", "")] {
        for (scheme, query) in [("redis", ""), ("redis-sentinel", "?sentinelServiceName=main"), ("redis-cluster", "")] {
            let gateway = setup(&format!("{scheme}://{place}{query}"), "", &app).start();
            for _ in 0..3 {
                assert_eq!(status(&gateway, "one"), 503, "{scheme}");
            }
            assert_eq!(get("/login").send(gateway.address).status(), 200, "public pages work");
            store_is(&gateway, "degraded");
        }
    }
    let mut cluster = Cluster::start(0);
    cluster.nodes.iter_mut().for_each(Redis::kill);
    let gateway = setup(&cluster.url(), "", &app).start();
    assert_eq!(status(&gateway, "one"), 503);
    cluster.nodes.iter_mut().for_each(Redis::restart);
    eventually("the cluster answers", || (status(&gateway, "one") == 401).then_some(()));
}
