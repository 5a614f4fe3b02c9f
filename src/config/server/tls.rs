//! `[server.tls]`.

use super::{Listen, Server, parse_address};
use crate::{
    clock,
    config::{
        Span,
        keys::{Key, Shape, Table},
        pem,
        section::Section,
    },
};
use rustls::{
    CertificateError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::ParsedCertificate,
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
pub(super) fn read(mut section: Section<'_>, listen: &[Listen], watched: &mut Vec<PathBuf>) -> Option<Tls> {
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
    if let Some(address) = tls.redirect_from.filter(|address| listen.iter().any(|listen| listen.collides(*address))) {
        let message = format!("`{address}` is already where `listen` is");
        section.reader.error(section.span_of("redirect_from"), message, "such as \"0.0.0.0:80\"");
    }
    section.finish();
    exists.then_some(tls)
}

/// Warns of TLS that clients will not be content with.
pub(super) fn check(section: &Section<'_>, server: &Server) {
    let Some(tls) = &server.tls else { return };
    let is_unix = |listen: &Listen| matches!(listen, Listen::Unix(_));
    if !server.listen.is_empty() && server.listen.iter().all(is_unix) {
        let message = "nothing speaks TLS: it is for TCP, and `listen` has unix sockets alone";
        section.reader.warning(tls.span.clone(), message, "leave [server.tls] out, or listen on TCP");
    }
    let Some(url) = &server.public_url else { return };
    // Behind a proxy it is the proxy's certificate that browsers see.
    let is_first = server.trusted_networks.is_empty() && !server.trusts_unix;
    let name = ServerName::try_from(url.host.as_str());
    let is_shown =
        |name: &ServerName<'_>| tls.certificates.iter().any(|certificate| is_for(&certificate.chain[0], name));
    if !url.https {
        let remedy = "write it with https://, or leave [server.tls] out";
        section.reader.warning(section.span_of("public_url"), "`public_url` is http, but TLS is spoken here", remedy);
    } else if is_first && !tls.certificates.is_empty() && name.is_ok_and(|name| !is_shown(&name)) {
        let message = format!("no certificate is for `{}`: browsers refuse it", url.host);
        section.reader.warning(section.span_of("public_url"), message, "add one to [server.tls] `certificates`");
    }
}

/// Whether a certificate is for this name.
pub fn is_for(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    ParsedCertificate::try_from(certificate).is_ok_and(|own| verify_server_name(&own, name).is_ok())
}

fn read_certificate(mut section: Section<'_>, watched: &mut Vec<PathBuf>) -> Option<Certificate> {
    section.require("cert", "name a PEM file with the certificate and its chain");
    section.require("key", "name a PEM file with the certificate's private key");
    let chain = pem::certificates(&mut section, "cert", watched);
    let key = pem::private_key(&mut section, "key", watched);
    let (reader, span, cert_span) = (section.reader, section.span_of("key"), section.span_of("cert"));
    section.finish();
    let (chain, key) = (chain?, key?);
    if let Err(fault) = CertifiedKey::from_der(chain.clone(), key.clone_key(), &ring::default_provider()) {
        let remedy = "the first block of `cert` is the site's own certificate, and `key` is what it was made with";
        reader.error(span, format!("certificate and key cannot be used together: {fault}"), remedy);
        return None;
    }
    if let Some(fault) = untimely(&chain[0]) {
        reader.warning(cert_span, format!("{fault}: browsers refuse it"), "replace the file: it is read again then");
    }
    Some(Certificate { chain, key: Arc::new(key) })
}

/// Why a certificate is not for today, if it is not. It is verified as if it were trusted itself.
fn untimely(own: &CertificateDer<'static>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let anybody = ServerName::try_from("a.test").ok()?;
    let now = UnixTime::since_unix_epoch(clock::since_epoch());
    match verifier.verify_server_cert(own, &[], &anybody, &[], now) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            let days = now.as_secs().saturating_sub(not_after.as_secs()) / (24 * 60 * 60);
            Some(format!("this certificate expired {days} days ago"))
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })) => {
            Some("this certificate is not valid yet".to_owned())
        }
        _ => None,
    }
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
