//! TLS towards upstreams: who is trusted, and the name that is verified.

use super::connection::Speaks;
use crate::config::{
    tls::ClientTls,
    upstreams::{Endpoint, Upstream},
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc};

/// What a server says by ALPN that speaks HTTP/2.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// How an upstream's https endpoints are spoken to.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    settings: Settings,
    server_name: Option<ServerName<'static>>,
}

/// The same settings, by what they offer by ALPN.
#[derive(Debug, Clone)]
struct Settings {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

/// The system's root certificates, loaded when the first endpoint asks that has no others.
#[derive(Default)]
pub(super) struct Roots(Option<Settings>);

/// The system has no usable root certificate.
pub(super) struct NoRoots;

impl Tls {
    /// What `upstream` asks for; `None` if none of its endpoints is https.
    pub(super) fn compile(upstream: &Upstream, roots: &mut Roots) -> Result<Option<Self>, NoRoots> {
        if !upstream.endpoints.iter().any(|endpoint| endpoint.https) {
            return Ok(None);
        }
        let Some(own) = &upstream.tls else {
            return Ok(Some(Self { settings: roots.settings()?, server_name: None }));
        };
        let settings = Settings::of(own.client.settings());
        Ok(Some(Self { settings, server_name: own.server_name.clone() }))
    }

    /// The settings of a connection that is to speak this.
    pub(super) fn settings(&self, speaks: Speaks) -> &Arc<ClientConfig> {
        match speaks {
            Speaks::Any => &self.settings.any,
            Speaks::Http1 => &self.settings.http1,
        }
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
    fn settings(&mut self) -> Result<Settings, NoRoots> {
        if let Some(settings) = &self.0 {
            return Ok(settings.clone());
        }
        let system = ClientTls::of_system().ok_or(NoRoots)?;
        Ok(self.0.insert(Settings::of(system.settings())).clone())
    }
}

impl Settings {
    fn of(settings: &ClientConfig) -> Self {
        let offering = |protocols: &[&[u8]]| {
            let mut settings = settings.clone();
            settings.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(settings)
        };
        Self { any: offering(&[HTTP2, HTTP1]), http1: offering(&[HTTP1]) }
    }
}
