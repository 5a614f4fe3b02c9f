//! What is counted, for `/metrics` in Prometheus' text format.
//!
//! To count something new:
//!
//! 1. Give it a line in [`families`]: constant, kind, name, labels, help. Labels are names from the configuration
//!    (rule, session, format, upstream) or words of our own, never anything that a client chose. README's table of
//!    metrics wants a line, too; a test compares the two.
//! 2. Where the thing is compiled, take its cell: `let hits = metrics.counter(&families::CACHE_HITS, &["express"]);`
//! 3. Where it happens: `self.hits.add(worker);`
//!
//! A cell is asked for once and kept: counting is then one addition in memory that the worker has for itself, without
//! a lock, an allocation or a search. Asked for again with the same labels, as a reload does, it is the same cell; it
//! is forgotten when nobody holds it any more. What is a state rather than an event is a gauge, set when it changes.

mod cell;
pub mod families;

use cell::Values;
pub use cell::{Counter, Gauge, Histogram, Tally};
use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// A metric: the samples that share a name.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What its cells are.
    pub kind: Kind,
    /// The names of its labels; a [`Tally`] gives the values of the last ones.
    pub labels: &'static [&'static str],
    /// What it counts, for people.
    pub help: &'static str,
}

/// What a family's cells are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Counter`]s.
    Counter,
    /// [`Tally`]s: counters whose last labels turn up while the gateway runs.
    Tally,
    /// [`Gauge`]s.
    Gauge,
    /// [`Histogram`]s of durations.
    Histogram,
}

/// All cells of a process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    workers: usize,
    series: Mutex<Vec<Series>>,
}

#[derive(Debug)]
struct Series {
    family: &'static Family,
    labels: Vec<Box<str>>,
    values: Weak<Values>,
}

impl Metrics {
    /// Nothing is counted yet; so many workers will.
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(Registry { workers, series: Mutex::default() }))
    }

    /// The counter with these labels.
    pub fn counter(&self, family: &'static Family, labels: &[&str]) -> Counter {
        Counter(self.cell(family, labels))
    }

    /// The tally with these first labels.
    pub fn tally(&self, family: &'static Family, labels: &[&str]) -> Tally {
        Tally(self.cell(family, labels))
    }

    /// The gauge with these labels; it begins at 0.
    pub fn gauge(&self, family: &'static Family, labels: &[&str]) -> Gauge {
        Gauge(self.cell(family, labels))
    }

    /// The histogram with these labels.
    pub fn histogram(&self, family: &'static Family, labels: &[&str]) -> Histogram {
        Histogram(self.cell(family, labels))
    }

    fn cell(&self, family: &'static Family, labels: &[&str]) -> Arc<Values> {
        let mut all = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|series| series.values.strong_count() > 0);
        let is_it = |series: &&Series| {
            std::ptr::eq(series.family, family) && series.labels.iter().map(|label| &**label).eq(labels.iter().copied())
        };
        if let Some(values) = all.iter().find(is_it).and_then(|series| series.values.upgrade()) {
            return values;
        }
        let values = Arc::new(Values::new(family.kind, self.0.workers));
        let labels = labels.iter().map(|label| Box::from(*label)).collect();
        all.push(Series { family, labels, values: Arc::downgrade(&values) });
        values
    }

    /// Everything, in Prometheus' text format 0.0.4.
    pub fn page(&self) -> String {
        let all = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = String::with_capacity(16 * 1024);
        for family in families::ALL {
            let mut series = all.iter().filter(|series| std::ptr::eq(series.family, *family)).peekable();
            if series.peek().is_some() {
                let kind = match family.kind {
                    Kind::Counter | Kind::Tally => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                let (name, help) = (family.name, family.help);
                let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            }
            for Series { labels, values, .. } in series {
                if let Some(values) = values.upgrade() {
                    values.write(&mut page, family, labels);
                }
            }
        }
        page
    }
}

#[cfg(test)]
mod tests;
