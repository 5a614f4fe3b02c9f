//! TLS towards upstreams: verified against the system's root certificates.

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::sync::Arc;

/// The system's root certificates, loaded when the first https endpoint asks.
#[derive(Default)]
pub(super) struct Roots(Option<Arc<ClientConfig>>);

impl Roots {
    /// Settings that offer HTTP/1.1 by ALPN.
    ///
    /// # Errors
    /// Says what is missing when the system has no usable root certificate. Single bad ones are left out.
    pub(super) fn settings(&mut self) -> Result<Arc<ClientConfig>, String> {
        if let Some(settings) = &self.0 {
            return Ok(settings.clone());
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err("the system's root certificates, and there are none".into());
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(self.0.insert(Arc::new(config)).clone())
    }
}
