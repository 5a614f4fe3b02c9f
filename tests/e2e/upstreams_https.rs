//! Upstreams over https: verified against the system's root certificates, called by their own name.

use crate::harness::{Gateway, Setup, open_rule};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
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
    let key = PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
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
