//! Cells: numbers that every worker adds to for itself, and that a page sums up.

use super::{Family, Kind};
use crate::tasks::Worker;
use std::{
    fmt::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The upper bounds of a histogram's buckets, in microseconds and as their label says it in seconds.
const BOUNDS: [(u64, &str); 16] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// How many different keys a tally keeps apart; what comes later is `other`.
const KEYS_MAX: usize = 47;

/// So many numbers fill the memory that two processors fight for as one piece.
const NUMBERS_APART: usize = 16;

/// Counts events.
#[derive(Debug, Clone)]
pub struct Counter(pub(super) Arc<Values>);

/// Counts events by a number, such as a status, and a word, such as a reason.
#[derive(Debug, Clone)]
pub struct Tally(pub(super) Arc<Values>);

/// A state that goes up and down.
#[derive(Debug, Clone)]
pub struct Gauge(pub(super) Arc<Values>);

/// Counts durations.
#[derive(Debug, Clone)]
pub struct Histogram(pub(super) Arc<Values>);

type Key = (u16, &'static str);

/// The numbers behind a cell: for every worker a stretch of its own.
#[derive(Debug)]
pub(super) struct Values {
    /// Of a tally: which key each number is for.
    keys: Box<[OnceLock<Key>]>,
    shares: Box<[Box<[AtomicU64]>]>,
}

impl Counter {
    /// One more.
    pub fn add(&self, worker: Worker) {
        self.add_many(worker, 1);
    }

    /// So many more.
    pub fn add_many(&self, worker: Worker, count: u64) {
        self.0.add(worker, 0, count);
    }
}

impl Tally {
    /// One more of these. A family without a label for the number takes 0.
    pub fn add(&self, worker: Worker, number: u16, word: &'static str) {
        let key = (number, word);
        let is_it = |place: &OnceLock<Key>| *place.get_or_init(|| key) == key;
        let place = self.0.keys.iter().position(is_it).unwrap_or(KEYS_MAX);
        self.0.add(worker, place, 1);
    }
}

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.shares[0][0].store(value, Ordering::Relaxed);
    }

    /// One more; answers how many there were.
    pub fn rise(&self) -> u64 {
        self.0.shares[0][0].fetch_add(1, Ordering::Relaxed)
    }

    /// One less.
    pub fn fall(&self) {
        self.0.shares[0][0].fetch_sub(1, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn value(&self) -> u64 {
        self.0.sum(0)
    }
}

impl Histogram {
    /// One more, which took this long.
    pub fn add(&self, worker: Worker, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| micros <= *bound).unwrap_or(BOUNDS.len());
        self.0.add(worker, bucket, 1);
        self.0.add(worker, BOUNDS.len() + 1, micros);
    }
}

impl Values {
    pub(super) fn new(kind: Kind, workers: usize) -> Self {
        let (keys, numbers, shares) = match kind {
            Kind::Counter => (0, 1, workers),
            Kind::Tally => (KEYS_MAX, KEYS_MAX + 1, workers),
            Kind::Gauge => (0, 1, 1),
            Kind::Histogram => (0, BOUNDS.len() + 2, workers),
        };
        let share = || (0..numbers.next_multiple_of(NUMBERS_APART)).map(|_| AtomicU64::new(0)).collect();
        Self {
            keys: (0..keys).map(|_| OnceLock::new()).collect(),
            shares: (0..shares.max(1)).map(|_| share()).collect(),
        }
    }

    fn add(&self, Worker(index): Worker, place: usize, count: u64) {
        self.shares[index % self.shares.len()][place].fetch_add(count, Ordering::Relaxed);
    }

    fn sum(&self, place: usize) -> u64 {
        self.shares.iter().map(|share| share[place].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    /// Writes the samples, one a line.
    pub(super) fn write(&self, page: &mut String, family: &Family, values: &[Box<str>]) {
        let labels: Vec<_> = family.labels.iter().copied().zip(values.iter().map(|value| &**value)).collect();
        match family.kind {
            Kind::Counter | Kind::Gauge => sample(page, family.name, "", &labels, self.sum(0)),
            Kind::Tally => self.write_tally(page, family, &labels),
            Kind::Histogram => self.write_histogram(page, family, labels),
        }
    }

    fn write_tally(&self, page: &mut String, family: &Family, fixed: &[(&str, &str)]) {
        let open = &family.labels[fixed.len()..];
        let keys = self.keys.iter().map_while(OnceLock::get).copied().enumerate();
        for (place, (number, word)) in keys.chain([(KEYS_MAX, (0, "other"))]) {
            let count = self.sum(place);
            if count == 0 {
                continue;
            }
            let number = number.to_string();
            let mut labels = fixed.to_vec();
            match open {
                [numbers, words] => labels.extend([(*numbers, number.as_str()), (*words, word)]),
                words => labels.extend(words.iter().map(|name| (*name, word))),
            }
            sample(page, family.name, "", &labels, count);
        }
    }

    fn write_histogram(&self, page: &mut String, family: &Family, mut labels: Vec<(&str, &str)>) {
        let mut count = 0;
        let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (place, bound) in bounds.enumerate() {
            count += self.sum(place);
            labels.push(("le", bound));
            sample(page, family.name, "_bucket", &labels, count);
            labels.pop();
        }
        let micros = self.sum(BOUNDS.len() + 1);
        let seconds = format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        sample(page, family.name, "_sum", &labels, seconds);
        sample(page, family.name, "_count", &labels, count);
    }
}

fn sample(page: &mut String, name: &str, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let _ = write!(page, "{name}{suffix}");
    for (place, (label, text)) in labels.iter().enumerate() {
        let text = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
        let _ = write!(page, "{}{label}=\"{text}\"", if place == 0 { '{' } else { ',' });
    }
    let _ = writeln!(page, "{} {value}", if labels.is_empty() { "" } else { "}" });
}
