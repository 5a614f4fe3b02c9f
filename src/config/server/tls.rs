//! `[server.tls]`.

use crate::config::{
    Span,
    keys::{Key, Shape, Table},
    pem,
    section::Section,
    server::parse_address,
};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// The keys of `[server.tls]`.
pub(super) static TABLE: Table = Table {
    name: "[server.tls]",
    keys: &[
        Key {
            name: "certificates",
            shape: Shape::OneOrMore(&CERTIFICATES),
            meaning: "`{ cert, key }`, one or many: the first that is for the name that a client asks for, else the first. Required.",
        },
        Key {
            name: "redirect_from",
            shape: Shape::Text(None),
            meaning: "An address whose requests are sent to https with 308, such as `0.0.0.0:80`.",
        },
        Key {
            name: "min_version",
            shape: Shape::Choice { default: Some("1.2"), of: &["1.2", "1.3"] },
            meaning: "The oldest version of TLS that is spoken.",
        },
        Key {
            name: "client_ca",
            shape: Shape::Text(None),
            meaning: "Clients must show a certificate of this authority (a PEM file). By default none is asked for.",
        },
        Key { name: "http2", shape: Shape::Flag(true), meaning: "Offer HTTP/2 by ALPN." },
    ],
};

/// The keys of one certificate.
static CERTIFICATES: Table = Table {
    name: "certificates = [{ cert = ..., key = ... }]",
    keys: &[
        Key { name: "cert", shape: Shape::Text(None), meaning: "A PEM file: the certificate, then its chain." },
        Key { name: "key", shape: Shape::Text(None), meaning: "A PEM file: the private key." },
    ],
};

/// `[server.tls]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// `certificates`: each with a key that belongs to it.
    pub certificates: Vec<Certificate>,
    /// `redirect_from`
    pub redirect_from: Option<SocketAddr>,
    /// `min_version` is 1.3.
    pub only_newest: bool,
    /// `client_ca`
    pub client_roots: Option<Vec<CertificateDer<'static>>>,
    /// `http2`
    pub http2: bool,
    /// Where the section stands.
    pub span: Span,
}

/// A certificate with its chain, and its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// The site's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its `Debug` shows nothing of it.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// Reads `[server.tls]`, if it was written. Files are added to `watched`, whether they can be read or not.
pub(super) fn read(mut section: Section<'_>, watched: &mut Vec<PathBuf>) -> Option<Tls> {
    let exists = section.exists();
    if exists {
        section.require("certificates", "such as `certificates = [{ cert = \"site.pem\", key = \"site-key.pem\" }]`");
    }
    let certificates = section.tables("certificates");
    let tls = Tls {
        certificates: certificates.into_iter().filter_map(|section| read_certificate(section, watched)).collect(),
        redirect_from: section.parsed("redirect_from", parse_address),
        only_newest: section.choice("min_version") == Some("1.3"),
        client_roots: read_roots(&mut section, watched),
        http2: section.flag("http2"),
        span: section.span.clone(),
    };
    section.finish();
    exists.then_some(tls)
}

fn read_certificate(mut section: Section<'_>, watched: &mut Vec<PathBuf>) -> Option<Certificate> {
    section.require("cert", "name a PEM file with the certificate and its chain");
    section.require("key", "name a PEM file with the certificate's private key");
    let chain = pem::certificates(&mut section, "cert", watched);
    let key = pem::private_key(&mut section, "key", watched);
    let (reader, span) = (section.reader, section.span_of("key"));
    section.finish();
    let (chain, key) = (chain?, key?);
    if let Err(fault) = CertifiedKey::from_der(chain.clone(), key.clone_key(), &ring::default_provider()) {
        let remedy = "the first block of `cert` is the site's own certificate, and `key` is what it was made with";
        reader.error(span, format!("certificate and key cannot be used together: {fault}"), remedy);
        return None;
    }
    Some(Certificate { chain, key: Arc::new(key) })
}

fn read_roots(section: &mut Section<'_>, watched: &mut Vec<PathBuf>) -> Option<Vec<CertificateDer<'static>>> {
    let roots = pem::certificates(section, "client_ca", watched)?;
    let mut store = RootCertStore::empty();
    if let Some(fault) = roots.iter().find_map(|root| store.add(root.clone()).err()) {
        let message = format!("this authority cannot be used: {fault}");
        section.reader.error(section.span_of("client_ca"), message, "name a PEM file with CA certificates");
    }
    Some(roots)
}
