//! Where a rollout comes from, where it goes and how it stands: the frame of everything said about
//! it.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::availability::LossReport;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event, Generation, RolloutStart, Then};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::time::Time;

/// One rollout as a reader follows it.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) service: String,
    pub(super) fleet: String,
    /// Where it was asked to go.
    pub(super) goal: Generation,
    pub(super) fallback: Option<Generation>,
    /// The versions that ran when it began, but for the goal's: `0.7, 0.8`; empty if none did.
    pub(super) from: String,
    pub(super) replicas: u32,
    /// Instances wanted where it goes back.
    fallback_replicas: u32,
    /// How it is to stand afterwards, where only numbers change.
    pub(super) stands: Option<Outcome>,
    pub(super) started: Time,
    pub(super) ended: Option<Time>,
    pub(super) failure: Option<Failure>,
    then: Option<Then>,
    interrupted: bool,
    /// What became of the requests that were made all the while.
    pub(super) loss: Option<LossReport>,
    pub(super) outcome: Option<Outcome>,
}

impl Course {
    /// Begins at a rollout's first event; `None` for any other.
    pub(super) fn begin(entry: &Entry, status: &Status) -> Option<Self> {
        let Event::RolloutStarted(start) = &entry.event else {
            return None;
        };
        let RolloutStart {
            service,
            fleet,
            target,
            fallback,
            replicas,
            fallback_replicas,
            scaling,
            ..
        } = start;
        let mut from: BTreeSet<&str> = status
            .instances
            .iter()
            .map(|row| row.version.as_str())
            .collect();
        if from.is_empty() {
            from.extend(fallback.as_ref().map(|fallback| fallback.version.as_str()));
        }
        from.remove(target.version.as_str());
        Some(Self {
            service: service.clone(),
            fleet: fleet.clone(),
            goal: target.clone(),
            fallback: fallback.clone(),
            from: from.into_iter().collect::<Vec<_>>().join(", "),
            replicas: *replicas,
            fallback_replicas: fallback_replicas
                .filter(|_| scaling.is_none())
                .unwrap_or(*replicas),
            stands: scaling.as_ref().map(|scaling| (*scaling.then).clone()),
            started: entry.at,
            ended: None,
            failure: None,
            then: None,
            interrupted: false,
            loss: None,
            outcome: None,
        })
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::RolloutFailed { failure, then, .. } => {
                // The first failure is the cause; one on the way back is told by the outcome.
                self.failure.get_or_insert_with(|| failure.clone());
                self.then = Some(then.clone());
                if self.is_back() {
                    self.replicas = self.fallback_replicas;
                }
            }
            Event::Interrupted { .. } => self.interrupted = true,
            Event::Probed(report) => self.loss = Some(report.clone()),
            Event::RolloutFinished { outcome } => {
                self.outcome = Some(outcome.clone());
                self.ended = Some(entry.at);
            }
            _ => {}
        }
    }

    /// What followed the failure, if it has failed.
    pub(super) fn then(&self) -> Option<&Then> {
        self.then.as_ref()
    }

    /// Whether it is on its way back.
    pub(super) fn is_back(&self) -> bool {
        self.then == Some(Then::RollBack)
    }

    /// Kubernetes' sentence about a rollout that has ended, where it has one. A change of numbers
    /// alone leaves a rollout as it stood.
    pub(super) fn last_sentence(&self, outcome: &Outcome) -> Option<String> {
        let how = match outcome {
            _ if self.stands.is_some() => return None,
            Outcome::Succeeded => "rolled out",
            Outcome::RolledBack => "rolled back",
            _ => return None,
        };
        Some(format!(
            "deployment \"{}\" successfully {how}",
            self.service
        ))
    }

    /// The version that instances are now to run.
    pub(super) fn version(&self) -> &str {
        match &self.fallback {
            Some(fallback) if self.is_back() => &fallback.version,
            _ => &self.goal.version,
        }
    }

    /// How it stands, in a few words.
    pub(super) fn phase(&self) -> &'static str {
        match (&self.outcome, &self.then) {
            (Some(Outcome::Succeeded), _) => "rolled out",
            (Some(Outcome::RolledBack), _) => "rolled back",
            (Some(Outcome::Held { .. }), _) => "held: a person is needed",
            (Some(Outcome::RollbackFailed { .. }), _) => "rollback failed: a person is needed",
            (Some(Outcome::Fenced { .. }), _) => "taken over by another ship",
            (Some(Outcome::Interrupted), _) => "interrupted",
            (Some(Outcome::Closed { .. }), _) => "stopped: its time is over",
            (Some(Outcome::Paused { .. }), _) => "paused",
            (None, _) if self.interrupted => "interrupted: ending what is in flight",
            (None, None) => "rolling out",
            (None, Some(Then::RollBack)) => "rolling back",
            (None, Some(Then::Hold { .. })) => "holding",
        }
    }

    /// How many serve: `3 of 3 available`.
    pub(super) fn serving(&self, status: &Status) -> String {
        let available = status.replicas.available;
        if available > self.replicas {
            return format!("{available} available, {} wanted", self.replicas);
        }
        format!("{available} of {} available", self.replicas)
    }

    /// The revision as people are told of it: `testpage 0.9 (revision 2)`.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.service, named(&self.goal))
    }
}

/// `0.9 (revision 2)`.
pub(super) fn named(generation: &Generation) -> String {
    format!("{} (revision {})", generation.version, generation.revision)
}

/// How many run which version: `2 on 0.8, 1 on 0.9`.
pub(super) fn mix(status: &Status) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &status.instances {
        *counts.entry(&row.version).or_default() += 1;
    }
    let counts = counts
        .iter()
        .map(|(version, count)| format!("{count} on {version}"));
    counts.collect::<Vec<_>>().join(", ")
}
