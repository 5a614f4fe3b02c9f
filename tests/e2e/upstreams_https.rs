//! Upstreams over https: verified against the system's root certificates or our own, called by their own name.

use crate::harness::{Gateway, Listener, Setup, Upstream, get, open_rule, post};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType, IsCa, KeyPair, date_time_ymd,
    generate_simple_self_signed,
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
};
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

fn certified() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Answers every request with the Host that it was sent. Ends with the test's process.
fn serve(identity: &CertifiedKey<KeyPair>) -> u16 {
    serve_to(identity, None)
}

/// Serves only clients whose certificate is `client`, if there is one.
fn serve_to(identity: &CertifiedKey<KeyPair>, client: Option<&CertifiedKey<KeyPair>>) -> u16 {
    let key = PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
    let provider = Arc::new(ring::default_provider());
    let verifier = client.map_or_else(WebPkiClientVerifier::no_client_auth, |client| {
        let mut roots = RootCertStore::empty();
        roots.add(client.cert.der().clone()).unwrap();
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap()
    });
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.cert.der().clone()], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            thread::spawn(move || answer(StreamOwned::new(connection, stream)));
        }
    });
    port
}

fn answer(stream: StreamOwned<ServerConnection, TcpStream>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut host = String::new();
        loop {
            let mut line = String::new();
            // A client that does not trust us leaves in the middle of the handshake.
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().to_ascii_lowercase().strip_prefix("host: ") {
                Some(name) => name.clone_into(&mut host),
                None if line == "\r\n" => break,
                None => {}
            }
        }
        write!(stream.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}", host.len()).ok()?;
        stream.get_mut().flush().ok()?;
    }
}

fn gateway(port: u16, trusted: &CertifiedKey<KeyPair>) -> Gateway {
    Setup::new(open_rule(&format!("\"https://localhost:{port}\"")))
        .file("roots.pem", trusted.cert.pem())
        .variable("SSL_CERT_FILE", "roots.pem")
        .start()
}

#[test]
fn an_upstream_that_the_system_trusts_is_called_by_its_own_name() {
    let identity = certified();
    let port = serve(&identity);
    let gateway = gateway(port, &identity);
    for _ in 0..2 {
        let response = gateway.get("/");
        assert_eq!((response.status(), response.text()), (200, format!("localhost:{port}")));
    }
}

#[test]
fn an_upstream_that_the_system_does_not_trust_gets_no_request() {
    let port = serve(&certified());
    let response = gateway(port, &certified()).get("/");
    assert_eq!((response.status(), response.reason().as_str()), (502, "upstream_unreachable"));
}

#[test]
fn an_upstream_may_have_its_own_authority_and_another_name() {
    let identity = certified();
    let port = serve(&identity);
    let start = |tls: &str| {
        let upstream = format!("{{ endpoints = \"https://127.0.0.1:{port}\", tls = {{ {tls} }} }}");
        Setup::new(open_rule(&upstream)).file("own.pem", identity.cert.pem()).start()
    };
    let named = start("ca = \"own.pem\", server_name = \"localhost\"").get("/");
    assert_eq!((named.status(), named.text()), (200, format!("127.0.0.1:{port}")));
    assert_eq!(start("ca = \"own.pem\"").get("/").status(), 502, "the certificate is for another name");
    assert_eq!(start("server_name = \"localhost\"").get("/").status(), 502, "nobody vouches for it");
}

#[test]
fn a_client_certificate_opens_what_is_closed_to_others() {
    let (identity, client) = (certified(), certified());
    let port = serve_to(&identity, Some(&client));
    let start = |more: &str| {
        let tls = format!("tls = {{ ca = \"own.pem\"{more} }}");
        Setup::new(open_rule(&format!("{{ endpoints = \"https://localhost:{port}\", {tls} }}")))
            .file("own.pem", identity.cert.pem())
            .file("door.pem", client.cert.pem())
            .file("door-key.pem", client.signing_key.serialize_pem())
            .start()
    };
    assert_eq!(start(", cert = \"door.pem\", key = \"door-key.pem\"").get("/").status(), 200);
    assert_eq!(start("").get("/").status(), 502);
}

/// What an authority signs for `localhost`, but for what `change` does to it.
fn signed(authority: &CertifiedIssuer<'_, KeyPair>, change: impl Fn(&mut CertificateParams)) -> CertifiedKey<KeyPair> {
    let signing_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    CertifiedKey { cert: params.signed_by(&signing_key, authority).unwrap(), signing_key }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn who_cannot_be_trusted_gets_nothing_and_the_log_says_why_and_what_to_do() {
    let (own, renewed) = (authority(), authority());
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2021, 11, 21);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2121, 11, 21);
    let elsewhere = |params: &mut CertificateParams| *params = CertificateParams::new(["a.test".to_owned()]).unwrap();
    let itself = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let unknown = "is signed by nobody who is trusted: name its authority by `ca` of the upstream's `tls`";
    for (identity, cause) in [
        (signed(&own, expired), "has expired at 2021-11-21T00:00:00Z: renew it there"),
        (signed(&own, early), "is not valid before 2121-11-21T00:00:00Z: correct the clocks here and there"),
        (
            signed(&own, elsewhere),
            "is for a.test, not for localhost: say so by `server_name` of the upstream's `tls`, or replace it",
        ),
        (
            signed(&own, itself),
            "is an authority's own: let that authority sign one for the server (basicConstraints CA:FALSE)",
        ),
        (signed(&renewed, |_| ()), unknown),
        (certified(), unknown),
    ] {
        let (bad, good) = (serve(&identity), Upstream::named("good"));
        let bad = format!("https://localhost:{bad}");
        let tls = "resolve = \"1h\", balance = \"round_robin\", tls = { ca = \"own.pem\" }";
        let start = |endpoints: &str| {
            let upstream = format!("{{ endpoints = {endpoints}, {tls} }}");
            Setup::new(open_rule(&upstream)).file("own.pem", own.pem()).start()
        };
        let gateway = start(&format!("{bad:?}"));
        for request in [get("/page"), post("/page", "a=1")] {
            let response = gateway.send(&request);
            assert_eq!((response.status(), response.reason().as_str()), (502, "upstream_unreachable"), "{cause}");
            assert_eq!(response.header("proxy-status"), Some("onedoor; error=tls_certificate_error"), "{cause}");
            assert!(!response.text().contains("certificate"), "that is nobody's business");
        }
        let seen = gateway.log_line("/page")["cause"].as_str().unwrap().to_owned();
        assert!(seen.starts_with(&bad) && seen.ends_with(&format!(": its certificate {cause}")), "{seen}");
        let gateway = start(&format!("[{bad:?}, {:?}]", good.url()));
        for _ in 0..12 {
            assert_eq!(post("/", "a=1").send(gateway.address).text(), "good", "nothing was sent to the other");
        }
        let line = gateway.log_line("an endpoint failed too often and gets no requests");
        assert!(line["cause"].as_str().unwrap().ends_with(cause), "{line}");
    }
}

#[test]
fn who_speaks_no_tls_or_wants_a_certificate_is_told_from_who_is_not_there() {
    let (identity, client, plain) = (certified(), certified(), Listener::bind());
    let (port, plain_url) = (serve_to(&identity, Some(&client)), plain.url());
    thread::spawn(move || plain.accept().write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    for (url, cause) in [
        (plain_url.replace("http:", "https:"), "it does not speak TLS: is it an http:// endpoint?"),
        (
            format!("https://localhost:{port}"),
            "it asks for a client certificate: name one by `cert` and `key` of the upstream's `tls`",
        ),
    ] {
        let upstream = format!("{{ endpoints = {url:?}, resolve = \"1h\", tls = {{ ca = \"own.pem\" }} }}");
        let gateway = Setup::new(open_rule(&upstream)).file("own.pem", identity.cert.pem()).start();
        let response = gateway.get("/page");
        assert_eq!((response.status(), response.reason().as_str()), (502, "upstream_unreachable"), "{cause}");
        assert_eq!(response.header("proxy-status"), Some("onedoor; error=destination_unavailable"), "{cause}");
        let seen = gateway.log_line("/page")["cause"].as_str().unwrap().to_owned();
        assert!(seen.starts_with(&url) && seen.ends_with(cause), "{seen}");
    }
}
