//! Arrivals seen from strangers and from trusted peers.

use super::*;
use crate::{http::hop_by_hop, tasks::Worker};
use proptest::prelude::*;

const PUBLIC: Option<(bool, &str)> = Some((true, "example.test"));

fn site(public_url: Option<(bool, &str)>, hosts: &[&str]) -> Site {
    let url = public_url.map(|(https, host)| PublicUrl { https, host: host.to_owned(), port: 443 });
    let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().expect("the test's network is valid"));
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Site::new(url, hosts, vec!["www.example.test".to_owned()], networks.to_vec(), true)
}

fn peer(address: &str) -> Peer {
    Peer::new(address.parse().ok(), None, false, Worker(0))
}

fn head(fields: &[(&str, &str)]) -> Head {
    let mut request = http::Request::builder().uri("/");
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "example.test");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("the test's request is valid").into_parts().0
}

fn arrive(from: &str, fields: &[(&str, &str)]) -> Arrival {
    Arrival::of(&head(fields), &peer(from), &site(None, &[]))
}

/// The headers that an upstream sees.
fn written(from: &str, fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = head(fields).headers;
    let arrival = arrive(from, fields);
    hop_by_hop::strip(&mut headers, |name| arrival.replaces(name));
    arrival.write(&mut headers);
    headers
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().map(|value| value.to_str().expect("the value is text"));
    assert!(lines.next().is_none(), "two lines of {name}");
    line
}

#[test]
fn a_strangers_word_counts_for_nothing() {
    let lies = [
        ("x-forwarded-for", "1.1.1.1"),
        ("X_Forwarded_For", "1.1.1.1"),
        ("x.forwarded-proto", "https"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/x"),
        ("forwarded", "for=1.1.1.1;proto=https"),
        ("x-real-ip", "1.1.1.1"),
        ("x_real.ip", "1.1.1.1"),
        ("x-client-ip", "1.1.1.1"),
        ("true_client_ip", "1.1.1.1"),
        ("cf-connecting-ip", "1.1.1.1"),
        ("x-original-url", "/admin"),
        ("x-original_uri", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("proxy", "evil"),
        ("x-request-id", "mine"),
        ("x_request_id", "mine"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
    ];
    let arrival = arrive("9.9.9.9", &lies);
    assert!(!arrival.https && !arrival.trusted && arrival.spoofed);
    assert_eq!(arrival.client, "9.9.9.9".parse().ok());

    let headers = written("9.9.9.9", &lies);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let ours = ["host", "traceparent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"];
    assert_eq!(names, [&ours[..], &["x-request-id"]].concat());
    assert_eq!(text(&headers, "x-forwarded-for"), Some("9.9.9.9"));
    assert_eq!(text(&headers, "x-forwarded-proto"), Some("http"));
    assert_eq!(text(&headers, "x-forwarded-host"), Some("example.test"));
    assert_eq!(text(&headers, "x-forwarded-port"), Some("80"));
    assert_ne!(text(&headers, "x-request-id"), Some("mine"));
    assert_ne!(text(&headers, "traceparent").map(|text| &text[3..35]), Some("0af7651916cd43dd8448eb211c80319c"));
}

#[test]
fn the_client_is_the_rightmost_hop_that_is_not_trusted() {
    let cases = [
        (&["1.1.1.1"][..], "1.1.1.1, 10.0.0.1"),
        (&["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1, 10.0.0.2, 10.0.0.1"),
        (&["6.6.6.6", "1.1.1.1:443, 10.0.0.2:80"], "1.1.1.1, 10.0.0.2, 10.0.0.1"),
        (&["[2001:db9::1]:80, [2001:db8::2]"], "2001:db9::1, 2001:db8::2, 10.0.0.1"),
        (&["::ffff:1.1.1.1"], "1.1.1.1, 10.0.0.1"),
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3, 10.0.0.2, 10.0.0.1"),
        (&["1.1.1.1, garbage, 10.0.0.2"], "10.0.0.2, 10.0.0.1"),
        (&["1.1.1.1, unknown"], "10.0.0.1"),
        (&["1.1.1.1,, ,"], "1.1.1.1, 10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&[], "10.0.0.1"),
    ];
    for (lines, expected) in cases {
        let fields: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        assert_eq!(text(&written("10.0.0.1", &fields), "x-forwarded-for"), Some(expected), "{lines:?}");
        let client = expected.split(", ").next().and_then(|client| client.parse().ok());
        assert_eq!(arrive("10.0.0.1", &fields).client, client, "{lines:?}");
    }
}

#[test]
fn forwarded_is_believed_where_there_is_no_x_forwarded_for() {
    let line = "for=6.6.6.6;proto=http, For=\"[2001:db9::1]:80\";Proto=HTTPS;host=\"a.test\", for=10.0.0.2;proto=http";
    let arrival = arrive("10.0.0.1", &[("forwarded", line)]);
    assert_eq!(arrival.client, "2001:db9::1".parse().ok());
    assert!(arrival.https);
    assert_eq!(arrival.host.map(|host| host.authority), Ok(HeaderValue::from_static("a.test")));
    let headers = written("10.0.0.1", &[("forwarded", line), ("x-forwarded-for", "1.1.1.1")]);
    assert_eq!(text(&headers, "x-forwarded-for"), Some("1.1.1.1, 10.0.0.1"));
    assert_eq!(text(&headers, "forwarded"), Some(line));
    for hidden in ["for=unknown;proto=https", "for=_a;proto=https", "proto=https"] {
        let arrival = arrive("10.0.0.1", &[("forwarded", hidden)]);
        assert_eq!((arrival.client, arrival.https), ("10.0.0.1".parse().ok(), true), "{hidden}");
    }
    assert_eq!(arrive("10.0.0.1", &[("forwarded", "for=\"1.1.1.1, for=2.2.2.2")]).client, "10.0.0.1".parse().ok());
}

#[test]
fn https_is_tls_then_a_trusted_word_then_the_public_url() {
    let judge = |tls: bool, from: &str, proto: &str, public_url| {
        let peer = Peer { https: tls, ..peer(from) };
        Arrival::of(&head(&[("x-forwarded-proto", proto)]), &peer, &site(public_url, &[])).https
    };
    assert!(judge(true, "10.0.0.1", "http", None));
    assert!(judge(false, "10.0.0.1", "HTTPS", None));
    assert!(judge(false, "10.0.0.1", "http, wss", None));
    assert!(!judge(false, "10.0.0.1", "http", PUBLIC));
    assert!(judge(false, "10.0.0.1", "gopher", PUBLIC));
    assert!(judge(false, "9.9.9.9", "http", PUBLIC));
    assert!(!judge(false, "9.9.9.9", "https", None));
}

#[test]
fn a_peer_on_a_unix_socket_can_be_trusted() {
    let arrival = arrive("", &[("x-forwarded-for", "1.1.1.1")]);
    assert_eq!((arrival.client, arrival.trusted), ("1.1.1.1".parse().ok(), true));
    assert_eq!(text(&written("", &[("x-forwarded-for", "1.1.1.1")]), "x-forwarded-for"), Some("1.1.1.1"));
    assert_eq!(text(&written("", &[]), "x-forwarded-for"), None);
}

#[test]
fn a_trusted_peer_names_host_port_request_and_trace() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = [
        ("x-forwarded-host", "Shop.test:8443"),
        ("x-forwarded-port", "9443"),
        ("x-request-id", "abc-1"),
        ("traceparent", parent),
        ("tracestate", "a=b"),
        ("x-forwarded-prefix", "/shop"),
        ("x-real-ip", "1.1.1.1"),
        ("x_forwarded_for", "6.6.6.6"),
    ];
    let headers = written("10.0.0.1", &fields);
    for (name, value) in &fields[..7] {
        assert_eq!(text(&headers, name), Some(*value), "{name}");
    }
    assert!(!headers.contains_key("x_forwarded_for"));
    let without_port = written("10.0.0.1", &[("x-forwarded-host", "shop.test:8443")]);
    assert_eq!(text(&without_port, "x-forwarded-port"), Some("8443"));
    let lists = written("10.0.0.1", &[("x-forwarded-host", "a.test, b.test"), ("x-forwarded-proto", "https")]);
    assert_eq!(text(&lists, "x-forwarded-host"), Some("example.test"));
    assert_eq!(text(&lists, "x-forwarded-port"), Some("443"));
}

#[test]
fn an_insane_request_id_or_trace_is_replaced() {
    let headers = written("10.0.0.1", &[("x-request-id", "a b"), ("traceparent", "00-x"), ("tracestate", "a=b")]);
    let id = text(&headers, "x-request-id").expect("there is a request id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(text(&headers, "traceparent").map(|text| &text[3..35]), Some(id));
    assert_eq!(text(&headers, "tracestate"), None);
}

#[test]
fn a_host_that_is_not_ours_is_told_from_one_that_is_invalid() {
    let judge = |host: &str| {
        let site = site(PUBLIC, &["example.test", "[::1]"]);
        Arrival::of(&head(&[("host", host)]), &peer("9.9.9.9"), &site).host.map(|host| host.authority)
    };
    for host in ["example.test", "EXAMPLE.test:99", "example.test.", "[::1]:80"] {
        assert_eq!(judge(host), Ok(HeaderValue::from_str(host).expect("a value")));
    }
    for host in ["evil.test", "example.test.evil.test", "xexample.test", "example.test..", "127.0.0.1"] {
        assert_eq!(judge(host), Err(HostFault::NotOurs), "{host}");
    }
    assert!(matches!(judge("a@example.test"), Err(HostFault::Invalid(_))));
}

proptest! {
    #[test]
    fn no_garbage_hop_reaches_an_upstream(
        line in "[0-9a-f:., \\[\\]]{0,40}",
        from in "(10\\.0\\.0\\.1|9\\.9\\.9\\.9)",
    ) {
        let headers = written(&from, &[("x-forwarded-for", &line)]);
        for hop in text(&headers, "x-forwarded-for").expect("the direct peer is known").split(", ") {
            prop_assert!(hop.parse::<IpAddr>().is_ok(), "{}", hop);
        }
    }

    #[test]
    fn any_forwarded_line_is_read_without_a_panic(line in "[ -~]{0,60}") {
        arrive("10.0.0.1", &[("forwarded", &line)]);
    }
}
