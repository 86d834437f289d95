//! What a person or a program is told about a service on a fleet: `ship status`, and the reporters'
//! view.

use std::fmt;

use serde::Serialize;

use crate::core::ids::{HostId, InstanceId, Port, Revision};
use crate::core::journal::state::State;
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::event::Progress;

/// A service on a fleet at one moment. Its JSON keys are a contract: more may come, these stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub service: String,
    pub fleet: String,
    pub state: State,
    /// How the last rollout ended, or that one is under way.
    #[serde(skip)]
    pub standing: ServiceState,
    /// The revision that it is on, or on its way to; `None` before the first deploy.
    pub revision: Option<Revision>,
    pub version: Option<String>,
    pub replicas: Replicas,
    /// Every instance, in the inventory's order of hosts, then by port.
    pub instances: Vec<StatusRow>,
    /// Hosts about which nothing can be done now, and why.
    pub holds: Vec<HostWait>,
    /// Hosts that the last rollout left behind, and why: the next one puts them right.
    pub failed_hosts: Vec<HostWait>,
}

/// Counts of instances, and what they may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replicas {
    pub desired: u32,
    /// Of the revision's release.
    pub updated: u32,
    /// Of any release, and available.
    pub available: u32,
    /// Of any release.
    pub total: u32,
    /// Of the revision's release, and ready.
    pub updated_ready: u32,
    /// Of the revision's release, and available.
    pub updated_available: u32,
    /// The floor: a rollout never leaves fewer available than this.
    pub min_available: u32,
    /// The ceiling: a rollout never runs more than this.
    pub max_running: u32,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusRow {
    pub name: InstanceId,
    pub host: HostId,
    pub address: String,
    /// Its port.
    pub port: Port,
    /// The version that it runs; the release's short digest where the version is not known.
    pub version: String,
    /// The revision for which it was started.
    pub revision: Revision,
    pub ready: bool,
    pub status: InstanceStatus,
    /// How often its supervisor has started it again.
    pub restarts: u32,
    /// Seconds since it was started.
    pub age_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum InstanceStatus {
    /// It runs and is ready.
    Running,
    /// The order to start it is being carried out.
    Creating,
    /// It runs and has not been ready yet.
    Starting,
    /// It runs and is not ready, though it should be.
    NotReady,
    /// It is being taken out of traffic, and finishes what it has.
    Draining,
    /// It is ready, and not every balancer sends it requests.
    NoTraffic,
    /// The order to stop it is being carried out.
    Stopping,
    /// Its process has ended.
    Exited,
    /// Its host cannot be reached.
    Unknown,
}

/// A host about which nothing can be done now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostWait {
    pub host: HostId,
    pub why: String,
}

impl Status {
    /// One sentence about it: Kubernetes' own while a rollout is under way, else how the last one
    /// ended.
    pub fn sentence(&self) -> String {
        if self.version.is_none() {
            return format!(
                "service \"{}\" has not been deployed on {} yet",
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
        let stopped = |why: &str| {
            format!(
                "{name} {why}: {updated} of {desired} replicas updated, {available} of {desired} \
                 available"
            )
        };
        let ended = |how: &str| match self.replicas.progress() {
            progress if progress.is_complete() => format!("{name} successfully {how}"),
            _ if updated_available == desired => {
                format!(
                    "{name} was {how}; {} run now and {desired} are wanted",
                    self.replicas.total
                )
            }
            _ => format!("{name} was {how}; {available} of {desired} replicas are available now"),
        };
        match self.standing {
            ServiceState::Running => self.replicas.progress().sentence(&self.service),
            // Another history deployed what runs: this one has no rollout yet.
            ServiceState::New if !self.replicas.progress().is_complete() => {
                stopped("was deployed from elsewhere")
            }
            ServiceState::New | ServiceState::Idle => ended("rolled out"),
            ServiceState::RolledBack => ended("rolled back"),
            ServiceState::Paused => stopped("is paused"),
            ServiceState::CutOff => stopped("was interrupted"),
            ServiceState::Held => stopped("failed and is held"),
            ServiceState::Stuck => stopped("failed, and its rollback failed too"),
        }
    }
}

impl Replicas {
    /// Counts as the plan's census does: what has ended is not counted, what is on a lost host
    /// still runs.
    pub(super) fn count(&mut self, row: &StatusRow, updated: bool, available: bool) {
        let runs = row.status != InstanceStatus::Exited;
        self.total += u32::from(runs);
        self.available += u32::from(available);
        self.updated += u32::from(updated && runs);
        self.updated_ready += u32::from(updated && row.ready);
        self.updated_available += u32::from(updated && available);
    }

    /// The counts, as the journal has them.
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
            InstanceStatus::Exited => "Exited",
            InstanceStatus::Unknown => "Unknown",
        })
    }
}
