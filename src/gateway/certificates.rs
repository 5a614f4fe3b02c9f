//! What the site shows of itself in a TLS handshake: the certificate for the name that the client asks for.

use crate::config::{
    diagnostic::Diagnostics,
    server::{Certificate, Tls, is_for},
};
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, ring, ring::cipher_suite as suite},
    pki_types::ServerName,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{error::Error, sync::Arc};

/// The ciphers in the order in which they are chosen: of equally good ones the one that costs least.
const SUITES: [SupportedCipherSuite; 9] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The certificates in the order written.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

/// The settings of handshakes.
///
/// # Errors
/// What the library does not take, although it was read, is noted in `diagnostics`.
pub(super) fn compile_or_note(tls: &Tls, diagnostics: &mut Diagnostics) -> Result<Arc<ServerConfig>, ()> {
    compile(tls).map_err(|fault| {
        diagnostics.error(tls.span.clone(), format!("TLS cannot be served: {fault}"), "see the certificates");
    })
}

fn compile(tls: &Tls) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let provider = Arc::new(CryptoProvider { cipher_suites: SUITES.to_vec(), ..ring::default_provider() });
    let certified = |Certificate { chain, key }: &Certificate| {
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map(Arc::new)
    };
    let certificates = tls.certificates.iter().map(certified).collect::<Result<_, _>>()?;
    let versions = if tls.only_newest { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = match &tls.client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let mut store = RootCertStore::empty();
            roots.iter().try_for_each(|root| store.add(root.clone()))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates(certificates)));
    // A client's list may begin with its weakest.
    config.ignore_client_order = true;
    // Sessions are resumed by what the client keeps: nothing is kept here.
    config.ticketer = ring::Ticketer::new()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if tls.http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(Arc::new(config))
}

impl ResolvesServerCert for Certificates {
    /// The first that is for the client's name and that it can verify; else the first that it can verify.
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = client.signature_schemes();
        let mut usable = self.0.iter().filter(|certified| certified.key.choose_scheme(schemes).is_some());
        let name = client.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| {
            usable.clone().find(|certified| certified.end_entity_cert().is_ok_and(|own| is_for(own, &name)))
        });
        named.or_else(|| usable.next()).cloned()
    }
}
