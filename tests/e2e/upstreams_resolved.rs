//! Host names of upstreams with several addresses that come and go, looked up in a file of the test's own.

use crate::harness::{Gateway, Reply, Setup, Upstream, eventually, free_address, get, open_rule, post};
use std::{
    net::SocketAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

const NAME: &str = "app.test";

/// A line of the file for each of these addresses, by their last number.
fn lines(last: &[u8]) -> String {
    last.iter().map(|last| format!("127.0.0.{last} {NAME}\n")).collect()
}

/// The gateway of an upstream by this name; `None` where the test has to be left out.
fn start(port: u16, more: &str, last: &[u8]) -> Option<Gateway> {
    let settings = format!("endpoints = \"http://{NAME}:{port}\", resolve = \"100ms\"{more}");
    let setup = Setup::new(open_rule(&format!("{{ {settings} }}"))).hosts(lines(last));
    if setup.is_none() {
        std::eprintln!("left out: mounting a file over /etc/hosts needs user namespaces (unshare -rm)");
    }
    let gateway = setup?.start();
    knows(&gateway, port, last);
    Some(gateway)
}

/// Waits until it has heard that these are the addresses.
fn knows(gateway: &Gateway, port: u16, last: &[u8]) {
    let names: Vec<_> = last.iter().map(|last| format!("http://{NAME}:{port} at 127.0.0.{last}")).collect();
    gateway.log_line(&format!("\"endpoints\":\"{}\"", names.join(", ")));
}

#[test]
fn every_address_is_used_and_one_that_vanishes_ends_with_its_last_request() {
    let (port, gate) = (free_address().port(), Arc::new(RwLock::new(())));
    let slow: Arc<[AtomicUsize; 5]> = Arc::default();
    let apps = [2_u8, 3, 4].map(|last| {
        let (gate, slow) = (gate.clone(), slow.clone());
        Upstream::at(SocketAddr::from(([127, 0, 0, last], port)), move |request| {
            if request.target() == "/slow" {
                slow[usize::from(last)].fetch_add(1, SeqCst);
                drop(gate.read().unwrap());
            }
            Reply::new(200, &[], last.to_string())
        })
    });
    let Some(gateway) = start(port, ", balance = \"round_robin\"", &[2, 3]) else { return };
    let address = gateway.address;
    let meets = |last: u8| {
        eventually("it is asked, too", || (gateway.get("/").text() == last.to_string()).then_some(()));
    };
    meets(2);
    meets(3);

    let gone = format!("onedoor_endpoint_up{{upstream=\"app\",endpoint=\"http://{NAME}:{port} at 127.0.0.2\"}}");
    let closed = gate.write().unwrap();
    let under_way = [(); 8].map(|()| thread::spawn(move || post("/slow", "a=1").send(address).text()));
    eventually("both have some", || (slow[2].load(SeqCst) > 0 && slow[3].load(SeqCst) > 0).then_some(()));
    std::fs::write(gateway.dir().join("hosts"), lines(&[3, 4])).unwrap();
    knows(&gateway, port, &[3, 4]);
    assert!(gateway.measures(&format!("{gone} 1")), "it has some to answer");
    let before = apps[0].requests().len();
    meets(4);
    for _ in 0..40 {
        assert_ne!(gateway.get("/").text(), "2", "it has vanished");
    }
    assert_eq!(apps[0].requests().len(), before);
    drop(closed);
    let answers = under_way.map(|request| request.join().unwrap());
    assert!(answers.iter().any(|answer| answer == "2"), "what was under way is answered by whom it was sent to");
    assert!(answers.iter().all(|answer| ["2", "3", "4"].contains(&answer.as_str())), "{answers:?}");
    eventually("nothing is left of it", || (!get("/metrics").send(gateway.admin).text().contains(&gone)).then_some(()));
}

#[test]
fn a_name_that_is_no_longer_known_keeps_its_addresses_and_one_that_comes_back_is_followed() {
    let port = free_address().port();
    let _apps = [2_u8, 3]
        .map(|last| Upstream::at(SocketAddr::from(([127, 0, 0, last], port)), move |_| Reply::new(200, &[], [last])));
    let Some(gateway) = start(port, "", &[2]) else { return };
    std::fs::write(gateway.dir().join("hosts"), "127.0.0.9 other.test\n").unwrap();
    let line = gateway.log_line("a name cannot be resolved: its last addresses are kept");
    assert_eq!(line["endpoint"], format!("http://{NAME}:{port}"));
    for _ in 0..10 {
        assert_eq!(gateway.get("/").body, [2]);
    }
    std::fs::write(gateway.dir().join("hosts"), lines(&[3])).unwrap();
    eventually("the new one is asked", || (gateway.get("/").body == [3]).then_some(()));
}
