//! Records that are strings, and records that are hashes.

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
