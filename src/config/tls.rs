//! TLS as a client: whom to trust, and who we are.

use super::{pem, section::Section};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{path::PathBuf, sync::Arc};

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
    /// Trusts the system's root certificates, and shows no certificate; `None` if the system has none.
    pub fn of_system() -> Option<Self> {
        let settings = trusting(None)?.with_no_client_auth();
        Some(Self { trusted: None, identity: None, settings: Arc::new(settings) })
    }

    /// What a connection is opened with; offers no protocol by ALPN.
    pub fn settings(&self) -> &Arc<ClientConfig> {
        &self.settings
    }
}

/// Reads `ca`, `cert` and `key` of a section; without `ca` the system's roots are trusted. The files are added to
/// `watched`. `None` if something is wrong, which is noted then.
pub(super) fn read(section: &mut Section<'_>, watched: &mut Vec<PathBuf>) -> Option<ClientTls> {
    let trusted = pem::certificates(section, "ca", watched);
    let chain = pem::certificates(section, "cert", watched);
    let key = pem::private_key(section, "key", watched).map(Arc::new);
    if section.has("cert") != section.has("key") {
        let remedy = "a client certificate needs both: `cert` (with its chain) and `key`";
        let written = if section.has("cert") { "cert" } else { "key" };
        section.reader.error(section.span_of(written), "`cert` and `key` belong together", remedy);
        return None;
    }
    let is_lacking =
        section.has("ca") && trusted.is_none() || section.has("cert") && (chain.is_none() || key.is_none());
    if is_lacking {
        return None;
    }
    let identity = chain.zip(key).map(|(chain, key)| Identity { chain, key });
    match settings(trusted.as_deref(), identity.as_ref()) {
        Ok(settings) => Some(ClientTls { trusted, identity, settings: Arc::new(settings) }),
        Err(Unusable { key, message, remedy }) => {
            section.reader.error(section.span_of(key), message, remedy);
            None
        }
    }
}

/// Why a connection cannot be opened so.
struct Unusable {
    key: &'static str,
    message: String,
    remedy: &'static str,
}

fn settings(
    trusted: Option<&[CertificateDer<'static>]>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, Unusable> {
    let builder = trusting(trusted).ok_or_else(|| {
        let (key, remedy) = match trusted {
            Some(_) => ("ca", "name a PEM file with CA certificates"),
            None => ("url", "install the package that holds the system's certificates (ca-certificates), or set `ca`"),
        };
        Unusable { key, message: "TLS needs a certificate to trust, and there is none".to_owned(), remedy }
    })?;
    match identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|error| Unusable {
                key: "key",
                message: format!("the client's certificate and key cannot be used together: {error}"),
                remedy: "the first block of `cert` is the gateway's own certificate, and `key` is what it was made with",
            })
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

/// `None` if there is no certificate to trust; without `trusted` the system's are. Bad ones are left out.
fn trusting(trusted: Option<&[CertificateDer<'static>]>) -> Option<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    let (added, _) = match trusted {
        Some(trusted) => roots.add_parsable_certificates(trusted.iter().cloned()),
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows the protocol versions that rustls has by default");
    (added > 0).then(|| builder.with_root_certificates(roots))
}
