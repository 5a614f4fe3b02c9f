//! TLS towards upstreams: who is trusted, and the name that is verified.

use crate::config::upstreams::{Endpoint, Upstream};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use std::{io, sync::Arc};

/// How an upstream's https endpoints are spoken to.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    /// They offer HTTP/1.1 by ALPN.
    pub(super) settings: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

/// The system's root certificates, loaded when the first endpoint asks that has no others.
#[derive(Default)]
pub(super) struct Roots(Option<Arc<ClientConfig>>);

impl Tls {
    /// What `upstream` asks for; `None` if none of its endpoints is https.
    ///
    /// # Errors
    /// Says what is missing when the system has no usable root certificate.
    pub(super) fn compile(upstream: &Upstream, roots: &mut Roots) -> Result<Option<Self>, String> {
        if !upstream.endpoints.iter().any(|endpoint| endpoint.https) {
            return Ok(None);
        }
        let Some(own) = &upstream.tls else {
            return Ok(Some(Self { settings: roots.settings()?, server_name: None }));
        };
        let settings = over_http1((**own.client.settings()).clone());
        Ok(Some(Self { settings, server_name: own.server_name.clone() }))
    }

    /// The name that is asked for and verified.
    pub(super) fn name_of(&self, endpoint: &Endpoint) -> io::Result<ServerName<'static>> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other),
        }
    }
}

impl Roots {
    /// Single bad ones are left out.
    fn settings(&mut self) -> Result<Arc<ClientConfig>, String> {
        if let Some(settings) = &self.0 {
            return Ok(settings.clone());
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err("the system's root certificates, and there are none".into());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.0.insert(over_http1(config)).clone())
    }
}

fn over_http1(mut settings: ClientConfig) -> Arc<ClientConfig> {
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(settings)
}
