//! Upstreams over https: verified against the system's root certificates or our own, called by their own name.

use crate::harness::{Gateway, Setup, open_rule};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
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
