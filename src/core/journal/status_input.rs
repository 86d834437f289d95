//! The input from which a status is computed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::fleet::health::Thresholds;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{Traffic, TrafficState};
use crate::core::fleet::{Fleet, Host, Instance};
use crate::core::ids::{HostId, InstanceId, Port, ReleaseId, Slot};
use crate::core::journal::pending_actions::PendingActions;
use crate::core::journal::status::{
    HostWait, InstanceStatus, LingeringStatus, Replicas, Status, StatusRow,
};
use crate::core::planner::wait_reason::WaitReason;
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::event::RevisionRef;
use crate::core::rollout::failure::Failure;
use crate::core::spec::budget::Budget;
use crate::core::time::{Human, Time};

/// The input from which a status is computed.
#[derive(Clone, Copy, Debug)]
pub struct StatusInput<'a> {
    pub service: &'a str,
    pub fleet_name: &'a str,
    /// The hosts and their addresses, in the inventory's order.
    pub hosts: &'a [(HostId, String)],
    /// The fleet as last observed.
    pub fleet: &'a Fleet,
    /// The version of each release of the history.
    pub versions: &'a BTreeMap<ReleaseId, String>,
    /// The releases whose instances do not listen.
    pub without_ports: &'a BTreeSet<ReleaseId>,
    /// The current or target revision.
    pub target: Option<&'a RevisionRef>,
    /// The wanted instances and their limits.
    pub budget: Budget,
    /// How long an instance must be ready to count as available.
    pub min_ready: Duration,
    /// The readiness thresholds of each release; the default applies to others.
    pub thresholds: &'a BTreeMap<ReleaseId, Thresholds>,
    pub traffic: Option<&'a Traffic>,
    /// The state after the last rollout, or during the current one.
    pub service_state: ServiceState,
    /// The actions in flight.
    pub pending: &'a PendingActions,
    /// The failed hosts of the last rollout.
    pub failed_hosts: &'a [Failure],
    /// The wait reasons of the plan; empty without a plan. An unreachable host needs no entry.
    pub holds: &'a BTreeMap<HostId, WaitReason>,
    pub now: Time,
}

impl StatusInput<'_> {
    pub fn status(&self) -> Status {
        let inventory = InventoryOrder::of(self.hosts);
        let mut replicas = Replicas {
            desired: self.budget.replicas,
            min_available: self.budget.min_available(),
            max_running: self.budget.max_running(),
            ..Replicas::default()
        };
        let mut instances = Vec::new();
        for (slot, host, instance) in self.fleet.instances() {
            let row = self.row(&slot, host, instance, &inventory);
            let available = row.status == InstanceStatus::Running && self.is_available(instance);
            replicas.count(&row, self.is_updated(&instance.release), available);
            instances.push(row);
        }
        // A start in flight is shown and counted at once, as `ContainerCreating` in Kubernetes.
        for order in self.pending.starts() {
            let Some((instance, slot, release)) = order.start() else {
                continue;
            };
            if self.is_not_observed(slot, instance) {
                let row = self.row_of_start(instance, slot, release, order.since, &inventory);
                replicas.count(&row, self.is_updated(release), false);
                instances.push(row);
            }
        }
        instances.sort_by_cached_key(|row| (inventory.rank(&row.host), row.slot));

        let mut holds = self.waiting_hosts();
        holds.sort_by_cached_key(|held| inventory.rank(&held.host));
        Status {
            service: self.service.to_owned(),
            fleet: self.fleet_name.to_owned(),
            state: self.service_state.state(),
            service_state: self.service_state,
            revision: self.target.map(|target| target.revision),
            version: self.target.map(|target| target.version.clone()),
            replicas,
            instances,
            holds,
            failed_hosts: self.failed_hosts(&inventory),
        }
    }

    fn row(
        &self,
        slot: &Slot,
        host: &Host,
        instance: &Instance,
        inventory: &InventoryOrder<'_>,
    ) -> StatusRow {
        let ready = self.is_ready(host, instance);
        StatusRow {
            name: instance.name.clone(),
            host: slot.host.clone(),
            address: inventory.address(&slot.host),
            port: self.port(slot, &instance.release),
            slot: slot.number,
            version: self.version(&instance.release),
            revision: instance.revision,
            ready,
            status: self.instance_status(slot, host, instance, ready),
            restarts: instance.restarts,
            age_s: self.now.since(instance.started).as_secs(),
            lingering: instance.lingering.map(|lingering| LingeringStatus {
                for_s: (lingering.ended.is_some() || instance.lingers().is_some())
                    .then(|| lingering.lasts(self.now).as_secs()),
                ends_by: lingering.ends_by,
            }),
        }
    }

    fn row_of_start(
        &self,
        instance: &InstanceId,
        slot: &Slot,
        release: &ReleaseId,
        since: Time,
        inventory: &InventoryOrder<'_>,
    ) -> StatusRow {
        let target = self.target.map(|target| target.revision);
        StatusRow {
            name: instance.clone(),
            host: slot.host.clone(),
            address: inventory.address(&slot.host),
            port: self.port(slot, release),
            slot: slot.number,
            version: self.version(release),
            revision: target.unwrap_or_default(),
            ready: false,
            status: InstanceStatus::Creating,
            restarts: 0,
            age_s: self.now.since(since).as_secs(),
            lingering: None,
        }
    }

    fn port(&self, slot: &Slot, release: &ReleaseId) -> Option<Port> {
        (!self.without_ports.contains(release)).then_some(slot.number)
    }

    fn instance_status(
        &self,
        slot: &Slot,
        host: &Host,
        instance: &Instance,
        ready: bool,
    ) -> InstanceStatus {
        if !host.is_reachable() {
            InstanceStatus::Unknown
        } else if self.pending.is_stopping(&instance.name) {
            InstanceStatus::Stopping
        } else if instance.lingers().is_some() {
            InstanceStatus::Lingering
        } else if instance.lingering.is_some() {
            InstanceStatus::Ended
        } else if !instance.is_running() {
            InstanceStatus::Exited
        } else if self.pending.is_draining(&instance.name) {
            InstanceStatus::Draining
        } else if ready {
            let gets_requests = matches!(
                self.fleet.traffic_state(self.traffic, slot),
                TrafficState::Direct | TrafficState::Open
            );
            if gets_requests {
                InstanceStatus::Running
            } else {
                InstanceStatus::NoTraffic
            }
        } else if self.pending.is_starting(&instance.name) {
            InstanceStatus::Starting
        } else {
            InstanceStatus::NotReady
        }
    }

    fn is_updated(&self, release: &ReleaseId) -> bool {
        self.target.is_some_and(|target| target.release == *release)
    }

    fn is_not_observed(&self, slot: &Slot, instance: &InstanceId) -> bool {
        let seen = self.fleet.instance(slot);
        seen.is_none_or(|seen| seen.name != *instance)
    }

    fn is_ready(&self, host: &Host, instance: &Instance) -> bool {
        host.is_reachable()
            && instance.is_running()
            && instance
                .health
                .is_ready(self.now, &self.thresholds(instance))
    }

    fn is_available(&self, instance: &Instance) -> bool {
        instance.is_available(self.now, self.min_ready, &self.thresholds(instance))
    }

    fn thresholds(&self, instance: &Instance) -> Thresholds {
        self.thresholds
            .get(&instance.release)
            .copied()
            .unwrap_or_default()
    }

    fn version(&self, release: &ReleaseId) -> String {
        match self.target {
            Some(target) if target.release == *release => target.version.clone(),
            _ => self
                .versions
                .get(release)
                .map_or_else(|| release.short().to_owned(), Clone::clone),
        }
    }

    /// The hosts that wait for something: neither up to date nor busy.
    fn waiting_hosts(&self) -> Vec<HostWait> {
        let planned = self.holds.iter().filter(|(host, hold)| {
            !self.is_lost(host)
                && !matches!(
                    hold,
                    WaitReason::UpToDate
                        | WaitReason::Busy { .. }
                        | WaitReason::RolloutStopped { .. }
                )
        });
        let planned = planned.map(|(host, hold)| {
            let why = match hold {
                WaitReason::Soaks { number, until } => {
                    format!(
                        "slot {number} is ready and soaks for another {}",
                        Human(until.since(self.now))
                    )
                }
                WaitReason::WaitsForLingering { until, .. } => {
                    format!("{hold} for up to another {}", Human(until.since(self.now)))
                }
                hold => hold.to_string(),
            };
            HostWait {
                host: host.clone(),
                why,
            }
        });
        let lost = self
            .fleet
            .hosts
            .iter()
            .filter_map(|(id, host)| match &host.reach {
                Reach::Lost { since, why } => {
                    let why = format!("unreachable for {}: {why}", Human(self.now.since(*since)));
                    Some(HostWait {
                        host: id.clone(),
                        why,
                    })
                }
                Reach::NotSeen | Reach::Reachable => None,
            });
        let balancers = self
            .fleet
            .balancers
            .iter()
            .filter(|(id, _)| !self.fleet.hosts.contains_key(*id));
        let balancers = balancers.filter_map(|(id, balancer)| match &balancer.reach {
            Reach::Lost { since, why } => {
                let why = format!(
                    "balancer unreachable for {}: {why}",
                    Human(self.now.since(*since))
                );
                Some(HostWait {
                    host: id.clone(),
                    why,
                })
            }
            Reach::NotSeen | Reach::Reachable => None,
        });
        planned.chain(lost).chain(balancers).collect()
    }

    fn failed_hosts(&self, inventory: &InventoryOrder<'_>) -> Vec<HostWait> {
        let failed_host = |failure: &Failure| {
            Some(HostWait {
                host: failure.host.clone()?,
                why: failure.to_string(),
            })
        };
        let mut failed_hosts: Vec<_> = self.failed_hosts.iter().filter_map(failed_host).collect();
        failed_hosts.sort_by_cached_key(|held| inventory.rank(&held.host));
        failed_hosts
    }

    fn is_lost(&self, host: &HostId) -> bool {
        self.fleet
            .hosts
            .get(host)
            .is_some_and(|host| matches!(host.reach, Reach::Lost { .. }))
    }
}

/// The position and the address of each host in the inventory.
struct InventoryOrder<'a>(BTreeMap<&'a HostId, (usize, &'a str)>);

impl<'a> InventoryOrder<'a> {
    fn of(hosts: &'a [(HostId, String)]) -> Self {
        Self(
            hosts
                .iter()
                .enumerate()
                .map(|(i, (host, address))| (host, (i, address.as_str())))
                .collect(),
        )
    }

    /// The sort key of a host. Hosts that are no longer in the inventory come last, by name.
    fn rank(&self, host: &HostId) -> (usize, HostId) {
        (
            self.0.get(host).map_or(usize::MAX, |(i, _)| *i),
            host.clone(),
        )
    }

    fn address(&self, host: &HostId) -> String {
        self.0
            .get(host)
            .map_or_else(|| host.to_string(), |(_, address)| (*address).to_owned())
    }
}

#[cfg(test)]
mod tests;
