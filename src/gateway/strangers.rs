//! Peers that speak for others although nobody trusts them: each is told about once, with what to do.

use crate::http::peer::Peer;
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// So many peers are told about; anybody can send such headers.
const TOLD_MAX: usize = 16;

/// The peers that were told about; `None` is a unix socket.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Vec<Option<IpAddr>>>);

impl Strangers {
    /// Tells about a peer that is not trusted and sent `X-Forwarded-*`, the first time.
    pub(super) fn note(&self, peer: &Peer) {
        if !self.is_new(peer.address) {
            return;
        }
        let line = match peer.address {
            Some(address) => format!("trusted_proxies = [\"{address}\"]"),
            None => "trusted_proxies = [\"unix\"]".to_owned(),
        };
        tracing::warn!(
            line,
            "a peer sends X-Forwarded-* and is not believed: if it is your proxy, add this line to [server]"
        );
    }

    fn is_new(&self, address: Option<IpAddr>) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.len() < TOLD_MAX && !told.contains(&address);
        if is_new {
            told.push(address);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_new_once_and_a_crowd_is_not_told_about() {
        let strangers = Strangers::default();
        assert!(strangers.is_new(None));
        assert!(!strangers.is_new(None));
        let news = (0..100u8).filter(|last| strangers.is_new(Some([192, 0, 2, *last].into())));
        assert_eq!(news.count(), TOLD_MAX - 1);
    }
}
