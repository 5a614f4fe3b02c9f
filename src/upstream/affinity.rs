//! Which requests belong together: a number that is the same in every worker, gateway and release.

use crate::{
    access::Grant,
    config::upstreams::{Balance, HashBy},
    http::{Head, arrival::Arrival},
};
use std::net::IpAddr;

/// Whose request it is, as far as it matters to where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Who may.
    pub grant: &'a Grant,
    /// From where.
    pub arrival: &'a Arrival,
    /// The client's own fields.
    pub head: &'a Head,
}

impl Origin<'_> {
    /// The caller: a user, without one a session, without one an address.
    pub fn caller(&self) -> u64 {
        match (self.grant.session(), self.grant.first_presented()) {
            (Some(session), _) => hash([b"user", session.name.as_bytes(), session.user.as_bytes()]),
            (None, Some(id)) => hash([b"session", b"", id.expose().as_bytes()]),
            (None, None) => self.address(),
        }
    }

    fn address(&self) -> u64 {
        match self.arrival.client {
            Some(IpAddr::V4(address)) => hash([b"address", b"", &address.octets()]),
            Some(IpAddr::V6(address)) => hash([b"address", b"", &address.octets()]),
            None => hash([b"address", b"", b""]),
        }
    }

    /// What requests that go to the same endpoint share, if `balance` wants to know.
    pub(super) fn key(&self, balance: &Balance) -> Option<u64> {
        match balance {
            Balance::LeastRequests | Balance::RoundRobin => None,
            Balance::Hash(HashBy::User) => Some(self.caller()),
            Balance::Hash(HashBy::Ip) => Some(self.address()),
            Balance::Hash(HashBy::Header(name)) => {
                self.head.headers.get(name).map(|value| hash([b"header", b"", value.as_bytes()]))
            }
        }
    }
}

/// FNV-1a over parts that cannot run into each other, and mixed well.
pub fn hash<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&(part.len() as u64).to_le_bytes()) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    mix(state)
}

/// Spreads neighbouring numbers over all numbers (splitmix64).
pub(super) fn mix(number: u64) -> u64 {
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// How much a key wants a place: it goes to the one that it wants most, so that only the keys of a place that vanishes
/// move (rendezvous hashing).
pub fn rendezvous(key: u64, place: u64) -> u64 {
    mix(key ^ place)
}
