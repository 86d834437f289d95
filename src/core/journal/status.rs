//! The status of a service on a fleet, for `ship status` and the reporters.

use std::fmt;

use serde::Serialize;

use crate::core::ids::{HostId, InstanceId, Port, Revision, SlotNumber};
use crate::core::journal::state::State;
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::event::Progress;
use crate::core::time::Time;

/// The status of a service at one moment. Its JSON keys are a contract: new ones may be added,
/// these stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub service: String,
    pub fleet: String,
    pub state: State,
    /// The state after the last rollout, or during the current one.
    #[serde(skip)]
    pub service_state: ServiceState,
    /// The current or target revision; `None` before the first deploy.
    pub revision: Option<Revision>,
    pub version: Option<String>,
    pub replicas: Replicas,
    /// Every instance, in the inventory's order of hosts, then by slot.
    pub instances: Vec<StatusRow>,
    /// Hosts with no action now, and the reason.
    pub holds: Vec<HostWait>,
    /// Failed hosts of the last rollout, and the reason. The next rollout tries them again.
    pub failed_hosts: Vec<HostWait>,
}

/// Counts of instances and their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replicas {
    pub desired: u32,
    /// Instances of the revision's release.
    pub updated: u32,
    /// Available instances of any release.
    pub available: u32,
    /// Instances of any release.
    pub total: u32,
    /// Ready instances of the revision's release.
    pub updated_ready: u32,
    /// Available instances of the revision's release.
    pub updated_available: u32,
    /// The fewest instances that a rollout leaves available.
    pub min_available: u32,
    /// The most instances that a rollout runs.
    pub max_running: u32,
}

/// The row of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusRow {
    pub name: InstanceId,
    pub host: HostId,
    pub address: String,
    /// The first port; `None` if the service has no ports.
    pub port: Option<Port>,
    pub slot: SlotNumber,
    /// The version; the short digest of the release if the version is unknown.
    pub version: String,
    /// The revision for which the instance was started.
    pub revision: Revision,
    pub ready: bool,
    pub status: InstanceStatus,
    /// How often the supervisor has restarted the instance.
    pub restarts: u32,
    /// Seconds since the start.
    pub age_s: u64,
    /// Set from the stop signal on, if the instance may then finish its work. The JSON omits it
    /// otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lingering: Option<LingeringStatus>,
}

/// How long an instance has been lingering, and until when it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LingeringStatus {
    /// Seconds since its stop signal, or until it ended; `None` if it is not known when it ended.
    pub for_s: Option<u64>,
    /// When its host ends it, in milliseconds since the Unix epoch.
    #[serde(rename = "ends_by_ms")]
    pub ends_by: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum InstanceStatus {
    /// The instance runs and is ready.
    Running,
    /// The start is in flight.
    Creating,
    /// The instance runs and has not been ready yet.
    Starting,
    /// The instance was ready and no longer is.
    NotReady,
    /// The instance gets no new requests and finishes its open ones.
    Draining,
    /// The instance is ready, but not every balancer sends it requests.
    NoTraffic,
    /// The stop is in flight.
    Stopping,
    /// The instance was asked to stop and finishes its work.
    Lingering,
    /// The instance was asked to stop, and has finished its work. The next rollout empties its slot.
    Ended,
    /// The process has exited.
    Exited,
    /// The host is unreachable.
    Unknown,
}

/// A host and why it waits or has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostWait {
    pub host: HostId,
    pub why: String,
}

impl Status {
    /// The status in one sentence: the sentence of `kubectl rollout status` while a rollout runs,
    /// otherwise the outcome of the last rollout.
    pub fn sentence(&self) -> String {
        if self.version.is_none() {
            return format!(
                "service `{}` has not been deployed on fleet `{}` yet",
                self.service, self.fleet
            );
        }
        let name = format!("deployment \"{}\"", self.service);
        let Replicas {
            desired,
            updated,
            updated_available,
            available,
            ..
        } = self.replicas;
        let with_counts = |state: &str| {
            format!(
                "{name} {state}: {updated} of {desired} replicas updated, {available} of {desired} \
                 available"
            )
        };
        let ended = |how: &str| match self.replicas.progress() {
            progress if progress.is_complete() => format!("{name} successfully {how}"),
            _ if updated_available == desired => {
                format!(
                    "{name} was {how}; {} of {desired} wanted replicas run now",
                    self.replicas.total
                )
            }
            _ => format!("{name} was {how}; {available} of {desired} replicas are available now"),
        };
        match self.service_state {
            ServiceState::Running => self.replicas.progress().sentence(&self.service),
            // The instances were deployed from another state directory; this one has no rollout
            // yet.
            ServiceState::New if !self.replicas.progress().is_complete() => {
                with_counts("was deployed from another state directory")
            }
            ServiceState::New | ServiceState::Idle => ended("rolled out"),
            ServiceState::RolledBack => ended("rolled back"),
            ServiceState::Paused => with_counts("is paused"),
            ServiceState::Interrupted => with_counts("was interrupted"),
            ServiceState::Held => with_counts("failed and is held"),
            ServiceState::RollbackFailed => with_counts("failed, and its rollback failed too"),
        }
    }
}

impl Replicas {
    /// Counts an instance as the planner's census does: exited and lingering instances do not count,
    /// instances on an unreachable host do.
    pub(super) fn count(&mut self, row: &StatusRow, updated: bool, available: bool) {
        let runs = row.status != InstanceStatus::Exited && !row.status.is_retired();
        self.total += u32::from(runs);
        self.available += u32::from(available);
        self.updated += u32::from(updated && runs);
        self.updated_ready += u32::from(updated && row.ready);
        self.updated_available += u32::from(updated && available);
    }

    /// The counts as the journal records them.
    pub fn progress(&self) -> Progress {
        Progress {
            desired: self.desired,
            updated: self.updated,
            updated_ready: self.updated_ready,
            updated_available: self.updated_available,
            available: self.available,
            total: self.total,
        }
    }
}

impl InstanceStatus {
    /// Whether the instance was asked to stop, and finishes its work or has finished it.
    pub fn is_retired(self) -> bool {
        matches!(self, Self::Lingering | Self::Ended)
    }
}

impl fmt::Display for InstanceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            InstanceStatus::Running => "Running",
            InstanceStatus::Creating => "Creating",
            InstanceStatus::Starting => "Starting",
            InstanceStatus::NotReady => "NotReady",
            InstanceStatus::Draining => "Draining",
            InstanceStatus::NoTraffic => "NoTraffic",
            InstanceStatus::Stopping => "Stopping",
            InstanceStatus::Lingering => "Lingering",
            InstanceStatus::Ended => "Ended",
            InstanceStatus::Exited => "Exited",
            InstanceStatus::Unknown => "Unknown",
        })
    }
}
