//! The failures and the outcomes of rollouts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::{Epoch, HostId, Slot};
use crate::core::redact::Redactor;
use crate::core::time::{Human, Time};

/// Why a rollout failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// The host, if the failure concerns one.
    pub host: Option<HostId>,
    /// The slot, if the failure concerns one.
    pub slot: Option<Slot>,
    /// The observation: the answer to the last probe, or the last line of a script.
    pub detail: String,
    /// How long ship waited before it gave up.
    pub waited: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A release could not be brought to a host.
    Stage,
    /// An instance could not be started.
    Start,
    /// An instance could not be reloaded.
    Reload,
    /// An instance could not be stopped.
    Stop,
    /// A balancer refused a change or cannot be reached.
    Traffic,
    /// The instance's process exited.
    Exited,
    /// The instance failed its liveness probe, and its host killed it.
    Liveness,
    /// The instance did not become, or stay, ready within the progress deadline.
    NotReady,
    /// A host could not be reached within the progress deadline.
    HostLost,
    /// An analysis of the new version failed.
    Analysis,
    /// Nothing made progress within the progress deadline.
    Stuck,
    /// More requests failed than allowed.
    #[serde(alias = "loss")]
    RequestsFailed,
    /// A hook that runs once in a rollout failed.
    Hook,
    /// A migration that the new version needs failed.
    Migration,
    /// A contract migration failed. It removes what older versions need.
    Contract,
    /// A user requested the rollback.
    Aborted,
}

impl FailureKind {
    /// Whether a task failed, rather than an instance or a host.
    pub fn is_task_failure(self) -> bool {
        matches!(
            self,
            FailureKind::Hook | FailureKind::Migration | FailureKind::Contract
        )
    }
}

impl Failure {
    /// The detail without the leading name of the host.
    pub fn detail_without_host(&self) -> &str {
        let host = self
            .slot
            .as_ref()
            .map(|slot| &slot.host)
            .or(self.host.as_ref());
        host.map_or(self.detail.as_str(), |host| host.without_name(&self.detail))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.slot, &self.host) {
            (Some(slot), _) => write!(f, "{slot}: ")?,
            (None, Some(host)) => write!(f, "{host}: ")?,
            (None, None) => {}
        }
        let waited = Human(self.waited);
        let detail = self.detail_without_host();
        match self.kind {
            FailureKind::Stage => write!(f, "cannot stage the release: {detail}"),
            FailureKind::Start => write!(f, "cannot start the new instance: {detail}"),
            FailureKind::Reload => write!(f, "cannot reload the instance: {detail}"),
            FailureKind::Stop => write!(f, "cannot stop the old instance: {detail}"),
            FailureKind::Traffic => {
                write!(f, "a load balancer rejected or ignored a change: {detail}")
            }
            FailureKind::Exited => {
                write!(
                    f,
                    "the new instance exited unexpectedly after {waited}: {detail}"
                )
            }
            FailureKind::Liveness => {
                write!(
                    f,
                    "the new instance failed its liveness probe: {detail} (killed by ship on the \
                     host)"
                )
            }
            FailureKind::NotReady => {
                write!(
                    f,
                    "the new instance is not ready after {waited}; last answer: {detail}"
                )
            }
            FailureKind::HostLost => write!(f, "unreachable for {waited}: {detail}"),
            FailureKind::Analysis => write!(f, "analysis {detail}"),
            FailureKind::Stuck => write!(f, "no progress for {waited}: {detail}"),
            FailureKind::RequestsFailed => write!(f, "too many requests failed: {detail}"),
            FailureKind::Hook => write!(f, "hook {detail}"),
            FailureKind::Migration | FailureKind::Contract => write!(f, "migration {detail}"),
            FailureKind::Aborted => write!(f, "aborted by {detail}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The fleet runs the target, and every replica is available.
    Succeeded,
    /// The rollout failed, and the fleet was rolled back.
    RolledBack,
    /// The rollout failed, and ship left the fleet as it is, for a person to decide.
    Held {
        /// Why ship did not roll back.
        why: String,
    },
    /// The rollout failed, and so did the rollback.
    RollbackFailed {
        /// The failure of the rollback.
        failure: Failure,
    },
    /// A host rejected a command, because another controller has taken over.
    Fenced {
        host: HostId,
        /// The newer epoch that the host has seen.
        seen: Epoch,
    },
    /// The rollout was interrupted. The actions in flight have ended, and the same command resumes
    /// the rollout.
    Interrupted,
    /// The deploy window closed, or the fleet was frozen. The current batch has ended, and a later
    /// deploy resumes the rollout.
    #[serde(alias = "closed")]
    WindowClosed {
        /// The window that closes, or who froze the fleet and why.
        why: String,
    },
    /// A user paused the rollout. The actions in flight have ended, and `ship resume` continues the
    /// rollout.
    Paused { by: String, since: Time },
}

impl Outcome {
    /// The same outcome with secrets redacted.
    #[must_use]
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        if let Some(text) = self.free_text() {
            *text = redactor.redact(text);
        }
        self
    }

    /// The text that may contain the output of another program.
    pub(super) fn free_text(&mut self) -> Option<&mut String> {
        match self {
            Outcome::Held { why } | Outcome::WindowClosed { why } => Some(why),
            Outcome::RollbackFailed { failure } => Some(&mut failure.detail),
            Outcome::Succeeded
            | Outcome::RolledBack
            | Outcome::Fenced { .. }
            | Outcome::Interrupted
            | Outcome::Paused { .. } => None,
        }
    }

    /// One word for tables and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::RolledBack => "rolled-back",
            Outcome::Held { .. } => "held",
            Outcome::RollbackFailed { .. } => "rollback-failed",
            Outcome::Fenced { .. } => "fenced",
            Outcome::Interrupted => "interrupted",
            Outcome::WindowClosed { .. } => "closed",
            Outcome::Paused { .. } => "paused",
        }
    }

    /// The word for a rollout that may not have ended. A rollout without an outcome and without a
    /// controller was interrupted: the controller died before it could record that.
    pub fn word_of(outcome: Option<&Self>, has_controller: bool) -> &'static str {
        match outcome {
            Some(outcome) => outcome.word(),
            None if has_controller => "running",
            None => Outcome::Interrupted.word(),
        }
    }
}
