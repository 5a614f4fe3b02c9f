//! TLS at the door: certificates by name, reload, versions, client certificates, and the way from http.

use crate::harness::{Connection, Gateway, Redis, Reply, Setup, Upstream, eventually, get, onedoor, open_rule};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ClientConnection, StreamOwned, pki_types::CertificateDer};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

type Certified = CertifiedKey<KeyPair>;

fn certified(name: &str) -> Certified {
    generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// A gateway for two names, with more in `[server]` and `[server.tls]`.
fn stage(server: &str, tls: &str, app: &str) -> (Gateway, [Certified; 2]) {
    let both = [certified("one.test"), certified("two.test")];
    let setup = Setup::new(format!(
        "{server}\n[server.tls]\n{tls}\ncertificates = [{{ cert = \"one.pem\", key = \"one-key.pem\" }}, \
         {{ cert = \"two.pem\", key = \"two-key.pem\" }}]\n{}",
        open_rule(&format!("\"{app}\""))
    ));
    let [one, two] = &both;
    let setup = setup.file("one.pem", one.cert.pem()).file("one-key.pem", one.signing_key.serialize_pem());
    let setup = setup.file("two.pem", two.cert.pem()).file("two-key.pem", two.signing_key.serialize_pem());
    (setup.start(), both)
}

/// What curl says of `https://NAME/`, trusting the certificate in this file: HTTP version, status, body.
fn curl(gateway: &Gateway, name: &str, trusted: &str, more: &[&str]) -> Option<(String, u16, String)> {
    let port = gateway.address.port();
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--cacert", trusted, "--write-out", "\n%{http_version} %{http_code}"])
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .args(more)
        .arg(format!("https://{name}:{port}/page"))
        .current_dir(gateway.dir())
        .output()
        .expect("curl is installed: apt-get install curl");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, facts) = text.rsplit_once('\n')?;
    let (version, status) = facts.split_once(' ')?;
    output.status.success().then(|| (version.to_owned(), status.parse().unwrap(), body.to_owned()))
}

/// A handshake with whoever it is.
fn handshake(gateway: &Gateway, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
    crate::harness::handshake(gateway.address, name)
}

fn shown(stream: &StreamOwned<ClientConnection, TcpStream>) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn ask(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> String {
    stream.write_all(b"GET /kept HTTP/1.1\r\nHost: one.test\r\n\r\n").unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn each_name_has_its_certificate_and_strangers_see_the_first() {
    let app = Upstream::echo();
    let (gateway, [one, two]) = stage("", "", &app.url());
    assert_eq!(&shown(&handshake(&gateway, "one.test")), one.cert.der());
    assert_eq!(&shown(&handshake(&gateway, "two.test")), two.cert.der());
    assert_eq!(&shown(&handshake(&gateway, "three.test")), one.cert.der());
    assert_eq!(&shown(&handshake(&gateway, "127.0.0.1")), one.cert.der());
}

#[test]
fn upstreams_learn_that_it_was_https_and_browsers_to_stay_there() {
    let app = Upstream::echo();
    let (gateway, _) = stage("", "", &app.url());
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = curl(&gateway, "two.test", "two.pem", &[option, "--include"]).unwrap();
        assert_eq!((answer.0.as_str(), answer.1), (version, 200));
        assert!(answer.2.to_ascii_lowercase().contains("strict-transport-security: max-age=86400"), "{}", answer.2);
        let seen = app.last();
        let host = format!("two.test:{}", gateway.address.port());
        assert_eq!((seen.header("x-forwarded-proto"), seen.header("host")), (Some("https"), Some(host.as_str())));
        assert_eq!(seen.header("x-forwarded-port"), Some(gateway.address.port().to_string().as_str()));
    }
}

#[test]
fn http2_is_offered_unless_the_file_says_no() {
    let app = Upstream::echo();
    let (gateway, _) = stage("", "http2 = false", &app.url());
    assert_eq!(curl(&gateway, "one.test", "one.pem", &["--http2"]).unwrap().0, "1.1");
}

#[test]
fn a_renewed_certificate_is_shown_at_once_and_no_connection_is_dropped() {
    let app = Upstream::echo();
    let (gateway, [old, _]) = stage("", "", &app.url());
    let mut kept = handshake(&gateway, "one.test");
    assert!(ask(&mut kept).starts_with("HTTP/1.1 200"));
    let new = certified("one.test");
    // Half of a renewal is none: the old pair stays.
    std::fs::write(gateway.dir().join("one.pem"), new.cert.pem()).unwrap();
    eventually("the half is refused", || gateway.output().contains("cannot be used together").then_some(()));
    assert_eq!(&shown(&handshake(&gateway, "one.test")), old.cert.der());
    std::fs::write(gateway.dir().join("one-key.pem"), new.signing_key.serialize_pem()).unwrap();
    eventually("the new one is shown", || (&shown(&handshake(&gateway, "one.test")) == new.cert.der()).then_some(()));
    assert!(ask(&mut kept).starts_with("HTTP/1.1 200"));
}

#[test]
fn old_versions_are_not_spoken() {
    let app = Upstream::echo();
    let (gateway, _) = stage("", "", &app.url());
    assert_eq!(curl(&gateway, "one.test", "one.pem", &["--tls-max", "1.2"]).unwrap().1, 200);
    assert_eq!(curl(&gateway, "one.test", "one.pem", &["--tls-max", "1.1", "--tlsv1.1"]), None);
    let (gateway, _) = stage("", "min_version = \"1.3\"", &app.url());
    assert_eq!(curl(&gateway, "one.test", "one.pem", &["--tls-max", "1.2"]), None);
    assert_eq!(curl(&gateway, "one.test", "one.pem", &[]).unwrap().1, 200);
}

#[test]
fn with_an_authority_clients_must_show_its_certificate() {
    let app = Upstream::echo();
    let (known, stranger) = (certified("known.test"), certified("stranger.test"));
    let both = certified("one.test");
    let text = format!(
        "[server.tls]\nclient_ca = \"ca.pem\"\ncertificates = {{ cert = \"one.pem\", key = \"one-key.pem\" }}\n{}",
        open_rule(&format!("\"{}\"", app.url()))
    );
    let mut setup = Setup::new(text).file("ca.pem", known.cert.pem());
    for (name, certified) in [("one", &both), ("known", &known), ("stranger", &stranger)] {
        setup = setup.file(&format!("{name}.pem"), certified.cert.pem());
        setup = setup.file(&format!("{name}-key.pem"), certified.signing_key.serialize_pem());
    }
    let gateway = setup.start();
    let with = |name: &str| {
        let (cert, key) = (format!("{name}.pem"), format!("{name}-key.pem"));
        curl(&gateway, "one.test", "one.pem", &["--cert", &cert, "--key", &key])
    };
    assert_eq!(with("known").unwrap().1, 200);
    assert_eq!(with("stranger"), None);
    assert_eq!(curl(&gateway, "one.test", "one.pem", &[]), None);
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn http_sends_its_visitors_to_https() {
    let app = Upstream::echo();
    let plain = crate::harness::free_address();
    let (gateway, _) = stage("", &format!("redirect_from = \"{plain}\""), &app.url());
    let port = gateway.address.port();
    let answer = get("/a//b?x").header("Host", "one.test:80").send(plain);
    let expected = format!("https://one.test:{port}/a/b?x");
    assert_eq!((answer.status(), answer.header("location")), (308, Some(expected.as_str())));
    assert_eq!(get("/_onedoor/healthz").send(plain).status(), 200);
    assert_eq!(get("/a").header("Host", "a@b").send(plain).status(), 400);
    assert!(app.requests().is_empty());
}

#[test]
fn a_probe_asks_where_it_needs_no_certificate_and_explain_knows_of_https() {
    let app = Upstream::echo();
    let (mut gateway, _) = stage("", "", &app.url());
    let probe = |gateway: &Gateway| {
        onedoor(&["health", "-c", "gateway.toml"]).current_dir(gateway.dir()).status().unwrap().code()
    };
    assert_eq!(probe(&gateway), Some(0));
    let mut explain = onedoor(&["explain", "GET", "/page", "-c", "gateway.toml"]);
    let story = explain.current_dir(gateway.dir()).output().unwrap().stdout;
    let story = String::from_utf8(story).unwrap();
    assert!(story.contains("over https") && story.contains("forwarded as GET /page"), "{story}");
    gateway.process.kill();
    assert_eq!(probe(&gateway), Some(69));
}

#[test]
fn silence_noise_and_plain_http_end_without_a_request() {
    let app = Upstream::echo();
    let (gateway, _) = stage("[server.limits]\nheader_timeout = \"300ms\"", "", &app.url());
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\x16"] {
        let mut silent = Connection::open(gateway.address);
        silent.write(beginning);
        assert!(silent.ends(), "{beginning:?}");
    }
    for noise in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[0xFF; 512]] {
        let mut loud = Connection::open(gateway.address);
        loud.write(noise);
        assert!(loud.ends());
    }
    assert!(app.requests().is_empty());
    assert_eq!(curl(&gateway, "one.test", "one.pem", &[]).unwrap().1, 200);
}

#[test]
fn a_managed_session_has_a_cookie_that_only_this_host_can_set() {
    let app = Upstream::start(|_| Reply::new(200, &[("Session-Login", r#"{"user":{"id":"42"}}"#)], ""));
    let redis = Redis::start();
    let one = certified("one.test");
    let text = format!(
        "[server.tls]\ncertificates = {{ cert = \"one.pem\", key = \"one-key.pem\" }}\n[store]\nurl = \"{}\"\n\
         [session]\nformat = \"onedoor\"\n[upstreams]\napp = {{ endpoints = \"{}\", session_authority = true }}\n\
         [[rules]]\nsession = \"optional\"\ndest = \"app\"\n",
        redis.url(),
        app.url()
    );
    let setup = Setup::new(text).file("one.pem", one.cert.pem());
    let gateway = setup.file("one-key.pem", one.signing_key.serialize_pem()).start();
    let answer = curl(&gateway, "one.test", "one.pem", &["--include"]).unwrap().2;
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie: ")).unwrap();
    assert!(line.contains("__Host-onedoor=") && line.contains("Secure"), "{line}");
}

#[test]
fn a_drain_finishes_what_came_over_tls() {
    let app = Upstream::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Reply::new(200, &[], "whole")
    });
    let (mut gateway, _) = stage("", "", &app.url());
    let mut stream = handshake(&gateway, "one.test");
    let _idle = handshake(&gateway, "one.test");
    let _silent = Connection::open(gateway.address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n").unwrap();
    eventually("the request is under way", || (app.accepted() > 0).then_some(()));
    gateway.process.signal("TERM");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("whole") && answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(gateway.process.exit_code(), Some(0));
}
