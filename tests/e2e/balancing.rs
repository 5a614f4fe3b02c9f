//! Several endpoints: who gets which request, what stays together, and how long anybody waits.

use crate::harness::{
    Connection, Gateway, Listener, Reply, Request, Upstream, eventually, express_gateway, get, open_rule, post, record,
    store_session,
};
use std::{collections::BTreeMap, thread, time::Duration};

/// A gateway before these endpoints, with more keys for the upstream.
fn gateway(urls: &[String], more: &str) -> Gateway {
    let urls: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
    Gateway::start(open_rule(&format!("{{ endpoints = [{}]{more} }}", urls.join(", "))))
}

fn served_by(gateway: &Gateway, request: &Request) -> String {
    let response = gateway.send(request);
    assert_eq!(response.status(), 200, "{}", response.text());
    response.text()
}

#[test]
fn round_robin_goes_round() {
    let (one, two, three) = (Upstream::named("one"), Upstream::named("two"), Upstream::named("three"));
    let gateway = gateway(&[one.url(), two.url(), three.url()], ", balance = \"round_robin\"");
    for _ in 0..30 {
        gateway.get("/");
    }
    assert_eq!([one, two, three].map(|upstream| upstream.requests().len()), [10; 3]);
}

#[test]
fn an_endpoint_that_is_busy_gets_nothing_more_while_others_are_idle() {
    let (stuck, one, two) = (Listener::bind(), Upstream::named("one"), Upstream::named("two"));
    let gateway = gateway(&[stuck.url(), one.url(), two.url()], "");
    let address = gateway.address;
    // Requests go out until one is stuck; from then on it is the one with most to do.
    let waiting = thread::spawn(move || {
        let mut connection = Connection::open(address);
        loop {
            let response = get("/").send_on(&mut connection, address);
            if response.text() == "at last" {
                return response;
            }
        }
    });
    let mut late = stuck.accept();
    late.request().unwrap();
    for _ in 0..40 {
        assert_ne!(served_by(&gateway, &get("/")), "at last");
    }
    assert!(stuck.is_idle());
    late.write("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nat last");
    assert_eq!(waiting.join().unwrap().status(), 200);
}

#[test]
fn an_endpoint_that_is_slow_gets_little() {
    let slow = Upstream::start(|_| {
        thread::sleep(Duration::from_millis(200));
        Reply::new(200, &[], "slow")
    });
    let quick = ["one", "two", "three"].map(Upstream::named);
    let [one, two, three] = quick.each_ref().map(Upstream::url);
    let gateway = gateway(&[slow.url(), one, two, three], "");
    let mut connection = Connection::open(gateway.address);
    let mut ask = || get("/").send_on(&mut connection, gateway.address).text();
    eventually("it is known to be slow", || {
        ask();
        (slow.requests().len() >= 8).then_some(())
    });
    let had = (0..200).filter(|_| ask() == "slow").count();
    assert!(had < 20, "{had} of 200, where 50 are an equal share");
}

#[test]
fn an_endpoint_that_fails_at_once_gets_no_more_than_its_share() {
    let failing = Upstream::start(|_| Reply::new(500, &[], "failing"));
    let well = Upstream::start(|_| {
        thread::sleep(Duration::from_millis(20));
        Reply::new(200, &[], "well")
    });
    let gateway = gateway(&[failing.url(), well.url()], "");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = Connection::open(gateway.address);
                for _ in 0..50 {
                    get("/").send_on(&mut connection, gateway.address);
                }
            });
        }
    });
    let had = failing.requests().len();
    assert!((20..270).contains(&had), "{had} of 400");
}

#[test]
fn what_belongs_together_stays_on_one_endpoint_and_only_what_must_moves() {
    let (one, two, three) = (Upstream::named("one"), Upstream::named("two"), Upstream::named("three"));
    let urls = [one.url(), two.url(), three.url()];
    let gateway = gateway(&urls, ", balance = \"hash:header:X-Tenant\"");
    let ask = |tenant: u32| served_by(&gateway, &get("/").header("X-Tenant", tenant.to_string()));
    let homes: BTreeMap<u32, String> = (0..30).map(|tenant| (tenant, ask(tenant))).collect();
    assert!(["one", "two", "three"].iter().all(|name| homes.values().any(|home| home == name)), "{homes:?}");
    assert!(homes.iter().all(|(tenant, home)| ask(*tenant) == *home));
    three.stop();
    for (tenant, home) in homes.iter().filter(|(_, home)| *home != "three") {
        assert_eq!(ask(*tenant), *home);
    }
    for (tenant, _) in homes.iter().filter(|(_, home)| *home == "three") {
        assert_ne!(ask(*tenant), "three");
    }
}

#[test]
fn an_address_stays_on_one_endpoint() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let upstream = format!("{{ endpoints = [{:?}, {:?}], balance = \"hash:ip\" }}", one.url(), two.url());
    let gateway = Gateway::start(format!("trusted_proxies = \"127.0.0.1\"\n{}", open_rule(&upstream)));
    let ask = |n: u32| served_by(&gateway, &get("/").header("X-Forwarded-For", format!("192.0.2.{n}")));
    let homes: Vec<String> = (0..30).map(ask).collect();
    assert!(["one", "two"].iter().all(|name| homes.iter().any(|home| home == name)), "{homes:?}");
    assert_eq!((0..30).map(ask).collect::<Vec<_>>(), homes);
}

#[test]
fn a_user_stays_on_one_endpoint_whatever_the_session() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let redis = crate::harness::Redis::start();
    let gateway = express_gateway(
        &redis,
        "http://127.0.0.1:9",
        "login = \"https://id.test/\"",
        &format!(
            "both = {{ endpoints = [{:?}, {:?}], balance = \"hash:user\" }}\n[[rules]]\ndest = \"both\"",
            one.url(),
            two.url()
        ),
    );
    let mut homes = Vec::new();
    for user in 0..12 {
        let cookies = ["a", "b"]
            .map(|device| store_session(&redis, &format!("{user}{device}"), &record(&user.to_string(), "[]")));
        let seen = cookies.map(|cookie| served_by(&gateway, &get("/").cookie(cookie)));
        assert_eq!(seen[0], seen[1], "two devices of one user");
        homes.push(seen[0].clone());
    }
    assert!(homes.contains(&"one".to_owned()) && homes.contains(&"two".to_owned()));
}

#[test]
fn beyond_connections_it_is_503_at_once() {
    let app = Listener::bind();
    let gateway = gateway(&[app.url()], ", connections = 1");
    let mut first = Connection::open(gateway.address);
    first.write(get("/slow").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    let refused = gateway.get("/");
    assert_eq!(
        (refused.status(), refused.reason().as_str(), refused.header("retry-after")),
        (503, "overloaded", Some("1"))
    );
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(first.response(false).unwrap().status(), 200);
}

#[test]
fn a_rule_may_wait_shorter_than_its_upstream() {
    let app = Listener::bind();
    let gateway = Gateway::start(format!("{}timeout = \"200ms\"\n", open_rule(&format!("{:?}", app.url()))));
    let response = gateway.get("/page");
    assert_eq!((response.status(), response.reason().as_str()), (504, "upstream_timeout"));
    assert_eq!(gateway.log_line("/page")["cause"], format!("{}: no answer within 200ms", app.url()));
}

#[test]
fn total_timeout_ends_what_is_slow_whatever_moves() {
    let app = Listener::bind();
    let gateway = Gateway::start(format!("{}total_timeout = \"700ms\"\n", open_rule(&format!("{:?}", app.url()))));
    let silent = gateway.get("/silent");
    assert_eq!((silent.status(), silent.reason().as_str()), (504, "upstream_timeout"));
    assert_eq!(gateway.log_line("/silent")["cause"], "the exchange took longer than total_timeout");
    drop(app.accept());
    let mut client = Connection::open(gateway.address);
    client.write(get("/drip").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(client.head().unwrap().status(), 200);
    eventually("the upstream is left", || {
        thread::sleep(Duration::from_millis(20));
        (!upstream.try_write("x")).then_some(())
    });
    while client.some().is_some() {}
    let line = gateway.log_line("/drip");
    assert_eq!(
        (line["cut"].as_bool(), line["cause"].as_str()),
        (Some(true), Some("the exchange took longer than total_timeout"))
    );
}

#[test]
fn statuses_of_retry_on_are_tried_elsewhere_for_requests_that_only_read() {
    let (bad, good) = (Upstream::start(|_| Reply::new(503, &[], "bad")), Upstream::named("good"));
    let gateway = gateway(&[bad.url(), good.url()], ", balance = \"round_robin\", retry_on = [503]");
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "good");
    }
    let posted: Vec<u16> = (0..10).map(|_| gateway.send(&post("/", "x")).status()).collect();
    assert!(posted.contains(&503) && posted.contains(&200), "{posted:?}");
    good.stop();
    assert_eq!(gateway.get("/").text(), "bad", "its answer is better than none");
}

#[test]
fn retries_have_a_budget() {
    let (one, two) = (Upstream::start(|_| Reply::new(503, &[], "")), Upstream::start(|_| Reply::new(503, &[], "")));
    let gateway = gateway(&[one.url(), two.url()], ", retry_on = \"503\"");
    let begun = std::time::Instant::now();
    let mut connection = Connection::open(gateway.address);
    for _ in 0..300 {
        assert_eq!(get("/").send_on(&mut connection, gateway.address).status(), 503);
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let retries = one.requests().len() + two.requests().len() - 300;
    assert!(retries >= 10 && retries <= 60 + 10 * seconds, "{retries} retries in {seconds} seconds");
    let line = format!("onedoor_retries_total{{upstream=\"app\"}} {retries}");
    assert!(get("/metrics").send(gateway.admin).text().contains(&line), "{line}");
}

#[test]
fn without_retries_a_request_is_sent_once() {
    let (dead, alive) = (crate::harness::free_address(), Upstream::named("alive"));
    let urls = [format!("http://{dead}"), alive.url()];
    let gateway = gateway(&urls, ", balance = \"round_robin\", retries = 0");
    let statuses: Vec<u16> = (0..4).map(|_| gateway.get("/").status()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 2, "{statuses:?}");
}
