//! The events of the journal, which the reporters and the JSON output share.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::analysis::measurement::{Finding, Number};
use crate::core::availability::AvailabilityReport;
use crate::core::fleet::traffic::DrainResult;
use crate::core::ids::{ActionId, Epoch, HostId, InstanceId, ReleaseId, Revision, Slot};
use crate::core::redact::Redactor;
use crate::core::release::hook::HookPoint;
use crate::core::release::migration::MigrationKind;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::rollout::task;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// An event and its time in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// By the control machine's clock.
    pub at: Time,
    #[serde(flatten)]
    pub event: Event,
}

/// A revision of the fleet, as a rollout refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RevisionRef {
    pub revision: Revision,
    pub release: ReleaseId,
    pub version: String,
}

/// How a rollout begins: what it was asked to do, and what cannot be observed of where it comes
/// from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RolloutStart {
    /// What it was asked to do.
    pub verb: Verb,
    pub service: String,
    pub fleet: String,
    pub target: RevisionRef,
    /// Where it rolls back to if it fails or is aborted: a revision proven healthy.
    pub fallback: Option<RevisionRef>,
    /// The number of instances wanted.
    pub replicas: u32,
    /// Instances that it is to have where it goes back: the number goes back with the release.
    /// `None` for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_replicas: Option<u32>,
    /// The fencing number of this rollout.
    pub epoch: Epoch,
    /// Whether the target was proven healthy before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_proven: bool,
    /// Only the number of instances changes, in a fleet between two revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// The keys of the playbook that the command line set, for `ship resume`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
}

/// A change of numbers in a fleet between two revisions: each keeps its part, as in Kubernetes
/// (proportional scaling), and the rollout stands afterwards as it did before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scaling {
    /// Instances of each release.
    pub shares: BTreeMap<ReleaseId, u32>,
    /// The state after that number is reached.
    pub then: Box<Outcome>,
}

/// Everything that can happen in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    RolloutStarted(RolloutStart),
    /// An order is about to be given. It is recorded before its effect.
    ActionStarted {
        id: ActionId,
        action: Action,
        /// The name of the instance that a start makes.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        instance: Option<InstanceId>,
    },
    ActionDone {
        id: ActionId,
    },
    /// An order was refused or failed, and its effect is known.
    ActionFailed {
        id: ActionId,
        error: String,
    },
    /// An order may have been carried out or not: observe again.
    ActionUnknown {
        id: ActionId,
        why: String,
    },
    InstanceReady {
        slot: Slot,
        instance: InstanceId,
        release: ReleaseId,
        answer: String,
    },
    /// An instance that was ready no longer is.
    InstanceNotReady {
        slot: Slot,
        instance: InstanceId,
        release: ReleaseId,
        answer: String,
    },
    /// An instance was taken out of traffic.
    Drained {
        slot: Slot,
        instance: InstanceId,
        receipt: DrainResult,
    },
    BalancerLost {
        balancer: HostId,
        /// What was tried and what came back.
        why: String,
    },
    /// A balancer can be reached again.
    #[serde(alias = "balancer_found")]
    BalancerRecovered {
        balancer: HostId,
    },
    /// A command of the user's was run.
    HookRan {
        point: HookPoint,
        /// The slot of the instance, for a hook of an instance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slot: Option<Slot>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
        /// On which host; `None` for this machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<HostId>,
        ok: bool,
        /// How it ended, in words.
        detail: String,
        took: Duration,
        /// The last lines that it printed.
        output: Vec<String>,
    },
    /// The counts have changed. Kubernetes' status sentences are made of these.
    Progress(Progress),
    HostLost {
        host: HostId,
        /// What was tried and what came back.
        why: String,
    },
    /// A host can be reached again.
    #[serde(alias = "host_found")]
    HostRecovered {
        host: HostId,
    },
    RolloutFailed {
        failure: Failure,
        /// The last lines of the instance's own log.
        log: Vec<String>,
        then: FailureResponse,
    },
    /// A host refused an order because it has seen a newer epoch.
    Fenced {
        host: HostId,
        /// The newer epoch.
        seen: Epoch,
    },
    /// A host was given up; the others continue.
    #[serde(alias = "host_quarantined")]
    HostFailed {
        failure: Failure,
        /// The last lines of the instance's own log.
        log: Vec<String>,
    },
    /// Ship itself was asleep, with its machine or stopped: what it knew is old, and nothing could
    /// go on.
    #[serde(alias = "woke")]
    ControllerResumed {
        slept: Duration,
    },
    /// The present step has all its new instances, and they serve.
    StepReached {
        /// Counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
        /// New instances at this step.
        instances: u32,
        /// How long the new instances are watched.
        soak: Duration,
        /// Whether a person must then promote the rollout.
        pause: bool,
    },
    /// The rollout continues with the next step.
    StepPassed {
        /// The step that was passed, counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
    },
    /// An analysis made a measurement.
    Measured {
        /// The name of the analysis.
        analysis: String,
        outcome: Finding,
        detail: String,
        /// The number, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Number>,
        /// Whether the result changes nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// A task is about to start. It is recorded before its effect.
    #[serde(alias = "chore_started")]
    TaskStarted {
        /// The number of the order; tasks and actions share one sequence.
        id: ActionId,
        /// The task's name.
        #[serde(alias = "chore")]
        task: String,
        /// The host of the task; absent on the control machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<HostId>,
        /// The migration that it makes, if it makes one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        migration: Option<(MigrationKind, String)>,
    },
    /// A task has ended, in this rollout or in the one that it continues.
    #[serde(alias = "chore_ended")]
    TaskEnded {
        /// The task's name.
        #[serde(alias = "chore")]
        task: String,
        #[serde(flatten)]
        end: task::TaskOutcome,
        /// The migration that it makes, if it makes one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        migration: Option<(MigrationKind, String)>,
        took: Duration,
        /// The last lines that it printed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        output: Vec<String>,
    },
    /// A person promoted the rollout.
    Promoted {
        by: String,
        /// Whether it skips all remaining steps.
        full: bool,
    },
    /// The availability monitor's report, recorded when too many requests have failed, and at the
    /// end.
    #[serde(alias = "probed")]
    AvailabilityReported(AvailabilityReport),
    /// A person asked to stop: nothing new is started.
    Interrupted {
        /// The signal or command: `SIGINT`.
        by: String,
    },
    /// A person has frozen the fleet: what was begun is brought to its end, and nothing new is
    /// begun.
    Frozen {
        /// Who froze it, until when and why.
        freeze: String,
    },
    /// A person paused the rollout from another process: nothing new is started.
    Paused {
        by: String,
    },
    /// A person asked to roll back.
    Aborted {
        by: String,
    },
    RolloutFinished {
        outcome: Outcome,
    },
}

impl Event {
    /// Redacts secrets in every text that another program printed.
    pub fn hide(&mut self, veil: &Redactor) {
        for text in self.free_texts() {
            *text = veil.hide(text);
        }
    }

    /// The texts that come from without: from hosts, instances, balancers and the user's own
    /// commands. Names, numbers and what a person said to ship are none.
    fn free_texts(&mut self) -> Vec<&mut String> {
        match self {
            Event::ActionFailed { error: text, .. }
            | Event::ActionUnknown { why: text, .. }
            | Event::InstanceReady { answer: text, .. }
            | Event::InstanceNotReady { answer: text, .. }
            | Event::BalancerLost { why: text, .. }
            | Event::HostLost { why: text, .. }
            | Event::Measured { detail: text, .. } => vec![text],
            Event::HookRan { detail, output, .. } => output.iter_mut().chain([detail]).collect(),
            Event::RolloutFailed { failure, log, then } => {
                let why = match then {
                    FailureResponse::RollBack => None,
                    FailureResponse::Hold { why } => Some(why),
                };
                log.iter_mut()
                    .chain([&mut failure.detail])
                    .chain(why)
                    .collect()
            }
            Event::HostFailed { failure, log } => {
                log.iter_mut().chain([&mut failure.detail]).collect()
            }
            Event::TaskEnded { end, output, .. } => {
                let why = match end {
                    task::TaskOutcome::Done | task::TaskOutcome::DoneBefore => None,
                    task::TaskOutcome::Failed { error: why }
                    | task::TaskOutcome::Unknown { why } => Some(why),
                };
                output.iter_mut().chain(why).collect()
            }
            Event::AvailabilityReported(report) => report
                .failures
                .iter_mut()
                .map(|lost| &mut lost.why)
                .chain(report.trouble.as_mut())
                .collect(),
            Event::RolloutFinished { outcome } => outcome.free_text().into_iter().collect(),
            Event::RolloutStarted(_)
            | Event::ActionStarted { .. }
            | Event::ActionDone { .. }
            | Event::Drained { .. }
            | Event::BalancerRecovered { .. }
            | Event::Progress(_)
            | Event::HostRecovered { .. }
            | Event::Fenced { .. }
            | Event::ControllerResumed { .. }
            | Event::StepReached { .. }
            | Event::StepPassed { .. }
            | Event::TaskStarted { .. }
            | Event::Promoted { .. }
            | Event::Interrupted { .. }
            | Event::Frozen { .. }
            | Event::Paused { .. }
            | Event::Aborted { .. } => Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum FailureResponse {
    /// The fleet rolls back to the fallback.
    RollBack,
    /// The fleet is left unchanged.
    Hold { why: String },
}

/// Counts of instances, as in Kubernetes' `DeploymentStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub desired: u32,
    /// Of the target release.
    pub updated: u32,
    /// Of the target release, and ready.
    pub updated_ready: u32,
    /// Of the target release, and available.
    pub updated_available: u32,
    /// Of any release, and available.
    pub available: u32,
    /// Of any release.
    pub total: u32,
}

impl Progress {
    pub fn is_complete(&self) -> bool {
        [
            self.updated,
            self.updated_available,
            self.available,
            self.total,
        ]
        .iter()
        .all(|count| *count == self.desired)
    }

    /// Kubernetes' sentence about a rollout under way with these counts (`kubectl rollout status`).
    /// That it has succeeded is known by its outcome alone.
    pub fn sentence(&self, service: &str) -> String {
        let head = format!("Waiting for deployment \"{service}\" rollout to finish: ");
        if self.updated < self.desired {
            format!(
                "{head}{} out of {} new replicas have been updated...",
                self.updated, self.desired
            )
        } else if self.total > self.updated {
            format!(
                "{head}{} old replicas are pending termination...",
                self.total - self.updated
            )
        } else if self.updated > self.desired {
            format!("{head}surplus replicas are pending termination...")
        } else if self.updated_available < self.desired {
            format!(
                "{head}{} of {} updated replicas are available...",
                self.updated_available, self.desired
            )
        } else {
            format!(
                "{head}all {} updated replicas are available...",
                self.desired
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rollout::failure::FailureKind;

    #[test]
    fn secrets_are_covered_in_everything_that_another_program_said() {
        let said = || "the password is hunter2".to_owned();
        let host = HostId::from("web1");
        let failure = Failure {
            kind: FailureKind::Exited,
            host: Some(host.clone()),
            slot: None,
            detail: said(),
            waited: Duration::ZERO,
        };
        let took = Duration::ZERO;
        let events = [
            Event::ActionFailed {
                id: ActionId(1),
                error: said(),
            },
            Event::HostLost {
                host: host.clone(),
                why: said(),
            },
            Event::HookRan {
                point: HookPoint::BeforeStop,
                slot: None,
                instance: None,
                host: Some(host),
                ok: false,
                detail: said(),
                took,
                output: vec![said()],
            },
            Event::RolloutFailed {
                failure: failure.clone(),
                log: vec![said()],
                then: FailureResponse::Hold { why: said() },
            },
            Event::HostFailed {
                failure: failure.clone(),
                log: vec![said()],
            },
            Event::TaskEnded {
                task: "migrate".to_owned(),
                end: task::TaskOutcome::Failed { error: said() },
                migration: None,
                took,
                output: vec![said()],
            },
            Event::RolloutFinished {
                outcome: Outcome::RollbackFailed { failure },
            },
        ];
        let veil = Redactor::over(["hunter2".to_owned()]);
        for mut event in events {
            event.hide(&veil);
            let text = serde_json::to_string(&event).unwrap();
            assert!(
                !text.contains("hunter2") && text.contains("the password is …"),
                "{text}"
            );
        }
    }
}
