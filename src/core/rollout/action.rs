//! The actions of a plan. Every action is idempotent: repeating it changes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::{HostId, InstanceId, ReleaseId, Slot};

/// One command to one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Make a host reject every action of an older rollout, such as one that is still in transit.
    Claim { host: HostId },
    /// Bring a release to a host and verify it, without touching running instances.
    Stage { host: HostId, release: ReleaseId },
    /// Start an instance in an empty slot, or reload the one that is there with the files of another
    /// release.
    Start {
        slot: Slot,
        release: ReleaseId,
        /// The instance to reload. Its process continues under a new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reloads: Option<InstanceId>,
    },
    /// Let the balancers send requests to an instance.
    Admit {
        slot: Slot,
        instance: InstanceId,
        /// The weight of the instance, in percent of the full weight; `None` for the full weight.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight_percent: Option<u32>,
    },
    /// Stop new requests to a slot, and wait until its open requests have finished. At the drain
    /// timeout, the open requests are cut.
    Drain {
        slot: Slot,
        instance: InstanceId,
        /// The number of other slots that must serve at each balancer; with fewer, the drain fails.
        keep: u32,
    },
    /// Stop the instance in a slot: TERM, wait, KILL.
    Stop {
        slot: Slot,
        /// Only this instance is stopped, never another one in the slot.
        instance: InstanceId,
        why: StopReason,
        /// The dead-man switch: the host restarts the instance unless ship disarms the slot within
        /// this time. Only for an instance that must stop before its successor can serve.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restore_after: Option<Duration>,
        /// How the process had exited before the stop, if it had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<String>,
    },
    /// Disarm a slot, so that the host does not restart the old instance.
    Disarm { slot: Slot },
    /// Remove releases that are no longer needed.
    Prune {
        host: HostId,
        /// The releases to remove, none of which runs or is kept by the history.
        releases: BTreeSet<ReleaseId>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The instance runs an unwanted release and does not serve.
    OldAndUnhealthy,
    /// The instance runs an unwanted release, and enough other instances serve.
    Replaced,
    /// There are more instances of the wanted release than replicas.
    Surplus,
    /// The process has exited or the instance never became ready, and the slot is needed.
    Dead,
    /// The instance had been asked to stop before, has finished its work, and has ended.
    Lingered,
}

impl Action {
    pub fn host(&self) -> &HostId {
        match self {
            Action::Claim { host } | Action::Stage { host, .. } | Action::Prune { host, .. } => {
                host
            }
            Action::Start { slot, .. }
            | Action::Admit { slot, .. }
            | Action::Drain { slot, .. }
            | Action::Stop { slot, .. }
            | Action::Disarm { slot } => &slot.host,
        }
    }

    /// The slot that the action changes, if it changes one.
    pub fn slot(&self) -> Option<&Slot> {
        match self {
            Action::Claim { .. } | Action::Stage { .. } | Action::Prune { .. } => None,
            Action::Start { slot, .. }
            | Action::Admit { slot, .. }
            | Action::Drain { slot, .. }
            | Action::Stop { slot, .. }
            | Action::Disarm { slot } => Some(slot),
        }
    }

    /// The instance that no longer exists under its name after the action: one that is stopped or
    /// reloaded.
    pub fn ends(&self) -> Option<&InstanceId> {
        match self {
            Action::Stop { instance, .. } => Some(instance),
            Action::Start { reloads, .. } => reloads.as_ref(),
            _ => None,
        }
    }

    /// Whether the action reloads an instance.
    pub fn is_reload(&self) -> bool {
        matches!(
            self,
            Action::Start {
                reloads: Some(_),
                ..
            }
        )
    }

    /// The verb, for messages: `start`.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Claim { .. } => "claim",
            Action::Stage { .. } => "stage",
            Action::Start { .. } => "start",
            Action::Admit { .. } => "admit",
            Action::Drain { .. } => "drain",
            Action::Stop { .. } => "stop",
            Action::Disarm { .. } => "disarm",
            Action::Prune { .. } => "prune",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Claim { host } => write!(f, "claim {host}"),
            Action::Stage { host, release } => write!(f, "stage {} on {host}", release.short()),
            Action::Start {
                slot,
                release,
                reloads: None,
            } => write!(f, "start {} at {slot}", release.short()),
            Action::Start {
                slot,
                release,
                reloads: Some(instance),
            } => write!(f, "reload {instance} with {} at {slot}", release.short()),
            Action::Admit {
                slot,
                instance,
                weight_percent: None,
            } => write!(f, "admit {instance} at {slot}"),
            Action::Admit {
                slot,
                instance,
                weight_percent: Some(weight),
            } => {
                write!(
                    f,
                    "admit {instance} at {slot} with {weight} % of the weight"
                )
            }
            Action::Drain { slot, instance, .. } => write!(f, "drain {instance} at {slot}"),
            Action::Stop {
                slot,
                instance,
                why,
                ..
            } => write!(f, "stop {instance} at {slot} ({why})"),
            Action::Disarm { slot } => write!(f, "disarm {slot}"),
            Action::Prune { host, releases } => {
                write!(f, "prune {} old releases on {host}", releases.len())
            }
        }
    }
}

impl StopReason {
    /// Whether the instance may finish its work, if its release has `linger`. One that does not
    /// serve has only its stop timeout, so that it does not keep its slot from a rollback.
    pub fn allows_lingering(self) -> bool {
        match self {
            StopReason::Replaced | StopReason::Surplus | StopReason::Lingered => true,
            StopReason::OldAndUnhealthy | StopReason::Dead => false,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::OldAndUnhealthy => "unhealthy",
            StopReason::Replaced => "replaced",
            StopReason::Surplus => "surplus",
            StopReason::Dead => "exited",
            StopReason::Lingered => "lingered",
        })
    }
}
