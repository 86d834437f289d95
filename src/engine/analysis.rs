//! Measures the numbers by which a new version is judged, while instances of it get requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::executor::Executor;
use super::run::{Message, Run};
use crate::core::analysis::compare::{Ledger, compare};
use crate::core::analysis::measurement::Measurement;
use crate::core::analysis::{Analysis, Way, is_measured};
use crate::core::fleet::traffic::Balancer;
use crate::core::ids::ReleaseId;
use crate::core::rollout::event::Event;
use crate::core::time::Time;
use crate::store::Store;

/// Appointments with what is measured, and what was counted of new and old instances.
#[derive(Debug, Default)]
pub(super) struct Analyses {
    under_way: BTreeSet<String>,
    due: BTreeMap<String, Time>,
    ledger: Ledger,
    /// A measurement that began before says nothing: ship slept over it.
    fresh_from: Time,
}

impl Analyses {
    /// Ship has slept until now.
    pub(super) fn woke(&mut self, now: Time) {
        self.fresh_from = now;
    }
}

impl<W: Executor, S: Store> Run<W, S> {
    /// Measures what is due; when the next is.
    pub(super) fn measure_due(&mut self, now: Time) -> Option<Time> {
        if !self.is_measured() {
            return None;
        }
        let mut next: Option<Time> = None;
        for analysis in self.engine.spec.analyses.clone() {
            let Analysis { name, interval, .. } = &analysis;
            if self.analyses.under_way.contains(name) {
                continue;
            }
            let mut at = self.analyses.due.get(name).copied().unwrap_or(now);
            if at <= now {
                at = now + *interval;
                self.analyses.due.insert(name.clone(), at);
                self.measure(analysis, now);
            }
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        next
    }

    fn is_measured(&self) -> bool {
        let spec = &self.engine.spec;
        !spec.analyses.is_empty()
            && is_measured(&self.rollout, &self.engine.fleet, spec.traffic.as_ref())
    }

    fn measure(&mut self, analysis: Analysis, now: Time) {
        if let Way::Compare(tolerance) = &analysis.way {
            self.analyses
                .ledger
                .look(&self.engine.fleet, &self.rollout.goal.release);
            let measurement = compare(&self.analyses.ledger.window(now), tolerance);
            self.judge(&analysis.name, measurement);
            return;
        }
        self.analyses.under_way.insert(analysis.name.clone());
        let world = Arc::clone(&self.engine.world);
        self.spawn(async move {
            let measurement = world.measure(&analysis).await;
            Message::Measured {
                analysis: analysis.name,
                measurement,
            }
        });
    }

    /// A measurement came back.
    pub(super) fn measured(&mut self, name: &str, measurement: Measurement, begun: Time) {
        self.analyses.under_way.remove(name);
        if begun < self.analyses.fresh_from {
            self.analyses.due.remove(name);
        } else if self.is_measured() {
            self.judge(name, measurement);
        }
    }

    fn judge(&mut self, name: &str, measurement: Measurement) {
        let dry_run = self
            .engine
            .spec
            .analyses
            .iter()
            .any(|analysis| analysis.name == name && analysis.dry_run);
        let Measurement {
            finding,
            detail,
            value,
        } = measurement;
        self.record(Event::Measured {
            analysis: name.to_owned(),
            outcome: finding,
            detail,
            value,
            dry_run,
        });
    }

    /// An instance that was ready has answered ship's own question, or not: where nobody counts
    /// requests, these count.
    pub(super) fn answered(&mut self, release: &ReleaseId, is_error: bool, took: Duration) {
        let counts = |balancer: &Balancer| {
            balancer
                .view
                .servers
                .values()
                .any(|server| server.counters.is_some())
        };
        if !self.engine.fleet.balancers.values().any(counts) && self.is_measured() {
            self.analyses
                .ledger
                .asked(*release == self.rollout.goal.release, is_error, took);
        }
    }
}
