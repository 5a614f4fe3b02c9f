//! The limits that a request is under, charged at each step as far as the facts are known.

use super::exchange::Exchange;
use crate::{
    access::Grant,
    http::Head,
    limits::{Exceeded, Tab},
};
use http::{HeaderName, HeaderValue, StatusCode};

/// The step that has brought new facts.
pub(super) enum Due<'a> {
    /// The request has arrived.
    Arrival(&'a Head),
    /// It is known who is calling, and that they may.
    Caller(&'a Grant),
    /// The upstream has answered, and told this for limits alone.
    Answer(StatusCode, Vec<(HeaderName, HeaderValue)>),
}

impl Exchange {
    /// The request is under these limits.
    pub(super) fn owe(&mut self, tab: Option<Box<Tab>>) {
        self.tab = tab;
    }

    /// Charges what is due.
    ///
    /// # Errors
    /// A limit is reached, and the rule is enforced.
    pub(super) async fn pay(&mut self, due: Due<'_>) -> Result<(), Exceeded> {
        // Boxed: few requests are under limits, and all would carry its size.
        match self.tab.take() {
            Some(tab) => Box::pin(self.charge(tab, due)).await,
            None => Ok(()),
        }
    }

    async fn charge(&mut self, mut tab: Box<Tab>, due: Due<'_>) -> Result<(), Exceeded> {
        let worker = self.worker();
        let outcome = match due {
            Due::Arrival(head) => tab.arrive(head, self.arrival(), worker).await,
            Due::Caller(grant) => tab.identified(grant, worker).await,
            Due::Answer(status, disclosed) => tab.answered(status, disclosed, worker).await,
        };
        let is_enforced = tab.is_enforced();
        self.tab = Some(tab);
        match outcome {
            Err(exceeded) if is_enforced => Err(exceeded),
            Err(_) => {
                self.would_refuse("rate_limited");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Gives back what was charged for an answer that does not count.
    pub(super) async fn settle(&mut self, status: StatusCode) {
        if let Some(tab) = self.tab.take() {
            Box::pin(tab.settle(status, self.worker())).await;
        }
    }
}
