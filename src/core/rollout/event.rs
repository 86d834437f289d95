//! The events of the journal, which the reporters and the JSON output share.
//!
//! The aliases are names from earlier versions, whose journals ship still reads.

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
use crate::core::release::patch::Transfer;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::rollout::task;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// An event and its time in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The time by the control machine's clock.
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

/// The start of a rollout: the command, and the state that cannot be observed on the hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RolloutStart {
    /// The command.
    pub verb: Verb,
    pub service: String,
    pub fleet: String,
    pub target: RevisionRef,
    /// A revision proven healthy.
    #[serde(alias = "fallback")]
    pub rollback_target: Option<RevisionRef>,
    /// The number of instances wanted.
    pub replicas: u32,
    /// The wanted number of instances after a rollback; `None` for `replicas`.
    #[serde(alias = "fallback_replicas")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_replicas: Option<u32>,
    /// The epoch of this rollout.
    pub epoch: Epoch,
    /// Whether the target was proven healthy before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_proven: bool,
    /// The change, if the rollout only scales a fleet between two revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// The keys of the playbook that the command line set, for `ship resume`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The host tables that the command of `[hosts_from]` printed, as a JSON array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts_from: Option<serde_json::Value>,
}

/// A change of the number of instances in a fleet between two revisions. Each release keeps its
/// share (proportional scaling in Kubernetes). The rollout keeps the outcome that it had before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scaling {
    /// Instances of each release.
    pub shares: BTreeMap<ReleaseId, u32>,
    /// The outcome of the rollout after the change.
    pub then: Box<Outcome>,
}

/// Everything that can happen in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    RolloutStarted(RolloutStart),
    /// An action starts. The event is recorded before its effect.
    ActionStarted {
        id: ActionId,
        action: Action,
        /// The name of the new instance of a start.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        instance: Option<InstanceId>,
    },
    ActionDone {
        id: ActionId,
    },
    /// An action was rejected or failed, and its effect is known.
    ActionFailed {
        id: ActionId,
        error: String,
    },
    /// It is unknown whether an action was carried out; the host must be observed again.
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
    /// A host received a difference, or a release from another host, or could not.
    Transferred {
        host: HostId,
        #[serde(flatten)]
        transfer: Transfer,
    },
    /// An instance was drained.
    Drained {
        slot: Slot,
        instance: InstanceId,
        #[serde(alias = "receipt")]
        result: DrainResult,
    },
    /// An instance did not end within its stop timeout, and was killed.
    InstanceKilled {
        slot: Slot,
        instance: InstanceId,
        /// The stop timeout.
        after: Duration,
    },
    /// An instance was asked to stop and may finish its work. Its host ends it at the latest.
    InstanceLingers {
        slot: Slot,
        instance: InstanceId,
        /// How long it may do so.
        linger: Duration,
    },
    /// An instance could start on a host, but a lingering one has its last slot.
    SlotAwaited {
        slot: Slot,
        /// When the host ends the lingering instance.
        until: Time,
    },
    BalancerLost {
        balancer: HostId,
        /// The command and its error.
        why: String,
    },
    /// A balancer can be reached again.
    #[serde(alias = "balancer_found")]
    BalancerRecovered {
        balancer: HostId,
    },
    /// A hook ran.
    HookRan {
        point: HookPoint,
        /// The slot of the instance, for a hook of an instance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slot: Option<Slot>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
        /// The host; `None` for the control machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<HostId>,
        ok: bool,
        /// How the command ended: `exit status 1`.
        detail: String,
        took: Duration,
        /// The last lines that the command printed.
        output: Vec<String>,
    },
    /// The counts of instances have changed.
    Progress(Progress),
    HostLost {
        host: HostId,
        /// The command and its error.
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
    /// A host rejected an action because it has seen a newer epoch.
    Fenced {
        host: HostId,
        /// The newer epoch.
        seen: Epoch,
    },
    /// The rollout has given up on a host; the others continue.
    #[serde(alias = "host_quarantined")]
    HostFailed {
        failure: Failure,
        /// The last lines of the instance's own log.
        log: Vec<String>,
    },
    /// The controller was suspended, alone or with its machine. Its observations are outdated.
    #[serde(alias = "woke")]
    ControllerResumed {
        slept: Duration,
    },
    /// The current step has all its new instances, and they are available.
    StepReached {
        /// Counted from 1.
        step: u32,
        /// The number of steps.
        of: u32,
        /// New instances at this step.
        instances: u32,
        /// The soak time.
        soak: Duration,
        /// Whether a user must then promote the rollout.
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
        /// Whether the result has no effect.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// A task is about to start. The event is recorded before its effect.
    #[serde(alias = "chore_started")]
    TaskStarted {
        /// The number of the task. Tasks and actions share one sequence.
        id: ActionId,
        /// The task's name.
        #[serde(alias = "chore")]
        task: String,
        /// The host of the task; absent on the control machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<HostId>,
        /// The migration, if the task runs one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        migration: Option<(MigrationKind, String)>,
    },
    /// A task has ended, in this rollout or in the one that this one continues.
    #[serde(alias = "chore_ended")]
    TaskEnded {
        /// The task's name.
        #[serde(alias = "chore")]
        task: String,
        #[serde(flatten)]
        end: task::TaskOutcome,
        /// The migration, if the task runs one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        migration: Option<(MigrationKind, String)>,
        took: Duration,
        /// The last lines that the command printed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        output: Vec<String>,
    },
    /// A user promoted the rollout.
    Promoted {
        by: String,
        /// Whether the promotion skips all remaining steps.
        full: bool,
    },
    /// The report of the availability monitor, recorded when too many requests have failed, and at
    /// the end.
    #[serde(alias = "probed")]
    AvailabilityReported(AvailabilityReport),
    /// A user interrupted the rollout: no new action starts.
    Interrupted {
        /// The signal or command: `SIGINT`.
        by: String,
    },
    /// A user froze the fleet: the current batch is finished, and no new one starts.
    Frozen {
        /// Who froze the fleet, until when and why.
        freeze: String,
    },
    /// A user paused the rollout from another process: no new action starts.
    Paused {
        by: String,
    },
    /// A user requested a rollback.
    Aborted {
        by: String,
    },
    RolloutFinished {
        outcome: Outcome,
    },
}

impl Event {
    /// Redacts secrets in every text that another program printed.
    pub fn redact(&mut self, redactor: &Redactor) {
        for text in self.free_texts() {
            *text = redactor.redact(text);
        }
    }

    /// The texts that other programs may have printed: on hosts, and by instances, balancers and
    /// hooks. Names, numbers and the user's arguments are not among them.
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
                .map(|failed| &mut failed.why)
                .chain(report.trouble.as_mut())
                .collect(),
            Event::RolloutFinished { outcome } => outcome.free_text().into_iter().collect(),
            Event::Transferred { transfer, .. } => transfer.reasons_mut().collect(),
            Event::RolloutStarted(_)
            | Event::ActionStarted { .. }
            | Event::ActionDone { .. }
            | Event::Drained { .. }
            | Event::InstanceKilled { .. }
            | Event::InstanceLingers { .. }
            | Event::SlotAwaited { .. }
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
    /// The fleet rolls back to the rollback target.
    RollBack,
    /// The fleet is left as it is.
    Hold { why: String },
}

/// Counts of instances, as in Kubernetes' `DeploymentStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub desired: u32,
    /// Instances of the target release.
    pub updated: u32,
    /// Ready instances of the target release.
    pub updated_ready: u32,
    /// Available instances of the target release.
    pub updated_available: u32,
    /// Available instances of any release.
    pub available: u32,
    /// Instances of any release.
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

    /// The sentence of `kubectl rollout status` about a running rollout with these counts. The
    /// counts do not show whether the rollout has succeeded; its outcome does.
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
    fn redaction_covers_every_text_of_another_program() {
        let printed = || "the password is hunter2".to_owned();
        let host = HostId::from("web1");
        let failure = Failure {
            kind: FailureKind::Exited,
            host: Some(host.clone()),
            slot: None,
            detail: printed(),
            waited: Duration::ZERO,
        };
        let took = Duration::ZERO;
        let events = [
            Event::ActionFailed {
                id: ActionId(1),
                error: printed(),
            },
            Event::HostLost {
                host: host.clone(),
                why: printed(),
            },
            Event::Transferred {
                host: host.clone(),
                transfer: Transfer {
                    whole_because: Some(printed()),
                    direct_because: Some(printed()),
                    ..Transfer::default()
                },
            },
            Event::HookRan {
                point: HookPoint::BeforeStop,
                slot: None,
                instance: None,
                host: Some(host),
                ok: false,
                detail: printed(),
                took,
                output: vec![printed()],
            },
            Event::RolloutFailed {
                failure: failure.clone(),
                log: vec![printed()],
                then: FailureResponse::Hold { why: printed() },
            },
            Event::HostFailed {
                failure: failure.clone(),
                log: vec![printed()],
            },
            Event::TaskEnded {
                task: "migrate".to_owned(),
                end: task::TaskOutcome::Failed { error: printed() },
                migration: None,
                took,
                output: vec![printed()],
            },
            Event::RolloutFinished {
                outcome: Outcome::RollbackFailed { failure },
            },
        ];
        let redactor = Redactor::new(["hunter2".to_owned()]);
        for mut event in events {
            event.redact(&redactor);
            let text = serde_json::to_string(&event).unwrap();
            assert!(
                !text.contains("hunter2") && text.contains("the password is …"),
                "{text}"
            );
        }
    }

    #[test]
    fn journal_of_an_earlier_version_is_read_with_its_old_names() {
        let failure = concat!(
            r#""failure":{"kind":"loss","host":"h1","slot":null,"detail":"","#,
            r#""waited":{"secs":0,"nanos":0}}"#
        );
        let took = r#""took":{"secs":0,"nanos":0}"#;
        let lines = [
            (r#"{"event":"chore_started","id":1,"chore":"before_all"}"#.to_owned(), "task_started"),
            (
                format!(r#"{{"event":"chore_ended","chore":"before_all","end":"done",{took}}}"#),
                "task_ended",
            ),
            (
                r#"{"event":"woke","slept":{"secs":9,"nanos":0}}"#.to_owned(),
                "controller_resumed",
            ),
            (
                r#"{"event":"probed","requests":2,"failed":0,"max_failed":1,"p50_ms":1,"p99_ms":1,
                    "counted_from":1,"early":0,"unmade":0,"trouble":null,"failures":[],"answers":[]}"#
                    .to_owned(),
                "availability_reported",
            ),
            (
                format!(r#"{{"event":"host_quarantined",{failure},"log":[]}}"#),
                "host_failed",
            ),
            (r#"{"event":"host_found","host":"h1"}"#.to_owned(), "host_recovered"),
            (
                r#"{"event":"balancer_found","balancer":"lb1"}"#.to_owned(),
                "balancer_recovered",
            ),
            (
                serde_json::to_string(&Event::Drained {
                    slot: Slot::new("h1", 8081),
                    instance: "page-1".into(),
                    result: DrainResult::default(),
                })
                .unwrap()
                .replace(r#""result""#, r#""receipt""#),
                r#""result":"#,
            ),
            (
                concat!(
                    r#"{"event":"rollout_started","verb":"deploy","service":"page","fleet":"f","#,
                    r#""target":{"revision":2,"release":"b","version":"2"},"#,
                    r#""fallback":{"revision":1,"release":"a","version":"1"},"#,
                    r#""replicas":3,"fallback_replicas":2,"epoch":7}"#,
                )
                .to_owned(),
                r#""rollback_target":{"revision":1,"release":"a","version":"1"},"replicas":3,"rollback_replicas":2"#,
            ),
            (
                r#"{"event":"rollout_finished","outcome":{"outcome":"closed","why":"frozen"}}"#
                    .to_owned(),
                "window_closed",
            ),
        ];
        for (line, new_name) in lines {
            let event: Event = serde_json::from_str(&line).expect(&line);
            let written = serde_json::to_string(&event).unwrap();
            assert!(written.contains(new_name), "{line} is written as {written}");
        }
        assert_eq!(
            serde_json::from_str::<Verb>(r#""contract""#).unwrap(),
            Verb::Migrate
        );
    }
}
