//! Connections: as many as the file says, and one client never has so many that none is left for others.

use crate::harness::{Connection, Gateway, Upstream, eventually, get, open_gateway, open_rule, post};
use std::process::Command;

fn stage(server: &str) -> (Upstream, Gateway) {
    let app = Upstream::echo();
    let gateway = open_gateway(&format!("{server}\n[server.limits]\nconnections = 128"), &app.url());
    (app, gateway)
}

/// A connection that begins with this and then has asked for something; `None` = it was closed instead.
fn arrive(gateway: &Gateway, beginning: &str) -> Option<Connection> {
    let mut connection = Connection::open(gateway.address);
    let request = get("/").header("Connection", "keep-alive").bytes(gateway.address);
    connection.try_write([beginning.as_bytes(), &request].concat());
    connection.response(false).map(|_| connection)
}

/// So many of them at the same time; those of earlier clients may take a moment to end.
fn fill(gateway: &Gateway, beginning: &str, count: usize) -> Vec<Connection> {
    (0..count).map(|_| eventually("there is a place", || arrive(gateway, beginning))).collect()
}

fn counted(gateway: &Gateway, metric: &str) -> bool {
    let page = get("/metrics").send(gateway.admin).text();
    page.lines().any(|line| line.starts_with(&format!("{metric} ")) && !line.ends_with(" 0"))
}

#[test]
fn one_client_has_at_most_three_quarters() {
    let (_app, gateway) = stage("");
    let mut held = fill(&gateway, "", 96);
    assert!(arrive(&gateway, "").is_none());
    let url = format!("http://{}/", gateway.address);
    let other = Command::new("curl").args(["--silent", "--fail", "--interface", "127.0.0.9", &url]).output().unwrap();
    assert!(other.status.success(), "others find a place");
    eventually("it is counted", || counted(&gateway, "onedoor_connections_crowded_out_total").then_some(()));
    assert!(!counted(&gateway, "onedoor_connections_turned_away_total"));
    gateway.process.wait_for_output("connections of one client are turned away");
    held.pop();
    fill(&gateway, "", 1);
}

#[test]
fn a_trusted_proxy_may_have_all() {
    let (_app, gateway) = stage("trusted_proxies = \"127.0.0.1\"");
    let _held = fill(&gateway, "", 128);
    assert!(arrive(&gateway, "").is_none());
    gateway.process.wait_for_output("too many are open");
}

#[test]
fn behind_the_proxy_protocol_the_clients_are_counted() {
    let (_app, gateway) = stage("trusted_proxies = \"127.0.0.1\"\nproxy_protocol = \"required\"");
    let _held = fill(&gateway, "PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n", 96);
    assert!(arrive(&gateway, "PROXY TCP4 192.0.2.7 10.0.0.1 12346 80\r\n").is_none());
    fill(&gateway, "PROXY TCP4 192.0.2.8 10.0.0.1 12345 80\r\n", 1);
    eventually("it is counted", || counted(&gateway, "onedoor_connections_crowded_out_total").then_some(()));
}

#[test]
fn a_balancer_that_speaks_for_itself_may_have_all() {
    let (_app, gateway) = stage("trusted_proxies = \"127.0.0.1\"\nproxy_protocol = \"required\"");
    let _unknown = fill(&gateway, "PROXY UNKNOWN\r\n", 64);
    let _local = fill(&gateway, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 64);
    assert!(!counted(&gateway, "onedoor_connections_crowded_out_total"));
}

#[test]
fn slow_bodies_leave_the_upstream_room_for_requests_without() {
    let app = Upstream::echo();
    let gateway = Gateway::start(open_rule(&format!("{{ endpoints = \"{}\", connections = 16 }}", app.url())));
    let slow = || {
        let mut connection = Connection::open(gateway.address);
        connection.write("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab");
        connection
    };
    let mut held: Vec<_> = (0..12).map(|_| slow()).collect();
    eventually("all have reached the upstream", || (app.accepted() >= 12).then_some(()));
    let refused = gateway.send(&post("/quick", "a=b"));
    assert_eq!((refused.status(), refused.reason().as_str()), (503, "overloaded"));
    assert_eq!(gateway.get("/page").status(), 200);
    for connection in &mut held {
        connection.write("cdefghij");
        assert_eq!(connection.response(false).unwrap().json()["length"], 10);
    }
    eventually("there is room again", || (gateway.send(&post("/quick", "a=b")).status() == 200).then_some(()));
}
