//! Records that are strings, and records that are hashes.

use super::{Failure, Link, Redis};
use crate::tasks::Worker;
use bytes::Bytes;
use fred::types::Value;

/// Packs a hash into one string; one that would be too long comes as some other string of one byte too many.
pub(super) const HASH: &str = include_str!("hash.lua");

/// What a record is in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// A hash, read as its fields and values in turn, each after its length in four bytes.
    Hash,
}

impl Redis {
    pub(super) async fn read_shape(
        &self,
        worker: Worker,
        link: &Link,
        key: &str,
        shape: Shape,
        bytes_max: usize,
    ) -> Result<Bytes, Failure> {
        if shape == Shape::Text {
            return self.read_over(worker, link, key, bytes_max).await;
        }
        let limit = bytes_max.saturating_sub(1).to_string();
        let run = self.execute(link, &self.hash, key, vec![limit.into()]);
        let packed: Value = self.ask(worker, link, run).await?;
        Ok(packed.into_bytes().unwrap_or_default())
    }
}
