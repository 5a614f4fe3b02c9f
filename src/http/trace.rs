//! The names under which one request is found again: request id and trace context.

use crate::tasks::Worker;
use bytes::Bytes;
use http::HeaderValue;
use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// Makes request ids and trace contexts without asking the system for randomness each time: a counter, once under a
/// keyed hash, which nobody can guess, and once scrambled from a random start, which never repeats.
#[derive(Debug)]
pub(super) struct Ids {
    key: RandomState,
    start: u64,
    counts: [Count; LANES],
}

/// Counters that workers share as few of as possible, each alone in its piece of memory.
const LANES: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

/// New names for one request.
pub(super) struct Fresh {
    /// 32 hex digits, the trace id of `traceparent`.
    pub(super) request_id: HeaderValue,
    /// A new trace (W3C Trace Context, version 00), sampled, so that upstreams go on deciding as if it began with them.
    pub(super) traceparent: HeaderValue,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new(), start: RandomState::new().hash_one(0), counts: Default::default() }
    }

    pub(super) fn fresh(&self, Worker(index): Worker) -> Fresh {
        let lane = index % LANES;
        let count = self.counts[lane].0.fetch_add(LANES as u64, Ordering::Relaxed) + lane as u64;
        let high = self.key.hash_one(count);
        let low = scramble(self.start.wrapping_add(count));
        // The lowest bit is set because a span of zeros is invalid.
        let span = scramble(high) | 1;
        let mut text = *b"00-................................-................-01";
        for (at, number) in [(3, high), (19, low), (36, span)] {
            text[at..at + 8].copy_from_slice(&hex((number >> 32) as u32));
            text[at + 8..at + 16].copy_from_slice(&hex(number as u32));
        }
        let text = Bytes::copy_from_slice(&text);
        let value = |text| HeaderValue::from_maybe_shared(text).expect("hex digits and dashes are a valid value");
        Fresh { request_id: value(text.slice(3..35)), traceparent: value(text) }
    }
}

/// A one-to-one mix of all bits (the finaliser of SplitMix64).
fn scramble(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Eight hex digits, all at once: each gets a byte of its own, those above nine are moved on to the letters.
fn hex(number: u32) -> [u8; 8] {
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (digits + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// Whether a trusted peer's request id is kept: 1 to 128 letters, digits and `._:+/=-`.
pub(super) fn is_sane_id(id: &[u8]) -> bool {
    let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:+/=-".contains(byte);
    (1..=128).contains(&id.len()) && id.iter().all(is_sane)
}

/// Whether this is a trace context that can be continued (W3C Trace Context section 3.2).
pub(super) fn is_traceparent(text: &[u8]) -> bool {
    let Some((head, rest)) = text.split_first_chunk::<55>() else { return false };
    let [version, trace, span, flags] = [&head[..2], &head[3..35], &head[36..52], &head[53..]];
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let ends_well = if version == b"00" { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
    [2, 35, 52].iter().all(|dash| head[*dash] == b'-')
        && [version, trace, span, flags].iter().all(|part| is_hex(part))
        && !(version == b"ff" || is_zero(trace) || is_zero(span))
        && ends_well
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn fresh_ids_are_unique_hex_and_begin_valid_traces() {
        let ids = [Ids::new(), Ids::new()];
        let mut seen = HashSet::new();
        for fresh in ids.iter().flat_map(|ids| (0..10_000).map(|number| ids.fresh(Worker(number % 20)))) {
            assert!(is_traceparent(fresh.traceparent.as_bytes()), "{:?}", fresh.traceparent);
            assert_eq!(fresh.request_id.len(), 32);
            assert_eq!(fresh.request_id.as_bytes(), &fresh.traceparent.as_bytes()[3..35]);
            assert!(seen.insert(fresh.request_id));
        }
    }

    #[test]
    fn every_digit_is_written() {
        for number in [0, 0x0123_4567, 0x89ab_cdef, 0xf9a0_0a9f, u32::MAX] {
            assert_eq!(str::from_utf8(&hex(number)), Ok(format!("{number:08x}").as_str()));
        }
    }

    #[test]
    fn only_short_plain_ids_are_sane() {
        for id in ["a", "0af7651916cd43dd8448eb211c80319c", "Root=1-67891233-abc/def+x:y.z_"] {
            assert!(is_sane_id(id.as_bytes()), "{id}");
        }
        for id in ["", "a b", "a\"", "a;b", "\u{e9}", "a,b", &"a".repeat(129)] {
            assert!(!is_sane_id(id.as_bytes()), "{id}");
        }
    }

    #[test]
    fn only_valid_trace_contexts_are_continued() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(valid.as_bytes()));
        assert!(is_traceparent(format!("cc{}-what", &valid[2..]).as_bytes()));
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        let (upper, longer) = (valid.to_uppercase(), format!("{valid}-x"));
        let unknown = format!("ff{}", &valid[2..]);
        for text in ["", "00", &valid[..54], zeros, zero_span, &upper, &longer, &unknown, &valid.replace('-', "_")] {
            assert!(!is_traceparent(text.as_bytes()), "{text}");
        }
    }
}
