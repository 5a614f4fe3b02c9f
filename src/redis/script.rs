//! Scripts.

use super::{Link, Redis};
use fred::{
    error::Error,
    prelude::*,
    types::{CustomCommand, FromValue, scripts::Script},
};

impl Redis {
    /// Runs a script on one key, by its digest where the server knows it. (The library's own commands for scripts do not
    /// heed a connection's options.)
    pub(super) async fn execute<T: FromValue>(
        &self,
        link: &Link,
        script: &Script,
        key: &str,
        arguments: Vec<Value>,
    ) -> Result<T, Error> {
        let with = |script: &str| [script.into(), 1.into(), key.into()].into_iter().chain(arguments.clone()).collect();
        let by_digest: Vec<Value> = with(script.sha1());
        match link.once.custom(CustomCommand::new_static("EVALSHA", None, false), by_digest).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                let whole: Vec<Value> = with(script.lua().map(|text| &**text).unwrap_or_default());
                let whole = link.once.custom(CustomCommand::new_static("EVAL", None, false), whole);
                self.send(link, whole).await
            }
            reply => reply,
        }
    }
}
