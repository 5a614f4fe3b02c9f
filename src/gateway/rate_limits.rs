//! The limits that a request is under, charged at each step as far as the facts are known.

use super::exchange::Exchange;
use crate::{
    access::Grant,
    http::Head,
    limits::{Charges, Exceeded},
};
use http::{HeaderName, HeaderValue, StatusCode};

/// The step that has brought new facts.
pub(super) enum Phase<'a> {
    /// The request has arrived.
    Arrival(&'a Head),
    /// It is known who is calling, and that they may.
    Caller(&'a Grant),
    /// The upstream has answered, and told this for limits alone.
    Answer(StatusCode, Vec<(HeaderName, HeaderValue)>),
}

impl Exchange {
    /// The request is under these limits.
    pub(super) fn limit(&mut self, charges: Option<Box<Charges>>) {
        self.charges = charges;
    }

    /// Charges what counts by the facts that are known now.
    ///
    /// # Errors
    /// A limit is reached, and the rule is enforced.
    pub(super) async fn charge(&mut self, phase: Phase<'_>) -> Result<(), Exceeded> {
        // Boxed: few requests are under limits, and all would carry its size.
        match self.charges.take() {
            Some(charges) => Box::pin(self.charge_each(charges, phase)).await,
            None => Ok(()),
        }
    }

    async fn charge_each(&mut self, mut charges: Box<Charges>, phase: Phase<'_>) -> Result<(), Exceeded> {
        let worker = self.worker();
        let outcome = match phase {
            Phase::Arrival(head) => charges.arrive(head, self.arrival(), worker).await,
            Phase::Caller(grant) => charges.identified(grant, worker).await,
            Phase::Answer(status, disclosed) => charges.answered(status, disclosed, worker).await,
        };
        let is_enforced = charges.is_enforced();
        self.charges = Some(charges);
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
        if let Some(charges) = self.charges.take() {
            Box::pin(charges.settle(status, self.worker())).await;
        }
    }
}
