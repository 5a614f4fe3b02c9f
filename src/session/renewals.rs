//! Whether the sessions in memory still live whose apps have changed their records' time to live: asked now and then, and
//! of many in one go.

use super::{
    Sessions,
    near_cache::{Confirmation, Due, Life, NearCache},
};
use crate::{
    clock,
    tasks::{self, Worker},
};
use std::{sync::Arc, time::Duration};

/// What is asked aside is not any worker's own.
const WORKER: Worker = Worker(0);

impl Sessions {
    /// Sees to it, unless somebody does, that what was renewed is asked for when that is due.
    pub(super) fn confirm_renewed(self: &Arc<Self>) {
        let turn = self.near.as_ref().filter(|near| near.has_renewed());
        let Some(Ok(turn)) = turn.map(|near| near.confirming.clone().try_acquire_owned()) else { return };
        let sessions = Arc::downgrade(self);
        tasks::background(async move {
            let _turn = turn;
            while let Some(sessions) = sessions.upgrade()
                && let Some(pause) = Box::pin(sessions.confirm_due()).await
            {
                drop(sessions);
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Asks for what is due, and tells when something may be due again; `None` = nothing will be.
    async fn confirm_due(self: &Arc<Self>) -> Option<Duration> {
        let near = self.near.as_ref()?;
        let batch = match near.due(near.moment(clock::now())) {
            Due::Nothing => return None,
            Due::In(pause) => return Some(pause),
            Due::Now(batch) => batch,
        };
        self.confirm(near, batch).await;
        Some(Duration::ZERO)
    }

    async fn confirm(self: &Arc<Self>, near: &NearCache, batch: Vec<Confirmation>) {
        let keys: Vec<&str> = batch.iter().map(|asked| &*asked.key).collect();
        match self.store.exist(WORKER, &keys).await {
            Ok(true) => batch.into_iter().for_each(|asked| near.confirmed(asked, Ok(Life::GoesOn))),
            Ok(false) => {
                let singly = batch.into_iter().map(|asked| {
                    let sessions = self.clone();
                    async move {
                        let remaining = sessions.store.remaining(WORKER, &asked.key).await;
                        let life = remaining.map(|remaining| remaining.map_or(Life::Over, Life::Lasts));
                        if let Some(near) = &sessions.near {
                            near.confirmed(asked, life);
                        }
                    }
                });
                tasks::side_by_side(singly).await;
            }
            Err(outage) => batch.into_iter().for_each(|asked| near.confirmed(asked, Err(outage.clone()))),
        }
    }
}

#[cfg(test)]
mod tests;
