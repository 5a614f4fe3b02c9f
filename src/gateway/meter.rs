//! What is counted of every request: cells that are ready for each rule, so that counting is a few additions.

use crate::{
    rules::{Action, Rule},
    tasks::Worker,
    telemetry::metrics::{Counter, Gauge, Histogram, Metrics, Tally, families},
    upstream::{Lasts, Target},
};
use std::{sync::Arc, time::Duration};

/// One worker's way to the cells of all rules.
#[derive(Debug)]
pub(super) struct Meter {
    worker: Worker,
    rules: Vec<Cells>,
    no_rule: Cells,
}

#[derive(Debug, Clone)]
struct Cells {
    requests: Tally,
    duration: Histogram,
    would_refuse: Tally,
    records_left_out: Counter,
    /// For each upstream: WebSockets and other streams.
    streams: Vec<(Box<str>, [Gauge; 2])>,
}

impl Meter {
    /// One for each worker: requests on different workers share nothing that is written.
    pub(super) fn compile(rules: &[Rule<Target>], workers: usize, metrics: &Metrics) -> Vec<Arc<Self>> {
        let streams = |rule: &str, action: &Action<Target>| match action {
            Action::Forward(sides) => {
                let gauges = |upstream: &str| {
                    [&families::WEBSOCKETS, &families::STREAMS].map(|family| metrics.gauge(family, &[rule, upstream]))
                };
                sides.sides().map(|target| (target.name().into(), gauges(target.name()))).collect()
            }
            Action::Redirect(_) | Action::Respond { .. } => Vec::new(),
        };
        let cells = |name: &str, streams| Cells {
            requests: metrics.tally(&families::REQUESTS, &[name]),
            duration: metrics.histogram(&families::REQUEST_DURATION, &[name]),
            would_refuse: metrics.tally(&families::WOULD_REFUSE, &[name]),
            records_left_out: metrics.counter(&families::RECORDS_LEFT_OUT, &[name]),
            streams,
        };
        let rules: Vec<_> = rules.iter().map(|rule| cells(&rule.name, streams(&rule.name, &rule.action))).collect();
        let no_rule = cells("", Vec::new());
        let meter = |index| Self { worker: Worker(index), rules: rules.clone(), no_rule: no_rule.clone() };
        (0..workers).map(|index| Arc::new(meter(index))).collect()
    }

    /// A request is over. `rule` is its rule's place.
    pub(super) fn request(&self, rule: Option<usize>, status: u16, reason: Option<&'static str>, duration: Duration) {
        let cells = self.cells(rule);
        cells.requests.add(self.worker, status, reason.unwrap_or_default());
        cells.duration.add(self.worker, duration);
    }

    /// A request passed that an enforced rule would have refused.
    pub(super) fn would_refuse(&self, rule: Option<usize>, reason: &'static str) {
        self.cells(rule).would_refuse.add(self.worker, 0, reason);
    }

    /// Where the streams of a rule and an upstream are counted.
    pub(super) fn streams(&self, rule: usize, upstream: &str, lasts: Lasts) -> Option<Gauge> {
        let all = &self.rules.get(rule)?.streams;
        let (_, [websockets, others]) = all.iter().find(|(name, _)| **name == *upstream)?;
        Some(if lasts == Lasts::WebSocket { websockets.clone() } else { others.clone() })
    }

    /// A session's record was too long for its header.
    pub(super) fn left_record_out(&self, rule: Option<usize>) {
        self.cells(rule).records_left_out.add(self.worker);
    }

    fn cells(&self, rule: Option<usize>) -> &Cells {
        rule.and_then(|index| self.rules.get(index)).unwrap_or(&self.no_rule)
    }
}
