//! TLS as a client: whom to trust, and who we are. The one place that reads certificates and keys.

use super::section::Section;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a server is verified, and how the gateway shows who it is.
#[derive(Debug, Clone)]
pub struct ClientTls {
    trusted: Option<Vec<CertificateDer<'static>>>,
    identity: Option<Identity>,
    settings: Arc<ClientConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        (&self.trusted, &self.identity) == (&other.trusted, &other.identity)
    }
}

impl ClientTls {
    /// What a connection is opened with; offers no protocol by ALPN.
    pub fn settings(&self) -> &Arc<ClientConfig> {
        &self.settings
    }
}

/// Reads `ca`, `cert` and `key` of a section; without `ca` the system's roots are trusted. The files are added to
/// `watched`. `None` if something is wrong, which is noted then.
pub(super) fn read(section: &mut Section<'_>, watched: &mut Vec<PathBuf>) -> Option<ClientTls> {
    let mut ok = true;
    let mut file = |name| {
        let text = section.text(name)?;
        let path = section.reader.directory.join(&text.text);
        watched.push(path.clone());
        Some((path, text))
    };
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let noted = |span, outcome: Result<_, String>| {
        let remedy = "it must be a PEM file that the gateway can read";
        outcome.map_err(|problem| section.reader.error(span, problem, remedy)).ok()
    };
    let trusted = ca.map(|(path, text)| noted(text.span, certificates(&path, &text.text)));
    let chain = cert.map(|(path, text)| noted(text.span, certificates(&path, &text.text)));
    ok &= trusted != Some(None) && chain != Some(None);
    let key = key.map(|(path, text)| {
        let remedy = "it must be a PEM file that the gateway can read";
        let key = private_key(&path, &text.text);
        key.map_err(|problem| section.reader.error(text.span, problem, remedy)).ok().map(Arc::new)
    });
    ok &= key != Some(None);
    if section.has("cert") != section.has("key") {
        let remedy = "a client certificate needs both: `cert` (with its chain) and `key`";
        let written = if section.has("cert") { "cert" } else { "key" };
        section.reader.error(section.span_of(written), "`cert` and `key` belong together", remedy);
        ok = false;
    }
    if !ok {
        return None;
    }
    let (trusted, chain, key) = (trusted.flatten(), chain.flatten(), key.flatten());
    let identity = chain.zip(key).map(|(chain, key)| Identity { chain, key });
    let (at, remedy) = match (&trusted, &identity) {
        (None, None) => ("url", "install the package that holds the system's certificates (ca-certificates)"),
        _ => ("cert", "the key must be the certificate's"),
    };
    let settings = settings(trusted.as_deref(), identity.as_ref());
    let settings = settings.map_err(|problem| section.reader.error(section.span_of(at), problem, remedy)).ok()?;
    Some(ClientTls { trusted, identity, settings: Arc::new(settings) })
}

fn settings(trusted: Option<&[CertificateDer<'static>]>, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = match trusted {
        Some(trusted) => roots.add_parsable_certificates(trusted.iter().cloned()),
        // Single bad ones are left out.
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if added == 0 {
        return Err("TLS needs root certificates to trust, and there are none".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots);
    match identity {
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| format!("the client certificate cannot be used: {error}")),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(format!("`{name}` holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(problem) => Err(format!("cannot read `{name}`: {problem}")),
    }
}

/// The first private key of a PEM file.
pub(super) fn private_key(path: &Path, name: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|problem| match problem {
        rustls::pki_types::pem::Error::NoItemsFound => format!("`{name}` holds no private key"),
        problem => format!("cannot read `{name}`: {problem}"),
    })
}
