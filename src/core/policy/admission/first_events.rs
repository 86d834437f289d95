//! The first events of a rollout: its start, and the state of the rollout that it continues.

use std::time::Duration;

use crate::core::ids::{Epoch, Revision};
use crate::core::policy::admission::request::{AdmissionInput, AdmissionRequest};
use crate::core::policy::continuation::Continuation;
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::event::{Event, FailureResponse, RevisionRef, RolloutStart, Scaling};
use crate::core::rollout::failure::{Failure, FailureKind};
use crate::core::rollout::task::TaskOutcome;
use crate::core::rollout::{Direction, Rollout};
use crate::core::spec::{Spec, scaling};

/// Creates the first events of a rollout.
pub(super) struct FirstEvents<'a, 'r> {
    pub(super) request: &'r AdmissionRequest<'a>,
    pub(super) input: &'r AdmissionInput<'a>,
    /// The spec, completed from the history.
    pub(super) spec: &'r Spec,
    pub(super) revision: Revision,
}

impl FirstEvents<'_, '_> {
    /// The events after the start.
    pub(super) fn after_start(&self) -> Vec<Event> {
        let rollback = self.rollback().into_iter();
        rollback
            .chain(self.tasks_done())
            .chain(self.steps())
            .chain(self.unusable_hosts())
            .collect()
    }

    fn stopped(&self) -> Option<&Rollout> {
        self.request.stopped(self.input.history)
    }

    pub(super) fn start(&self, rollback_target: Option<RevisionRef>, epoch: Epoch) -> RolloutStart {
        let (request, input) = (self.request, self.input);
        let target = RevisionRef {
            revision: self.revision,
            release: request.release.clone(),
            version: request.definition.version.clone(),
        };
        let (budget, rollback_budget) = (self.spec.budget, self.spec.rollback_budget);
        RolloutStart {
            verb: request.verb,
            service: input.service.to_owned(),
            fleet: input.fleet_name.to_owned(),
            // A rollback target means that another release was proven more recently. The proof of
            // this release may then be outdated.
            is_proven: self.stopped().map_or_else(
                || rollback_target.is_none() && input.history.is_proven(request.release),
                |stopped| stopped.is_proven,
            ),
            scaling: self.scaling(&target, rollback_target.as_ref()),
            target,
            rollback_target,
            replicas: budget.replicas,
            rollback_replicas: rollback_budget
                .map(|budget| budget.replicas)
                .filter(|replicas| *replicas != budget.replicas),
            epoch,
            set: request.set.to_vec(),
            hosts_from: request.hosts_from.cloned(),
        }
    }

    fn scaling(
        &self,
        target: &RevisionRef,
        rollback_target: Option<&RevisionRef>,
    ) -> Option<Scaling> {
        let Some(Continuation::Scale(outcome)) = &self.request.continuation else {
            return None;
        };
        // If both releases run equally many instances, the rollback target gets the odd one,
        // because it is proven.
        let known: Vec<_> = [rollback_target, Some(target)]
            .into_iter()
            .flatten()
            .map(|revision| &revision.release)
            .collect();
        let replicas = self.spec.budget.replicas;
        Some(Scaling {
            shares: scaling::shares(self.input.fleet, &known, &target.release, replicas),
            then: Box::new(outcome.clone()),
        })
    }

    /// The event by which the rollout rolls back, if it was rolling back or is aborted now.
    fn rollback(&self) -> Option<Event> {
        let stopped = self.stopped()?;
        match (&self.request.continuation, &stopped.direction) {
            (_, Direction::RollingBack(failure)) => Some(Event::RolloutFailed {
                failure: failure.clone(),
                log: Vec::new(),
                then: FailureResponse::RollBack,
            }),
            (Some(Continuation::RollBack { by }), _) => Some(Event::Aborted { by: by.clone() }),
            // The rollout was aborted, and its controller died before it could roll back.
            (_, Direction::Forward) => {
                let by = stopped.requests.aborted.clone()?;
                Some(Event::Aborted { by })
            }
            (_, Direction::Held { .. }) => None,
        }
    }

    /// The tasks that an earlier rollout has completed: the rollout that this one continues, or an
    /// interrupted rollout with the same verb and revision.
    fn tasks_done(&self) -> Vec<Event> {
        let is_same = |newest: &&Rollout| {
            newest.goal.revision == self.revision
                && newest.verb == self.request.verb
                && ServiceState::of_outcome(newest.outcome.as_ref()) == ServiceState::Interrupted
        };
        let interrupted = || self.input.history.newest.as_ref().filter(is_same);
        let Some(rollout) = self.stopped().or_else(interrupted) else {
            return Vec::new();
        };
        let done = rollout.tasks.done();
        done.map(|task| Event::TaskEnded {
            task: task.clone(),
            end: TaskOutcome::DoneBefore,
            migration: None,
            took: Duration::ZERO,
            output: Vec::new(),
        })
        .collect()
    }

    /// The steps that the stopped rollout has passed, and the promotion from its current step, if a
    /// user promoted it.
    fn steps(&self) -> Vec<Event> {
        let Some(stopped) = self.stopped() else {
            return Vec::new();
        };
        let of = self.spec.step_count();
        let promoted_before = |full| Event::Promoted {
            by: "the rollout that this one continues".to_owned(),
            full,
        };
        let passed = match stopped.step.passed {
            0 => None,
            // A user skipped all steps.
            u32::MAX => Some(promoted_before(true)),
            step => Some(Event::StepPassed { step, of }),
        };
        let promoted = match &self.request.continuation {
            Some(Continuation::Promote { by, full }) => Some(Event::Promoted {
                by: by.clone(),
                full: *full,
            }),
            _ => stopped.step.promoted.then(|| promoted_before(false)),
        };
        passed.into_iter().chain(promoted).collect()
    }

    fn unusable_hosts(&self) -> impl Iterator<Item = Event> {
        let unusable = self.input.unusable_hosts.iter();
        unusable.map(|(host, why)| Event::HostFailed {
            failure: Failure {
                kind: FailureKind::HostLost,
                host: Some(host.clone()),
                slot: None,
                detail: why.clone(),
                waited: Duration::ZERO,
            },
            log: Vec::new(),
        })
    }
}
