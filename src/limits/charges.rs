//! The limits that one request is under: each is charged as soon as the facts that it counts by are known.

use super::{
    Exceeded, Limit, Step,
    key::{Facts, Found, Key},
};
use crate::{
    access::Grant,
    config::limits::By,
    http::{Head, arrival::Arrival},
    tasks::Worker,
};
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;

/// What one request is charged. One that is dropped unsettled, because its client left, stays charged.
#[derive(Debug)]
pub struct Charges {
    /// Those whose facts are not known yet.
    due: Vec<Arc<Limit>>,
    /// Those that give back unless the answer counts.
    charged: Vec<(Arc<Limit>, Key)>,
    facts: Facts,
    enforce: bool,
}

impl Charges {
    pub(super) fn new(due: Vec<Arc<Limit>>, enforce: bool) -> Self {
        Self { due, charged: Vec::new(), facts: Facts::default(), enforce }
    }

    /// Whether a limit that is reached refuses the request.
    pub fn is_enforced(&self) -> bool {
        self.enforce
    }

    /// Charges what counts by address and headers.
    ///
    /// # Errors
    /// A limit is reached.
    pub async fn arrive(&mut self, head: &Head, arrival: &Arrival, worker: Worker) -> Result<(), Exceeded> {
        self.facts.client = arrival.client;
        for by in self.due.iter().flat_map(|limit| &limit.spec.by) {
            if let By::Header(name) = by
                && !self.facts.headers.iter().any(|(known, _)| known == name)
            {
                let lines = head.headers.get_all(name).iter().map(|value| (name.clone(), value.clone()));
                self.facts.headers.extend(lines);
            }
        }
        self.charge(None, worker).await
    }

    /// Charges what counts by user and session.
    ///
    /// # Errors
    /// A limit is reached.
    pub async fn identified(&mut self, grant: &Grant, worker: Worker) -> Result<(), Exceeded> {
        let session = grant.session();
        self.facts.user = Some(session.map(|session| format!("{}:{}", session.name, session.user)));
        self.facts.session = Some(session.map(|session| format!("{}:{}", session.name, session.id.expose())));
        self.charge(None, worker).await
    }

    /// Charges what counts by a header of the response.
    ///
    /// # Errors
    /// A limit is reached: the client must not see this response.
    pub async fn answered(
        &mut self,
        status: StatusCode,
        disclosed: Vec<(HeaderName, HeaderValue)>,
        worker: Worker,
    ) -> Result<(), Exceeded> {
        self.facts.response = Some(disclosed);
        self.charge(Some(status), worker).await
    }

    /// Gives back what was charged for an answer that does not count.
    pub async fn settle(self, status: StatusCode, worker: Worker) {
        for (limit, key) in self.charged {
            if !limit.spec.count.contains(&status) {
                // Giving back is never refused.
                let _ = limit.step(&key, Step::Return, worker).await;
            }
        }
    }

    async fn charge(&mut self, status: Option<StatusCode>, worker: Worker) -> Result<(), Exceeded> {
        for limit in std::mem::take(&mut self.due) {
            let key = match self.facts.key(&limit.spec.by) {
                Found::Key(key) => key,
                Found::Later => {
                    self.due.push(limit);
                    continue;
                }
                Found::Never => continue,
            };
            let counts = |status: StatusCode| limit.spec.count.is_empty() || limit.spec.count.contains(&status);
            // Before the answer everything counts, so that a crowd of requests at once is no way around.
            let step = if status.is_none_or(counts) { Step::Take } else { Step::Look };
            limit.step(&key, step, worker).await?;
            if status.is_none() && !limit.spec.count.is_empty() {
                self.charged.push((limit, key));
            }
        }
        Ok(())
    }
}
