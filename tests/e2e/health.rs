//! Health: endpoints that fail are left out, those that recover return, and somebody is always asked.

use crate::harness::{Connection, Gateway, Reply, Upstream, eventually, free_address, get, onedoor, open_rule};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// A service whose health a test decides.
fn patient(name: &'static str) -> (Upstream, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let asked = well.clone();
    let upstream = Upstream::start(move |request| match request.target() {
        "/healthz" if asked.load(Ordering::SeqCst) => Reply::new(204, &[], ""),
        "/healthz" => Reply::new(500, &[], ""),
        _ => Reply::new(200, &[], name),
    });
    (upstream, well)
}

fn checked(urls: &[&str]) -> Gateway {
    let health =
        "{ path = \"/healthz\", interval = \"50ms\", timeout = \"5s\", unhealthy_after = 2, healthy_after = 2 }";
    let urls = urls.iter().map(|url| format!("{url:?}")).collect::<Vec<_>>().join(", ");
    Gateway::start(open_rule(&format!("{{ endpoints = [{urls}], balance = \"round_robin\", health = {health} }}")))
}

/// `explain` knows from the running gateway which endpoint is out.
fn explains(gateway: &Gateway, out: &Upstream, next: &Upstream) {
    let explained = onedoor(&["explain", "GET", "/", "-c"]).arg(gateway.file()).output().unwrap();
    let told = String::from_utf8(explained.stdout).unwrap();
    assert!(told.contains(&format!("endpoint  {}\n", next.url())), "{told}");
    assert!(told.contains(&format!("endpoint  {} gets no requests", out.url())), "{told}");
}

fn served(gateway: &Gateway) -> Vec<String> {
    let mut names: Vec<String> = (0..8).map(|_| gateway.get("/").text()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn an_endpoint_that_fails_its_checks_is_left_out_until_it_passes_them_again() {
    let ((one, well), (two, _)) = (patient("one"), patient("two"));
    let gateway = checked(&[&one.url(), &two.url()]);
    assert_eq!(served(&gateway), ["one", "two"]);
    well.store(false, Ordering::SeqCst);
    gateway.process.wait_for_output("an endpoint fails its checks and gets no requests");
    assert_eq!(served(&gateway), ["two"]);
    let metric = format!("onedoor_endpoint_up{{upstream=\"app\",endpoint=\"{}\"}}", one.url());
    assert!(get("/metrics").send(gateway.admin).text().contains(&format!("{metric} 0")));
    explains(&gateway, &one, &two);
    well.store(true, Ordering::SeqCst);
    gateway.process.wait_for_output("an endpoint passes its checks again");
    eventually("it has a part of its share", || (served(&gateway) == ["one", "two"]).then_some(()));
    assert!(get("/metrics").send(gateway.admin).text().contains(&format!("{metric} 1")));
    let check = one.requests().into_iter().find(|request| request.target() == "/healthz").unwrap();
    assert_eq!((check.method(), check.all("host")), ("GET", vec![one.url().trim_start_matches("http://")]));
}

#[test]
fn a_returned_endpoint_gets_its_share_little_by_little() {
    for balance in ["least_requests", "round_robin"] {
        let ((one, well), (two, _)) = (patient("one"), patient("two"));
        let health = "{ path = \"/healthz\", interval = \"50ms\", timeout = \"5s\", unhealthy_after = 1 }";
        let urls = format!("[{:?}, {:?}]", one.url(), two.url());
        let gateway =
            Gateway::start(open_rule(&format!("{{ endpoints = {urls}, balance = {balance:?}, health = {health} }}")));
        well.store(false, Ordering::SeqCst);
        gateway.process.wait_for_output("an endpoint fails its checks and gets no requests");
        well.store(true, Ordering::SeqCst);
        gateway.process.wait_for_output("an endpoint passes its checks again");
        let mut connection = Connection::open(gateway.address);
        let mut ask = || get("/").send_on(&mut connection, gateway.address).text() == "one";
        let had = (0..200).filter(|_| ask()).count();
        assert!((1..90).contains(&had), "{balance}: {had} of 200, where 100 are its share");
        eventually("it has its share", || (40..).contains(&(0..100).filter(|_| ask()).count()).then_some(()));
    }
}

#[test]
fn where_less_than_half_is_healthy_all_are_used() {
    let patients = [patient("one"), patient("two"), patient("three")];
    let urls = patients.each_ref().map(|(upstream, _)| upstream.url());
    let gateway = checked(&urls.each_ref().map(String::as_str));
    for (_, well) in &patients[..2] {
        well.store(false, Ordering::SeqCst);
    }
    eventually("two are out", || (gateway.output().matches("fails its checks").count() == 2).then_some(()));
    assert_eq!(served(&gateway), ["one", "three", "two"]);
}

#[test]
fn an_endpoint_that_does_not_answer_is_ejected_and_returns() {
    let mut one = Upstream::named("one");
    let two = Upstream::named("two");
    let endpoints = format!("endpoints = [{:?}, {:?}], balance = \"round_robin\"", one.url(), two.url());
    let gateway = Gateway::start(open_rule(&format!("{{ {endpoints}, eject = {{ errors = 3, for = \"1s\" }} }}")));
    one.stop();
    for _ in 0..8 {
        assert_eq!(gateway.get("/").text(), "two");
    }
    gateway.process.wait_for_output("an endpoint failed too often and gets no requests");
    one.restart();
    eventually("it is asked again", || (gateway.get("/").text() == "one").then_some(()));
    assert!(gateway.output().contains("an endpoint is tried again"));
    assert!(get("/metrics").send(gateway.admin).text().contains("onedoor_ejections_total{upstream=\"app\"} 1"));
}

#[test]
fn the_last_ones_are_never_ejected() {
    let mut one = Upstream::named("one");
    let dead = free_address();
    let endpoints = format!("endpoints = [{:?}, \"http://{dead}\"]", one.url());
    let gateway = Gateway::start(open_rule(&format!("{{ {endpoints}, eject = {{ errors = 2, for = \"1h\" }} }}")));
    one.stop();
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status(), 502);
    }
    one.restart();
    eventually("the other one is left out, whichever was before", || {
        gateway.get("/");
        let metric = format!("onedoor_endpoint_up{{upstream=\"app\",endpoint=\"http://{dead}\"}} 0");
        get("/metrics").send(gateway.admin).text().contains(&metric).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "one");
    }
}

#[test]
fn statuses_and_impatient_clients_do_not_count() {
    let (one, two) = (Upstream::start(|_| Reply::new(500, &[], "one")), Upstream::named("two"));
    let endpoints = format!("endpoints = [{:?}, {:?}], balance = \"round_robin\"", one.url(), two.url());
    let gateway = Gateway::start(open_rule(&format!("{{ {endpoints}, eject = {{ errors = 1, for = \"1h\" }} }}")));
    for _ in 0..10 {
        gateway.get("/");
    }
    assert_eq!(one.requests().len(), 5);
}

#[test]
fn a_rolling_restart_under_load_costs_no_request_that_may_be_sent_again() {
    let mut upstreams = [Upstream::named("one"), Upstream::named("two")];
    let [one, two] = upstreams.each_ref().map(Upstream::url);
    let gateway = Gateway::start(open_rule(&format!("[{one:?}, {two:?}]")));
    let (address, answered, over) = (gateway.address, AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (answered, over) = (&answered, &over);
        for _ in 0..8 {
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                while !over.load(Ordering::SeqCst) {
                    let response = get("/").send_on(&mut connection, address);
                    if response.status() != 200 {
                        over.store(true, Ordering::SeqCst);
                        panic!("{} {}", response.start, response.text());
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 1..=6 {
            eventually("there is load", || {
                let enough = answered.load(Ordering::SeqCst) > 300 * round || over.load(Ordering::SeqCst);
                enough.then_some(())
            });
            upstreams[round % 2].restart();
        }
        over.store(true, Ordering::SeqCst);
    });
    let lost = gateway.output().lines().filter(|line| line.contains("\"status\":5")).count();
    assert_eq!(lost, 0, "{}", gateway.output());
}
