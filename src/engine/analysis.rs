//! Runs the analyses of a rollout while new instances receive requests.

use std::collections::{BTreeMap, BTreeSet};

use super::messages::ProbeSample;
use super::observer::FleetObserver;
use super::recorder::Recorder;
use crate::core::analysis::compare::{Ledger, compare};
use crate::core::analysis::measurement::Measurement;
use crate::core::analysis::{Analysis, MeasurementMethod, is_measured};
use crate::core::fleet::Fleet;
use crate::core::fleet::traffic::Balancer;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Event;
use crate::core::spec::Spec;
use crate::core::time::Time;

/// The schedule of the analyses, and the requests to new and old instances so far.
#[derive(Debug, Default)]
pub(super) struct AnalysisRunner {
    running: BTreeSet<String>,
    due: BTreeMap<String, Time>,
    ledger: Ledger,
    /// Measurements that began before this time are discarded: ship was suspended during them.
    fresh_from: Time,
}

/// The state that the analyses measure.
#[derive(Clone, Copy)]
pub(super) struct AnalysisScope<'a> {
    spec: &'a Spec,
    rollout: &'a Rollout,
    fleet: &'a Fleet,
}

/// The analyses that are due.
#[derive(Debug, Default)]
pub(super) struct DueAnalyses {
    /// The results of comparisons, which are computed from counts that exist already.
    pub(super) compared: Vec<(String, Measurement)>,
    /// The analyses whose measurement must be started.
    pub(super) started: Vec<Analysis>,
    /// When the next one is due.
    pub(super) next: Option<Time>,
}

impl<'a> AnalysisScope<'a> {
    pub(super) fn new(spec: &'a Spec, recorder: &'a Recorder, observer: &'a FleetObserver) -> Self {
        Self {
            spec,
            rollout: recorder.rollout(),
            fleet: observer.fleet(),
        }
    }

    /// Whether new instances receive requests, so that there is something to measure.
    fn is_measured(self) -> bool {
        !self.spec.analyses.is_empty()
            && is_measured(self.rollout, self.fleet, self.spec.traffic.as_ref())
    }

    /// Returns the event for the result of a measurement.
    pub(super) fn measured_event(self, name: &str, measurement: Measurement) -> Event {
        let dry_run = self
            .spec
            .analyses
            .iter()
            .any(|analysis| analysis.name == name && analysis.dry_run);
        let Measurement {
            finding,
            detail,
            value,
        } = measurement;
        Event::Measured {
            analysis: name.to_owned(),
            outcome: finding,
            detail,
            value,
            dry_run,
        }
    }
}

impl AnalysisRunner {
    /// Takes the due measurements and marks them as running.
    pub(super) fn take_due(&mut self, scope: AnalysisScope<'_>, now: Time) -> DueAnalyses {
        let mut due = DueAnalyses::default();
        if !scope.is_measured() {
            return due;
        }
        for analysis in &scope.spec.analyses {
            let Analysis { name, interval, .. } = analysis;
            if self.running.contains(name) {
                continue;
            }
            let mut at = self.due.get(name).copied().unwrap_or(now);
            if at <= now {
                at = now + *interval;
                self.due.insert(name.clone(), at);
                if let MeasurementMethod::Compare(tolerance) = &analysis.method {
                    self.ledger
                        .record_counters(scope.fleet, &scope.rollout.goal.release);
                    let measurement = compare(&self.ledger.window(now), tolerance);
                    due.compared.push((name.clone(), measurement));
                } else {
                    self.running.insert(name.clone());
                    due.started.push(analysis.clone());
                }
            }
            due.next = Some(due.next.map_or(at, |next| next.min(at)));
        }
        due
    }

    /// Ends a measurement; returns whether it counts.
    pub(super) fn end(&mut self, name: &str, begun: Time, scope: AnalysisScope<'_>) -> bool {
        self.running.remove(name);
        if begun < self.fresh_from {
            self.due.remove(name);
            return false;
        }
        scope.is_measured()
    }

    /// Counts the response to a probe, if no balancer counts requests.
    pub(super) fn take_sample(&mut self, sample: &ProbeSample, scope: AnalysisScope<'_>) {
        let counts_requests = |balancer: &Balancer| {
            balancer
                .view
                .servers
                .values()
                .any(|server| server.counters.is_some())
        };
        if !scope.fleet.balancers.values().any(counts_requests) && scope.is_measured() {
            let is_new = sample.release == scope.rollout.goal.release;
            self.ledger
                .record_request(is_new, sample.is_error, sample.took);
        }
    }

    /// Discards measurements that began before `now`, because ship was suspended during them.
    pub(super) fn invalidate(&mut self, now: Time) {
        self.fresh_from = now;
    }
}
