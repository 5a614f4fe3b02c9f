//! Rosters: names that belong together, in the order in which they were last put there.

use super::{Failure, Primaries, milliseconds};
use crate::tasks::Worker;
use fred::{
    prelude::*,
    types::{CustomCommand, FromValue},
};
use std::time::Duration;

impl Primaries {
    /// Puts a name at the end of a roster that lives for at least `ttl` from now; answers some that were last put there
    /// longer than `settled` ago, by the server's clock.
    pub async fn enlist(
        &self,
        worker: Worker,
        roster: &str,
        name: &str,
        ttl: Duration,
        settled: Duration,
    ) -> Result<Vec<String>, Failure> {
        self.ask(worker, roster, |redis| async move {
            let arguments = vec![name.into(), milliseconds(ttl).into(), milliseconds(settled).into()];
            let link = redis.link(worker)?;
            redis.ask(worker, link, redis.execute(link, &redis.enlist, roster, arguments)).await
        })
        .await
    }

    /// The first so many names of a roster.
    pub async fn enlisted(&self, worker: Worker, roster: &str, most: usize) -> Result<Vec<String>, Failure> {
        let range = ["0".to_owned(), most.saturating_sub(1).to_string()];
        self.tell(worker, "ZRANGE", roster, &range).await
    }

    /// Takes names out of a roster.
    pub async fn strike(&self, worker: Worker, roster: &str, names: &[String]) -> Result<(), Failure> {
        if names.is_empty() {
            return Ok(());
        }
        self.tell::<Value>(worker, "ZREM", roster, names).await.map(drop)
    }

    /// A command about one key that may be executed twice.
    async fn tell<T: FromValue>(
        &self,
        worker: Worker,
        command: &'static str,
        key: &str,
        arguments: &[String],
    ) -> Result<T, Failure> {
        let words: Vec<Value> =
            [key].into_iter().chain(arguments.iter().map(String::as_str)).map(Value::from).collect();
        self.ask(worker, key, |redis| {
            let words = words.clone();
            async move {
                let link = redis.link(worker)?;
                let command = link.client.custom(CustomCommand::new_static(command, None, false), words);
                redis.ask(worker, link, command).await
            }
        })
        .await
    }
}
