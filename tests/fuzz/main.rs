//! Readers of foreign bytes: recorded sessions, changed at random, are read or refused, at once and without a panic.
//!
//! Runs on stable, with seeds of its own for repeatable runs. `tests/fuzz/targets` hold the same readers for cargo-fuzz,
//! which runs for as long as one likes: see `tests/fuzz/README.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests measure real time from outside")]

mod mutation;
mod readers;

use mutation::Mutations;
use onedoor::session::value::{Value, json};
use readers::{READERS, Reader};
use std::time::{Duration, Instant};

/// How many changed records each reader is given.
const RUNS: usize = 10_000;
/// The longest that one record may take, on a slow machine and without optimisation.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads, and checks what comes out: within the time, and JSON for whoever is handed the record on.
fn read(reader: &Reader, bytes: &[u8]) -> bool {
    let begun = Instant::now();
    let read = (reader.read)(bytes);
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{} takes {took:?} for {}", reader.name, hex(bytes));
    let Ok(value) = read else { return false };
    assert!(depth(&value) <= 64, "{} nests too deeply in {}", reader.name, hex(bytes));
    let text = json::write(&value);
    if let Err(fault) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        panic!("{} gives what is no JSON: {fault} for {}", reader.name, hex(bytes));
    }
    true
}

fn depth(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_reader_has_records_to_begin_with_and_reads_them() {
    for reader in READERS {
        let seeds = reader.seeds();
        assert!(!seeds.is_empty(), "{} has no records", reader.name);
        assert!(seeds.iter().all(|seed| read(reader, seed)), "{}", reader.name);
    }
}

#[test]
fn records_cut_anywhere_are_read_or_refused() {
    for reader in READERS {
        for seed in reader.seeds() {
            for length in 0..seed.len() {
                read(reader, &seed[..length]);
            }
        }
    }
}

#[test]
fn records_changed_at_random_are_read_or_refused() {
    for reader in READERS {
        let mut mutations = Mutations::new(reader.seeds());
        for _ in 0..RUNS {
            let changed = mutations.next();
            // What can still be read is changed further, so that the changes reach deeper.
            if read(reader, &changed) {
                mutations.keep(changed);
            }
        }
    }
}

#[test]
fn a_little_that_claims_much_is_refused() {
    for reader in READERS {
        for seed in reader.seeds() {
            for claim in [u64::MAX, 1 << 60, 1 << 31, u64::from(u32::MAX)] {
                for at in 0..seed.len().min(400) {
                    for bytes in [
                        &claim.to_be_bytes()[..],
                        &claim.to_le_bytes(),
                        &claim.to_be_bytes()[4..],
                        claim.to_string().as_bytes(),
                    ] {
                        let end = seed.len().min(at + bytes.len());
                        read(reader, &[&seed[..at], bytes, &seed[end..]].concat());
                    }
                }
            }
        }
    }
}

/// The seeds as files, for cargo-fuzz.
#[test]
#[ignore = "writes tests/fuzz/corpus: cargo test --test fuzz -- --ignored"]
fn the_corpus_is_written() {
    for reader in READERS {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(reader.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (index, seed) in reader.seeds().iter().enumerate() {
            std::fs::write(folder.join(format!("record-{index}")), seed).unwrap();
        }
    }
}
