//! Whatever reads foreign bytes is given known ones, changed at random: readers of records, parsers of what clients and
//! users write, and the gateway itself. All is read or refused, at once and without a panic.
//!
//! Runs on stable, with seeds of its own for repeatable runs. `tests/fuzz/targets` hold the same readers for cargo-fuzz,
//! which runs for as long as one likes: see `tests/fuzz/README.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests measure real time from outside")]
#![expect(clippy::print_stderr, reason = "a failed test shows the last words of its processes")]
#![expect(dead_code, unused_imports, reason = "the stage is shared with the end-to-end tests, which use more of it")]

#[path = "../e2e/harness/mod.rs"]
mod harness;

#[path = "../e2e/attacks/corpus.rs"]
mod corpus;
mod gateway;
mod mutation;
mod parsers;
mod readers;
#[path = "../e2e/attacks/witness.rs"]
mod witness;

use mutation::Mutations;
use onedoor::session::value::{Value, json};
use parsers::PARSERS;
use readers::{READERS, Reader};
use std::time::{Duration, Instant};

/// How many changed records each reader is given.
const RUNS: usize = 10_000;
/// The longest that one record may take, on a slow machine and without optimisation.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads, and checks what comes out: within the time, and JSON for whoever is handed the record on.
fn read(reader: &Reader, bytes: &[u8]) -> bool {
    let Ok(value) = at_once(reader.name, bytes, reader.read) else { return false };
    assert!(depth(&value) <= 64, "{} nests too deeply in {}", reader.name, hex(bytes));
    let text = json::write(&value);
    if let Err(fault) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        panic!("{} gives what is no JSON: {fault} for {}", reader.name, hex(bytes));
    }
    true
}

/// What comes of it, in time. A busy machine may let it wait: it is slow if it is so again and again.
fn at_once<T>(name: &str, bytes: &[u8], work: fn(&[u8]) -> T) -> T {
    for _ in 0..5 {
        let begun = Instant::now();
        let outcome = work(bytes);
        if begun.elapsed() < PATIENCE {
            return outcome;
        }
    }
    panic!("{name} takes more than {PATIENCE:?} for {}", hex(bytes));
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

#[test]
fn parsers_keep_their_promises_whatever_they_are_given() {
    for parser in PARSERS {
        let seeds = (parser.seeds)();
        assert!(seeds.iter().any(|seed| (parser.parse)(seed)), "{} takes none of its own", parser.name);
        let mut mutations = Mutations::of(seeds, parser.telling, 0);
        for _ in 0..parser.runs {
            let changed = mutations.next();
            if at_once(parser.name, &changed, parser.parse) {
                mutations.keep(changed);
            }
        }
    }
}

/// The seeds as files, for cargo-fuzz.
#[test]
#[ignore = "writes tests/fuzz/corpus: cargo test --test fuzz -- --ignored"]
fn the_corpus_is_written() {
    let readers = READERS.iter().map(|reader| (reader.name, reader.seeds()));
    let parsers = PARSERS.iter().map(|parser| (parser.name, (parser.seeds)()));
    for (name, seeds) in readers.chain(parsers) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("record-{index}")), seed).unwrap();
        }
    }
}
