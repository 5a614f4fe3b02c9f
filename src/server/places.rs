//! The places of client connections: so many altogether, and for one client never so many that none is left for others.

use super::meter::Meter;
use crate::{
    http::{peer::Peer, site::Site},
    tasks::Worker,
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Where there are fewer places than this, one client may have them all.
const MANY: usize = 128;

/// All places, shared by the workers.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    meter: Meter,
    /// As many as there may be files open, with some left for upstreams and stores.
    files: usize,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// An open connection's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    client: Option<IpAddr>,
}

impl Places {
    /// `files` is how many files the process may have open.
    pub fn new(meter: Meter, files: usize) -> Self {
        let files = files - files / 4;
        Self(Arc::new(Shared { meter, files, clients: Mutex::default() }))
    }

    /// A place for a connection that was just accepted; `None` = there is none left.
    /// `connections` is how many there may be.
    pub fn take(&self, connections: usize, worker: Worker) -> Option<Place> {
        let Shared { meter, files, .. } = &*self.0;
        let most = connections.min(*files);
        let open = meter.open.rise();
        let place = Place { places: self.clone(), client: None };
        if open < most as u64 {
            return Some(place);
        }
        meter.turned_away.add(worker);
        if meter.crowd_told.is_due() {
            tracing::warn!(connections = most, "connections are turned away: too many are open");
        }
        None
    }
}

impl Place {
    /// The connection is this client's: a trusted proxy may have all places, anybody else three quarters of many. Whether that
    /// leaves one.
    pub fn belongs_to(&mut self, peer: &Peer, site: &Site, connections: usize) -> bool {
        let stranger = peer.address.filter(|address| !site.trusts_address(*address));
        let Some(client) = stranger.map(network) else { return true };
        let Shared { meter, files, clients, .. } = &*self.places.0;
        let all = connections.min(*files);
        let most = if all < MANY { all } else { all - all / 4 };
        {
            let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
            let open = clients.entry(client).or_default();
            if *open < most {
                *open += 1;
                self.client = Some(client);
                return true;
            }
        }
        meter.crowded.add(peer.worker);
        if meter.crowd_told.is_due() {
            tracing::warn!(%client, connections = most, "connections of one client are turned away: it has too many");
        }
        false
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Shared { meter, clients, .. } = &*self.places.0;
        meter.open.fall();
        let Some(client) = self.client else { return };
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = clients.get_mut(&client) {
            *open -= 1;
            if *open == 0 {
                clients.remove(&client);
            }
        }
    }
}

/// The client's address; of IPv6 the network that one customer has.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn come(places: &Places, connections: usize, address: &str) -> Option<Place> {
        let trusted = vec!["192.0.2.0/24".parse().unwrap()];
        let site = Site::new(None, Vec::new(), Vec::new(), trusted, false);
        let peer = Peer::new(address.parse().ok(), None, false, Worker(0));
        let mut place = places.take(connections, Worker(0))?;
        place.belongs_to(&peer, &site, connections).then_some(place)
    }

    /// The places that so many connections find.
    fn crowd(places: &Places, addresses: &[&str]) -> Vec<Option<Place>> {
        addresses.iter().map(|address| come(places, MANY, address)).collect()
    }

    fn places(files: usize) -> Places {
        Places::new(Meter::new(&Metrics::new(1)), files)
    }

    #[test]
    fn one_client_has_three_quarters_and_the_others_the_rest() {
        let places = places(1000);
        let mut held = crowd(&places, &["198.51.100.7"; 97]);
        assert!(held[..96].iter().all(Option::is_some) && held[96].is_none());
        assert!(come(&places, MANY, "::ffff:198.51.100.7").is_none(), "it is the same in another spelling");
        let other = come(&places, MANY, "198.51.100.8");
        assert!(other.is_some());
        held.remove(0);
        assert!(come(&places, MANY, "198.51.100.7").is_some());
        let shared = &places.0;
        assert_eq!(shared.meter.open.value(), 96);
        drop((held, other));
        assert_eq!(shared.meter.open.value(), 0);
        assert!(shared.clients.lock().unwrap().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let places = places(1000);
        let addresses: Vec<_> = (1..=97).map(|last| format!("2001:db8::{last}:1")).collect();
        let held = crowd(&places, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(held.iter().flatten().count(), 96);
        assert!(come(&places, MANY, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn proxies_that_are_trusted_and_unix_sockets_may_have_all() {
        for address in ["192.0.2.1", "a unix socket"] {
            let held = crowd(&places(1000), &[address; 129]);
            assert_eq!(held.iter().flatten().count(), 128, "{address}");
        }
    }

    #[test]
    fn a_few_places_may_all_be_one_clients() {
        let places = places(1000);
        let held: Vec<_> = (0..9).filter_map(|_| come(&places, 8, "198.51.100.7")).collect();
        assert_eq!(held.len(), 8);
    }

    #[test]
    fn a_quarter_of_all_files_is_not_for_clients() {
        let places = places(8);
        let held: Vec<_> = (0..9).filter_map(|_| places.take(20_000, Worker(0))).collect();
        assert_eq!(held.len(), 6);
    }
}
