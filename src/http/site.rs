//! What the configuration says about the site and the proxies in front of it.

use super::{
    host::{Host, HostFault, bare_name},
    peer::Peer,
    trace::Ids,
};
use ipnet::IpNet;
use std::net::IpAddr;

/// The site as its clients see it, and the peers whose word about a request's arrival counts.
#[derive(Debug)]
pub struct Site {
    public_url: Option<PublicUrl>,
    hosts: Vec<String>,
    redirect_hosts: Vec<String>,
    trusted_networks: Vec<IpNet>,
    trusts_unix: bool,
    /// New request ids.
    pub(super) ids: Ids,
}

/// The one public URL of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https` rather than `http`.
    pub https: bool,
    /// Host, lower case, without a port; an IPv6 address in brackets, as a Host header has it.
    pub host: String,
    /// The port, written or the scheme's own.
    pub port: u16,
}

impl std::fmt::Display for PublicUrl {
    /// `https://host`, with the port where it is not the scheme's own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, default) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Site {
    /// A site that answers to `hosts` (names without ports; none = any), sends visitors of `redirect_hosts` to its
    /// public URL, and believes these peers.
    pub fn new(
        public_url: Option<PublicUrl>,
        hosts: Vec<String>,
        redirect_hosts: Vec<String>,
        trusted_networks: Vec<IpNet>,
        trusts_unix: bool,
    ) -> Self {
        let bare = |hosts: Vec<String>| hosts.iter().map(|host| bare_name(host).to_owned()).collect();
        let (hosts, redirect_hosts) = (bare(hosts), bare(redirect_hosts));
        Self { public_url, hosts, redirect_hosts, trusted_networks, trusts_unix, ids: Ids::new() }
    }

    /// The one public URL, if the site has one.
    pub fn public_url(&self) -> Option<&PublicUrl> {
        self.public_url.as_ref()
    }

    /// Whether the direct peer's word counts.
    pub fn trusts(&self, peer: &Peer) -> bool {
        peer.address.map_or(self.trusts_unix, |address| self.trusts_address(address))
    }

    /// Whether this hop is a proxy of ours.
    pub fn trusts_address(&self, address: IpAddr) -> bool {
        self.trusted_networks.iter().any(|network| network.contains(&address))
    }

    /// The host, if it is one of ours: ASCII case, the port and the root's dot do not count.
    pub(super) fn own(&self, host: Host) -> Result<Host, HostFault> {
        let name = bare_name(host.name());
        let holds = |hosts: &[String]| hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        if holds(&self.redirect_hosts) {
            return Err(HostFault::Elsewhere);
        }
        let is_ours = self.hosts.is_empty() || holds(&self.hosts);
        if is_ours { Ok(host) } else { Err(HostFault::NotOurs) }
    }
}
