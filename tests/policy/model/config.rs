//! The configurations: a small fleet, a rollout, and the faults that may occur.

use std::collections::{BTreeMap, BTreeSet};

use ship::core::spec::step::OnGate;
use std::time::Duration;

use ship::core::ids::{HostId, SlotNumber};
use ship::core::spec::budget::Budget;
use ship::core::spec::zones::Zones;
use ship::core::spec::{OnFailure, Spec};

use super::controller::{Controllers, THRESHOLDS, port_number, release_id};
use super::state::State;
use super::world::{Faults, HOSTS, Instance, InstanceName, Machine, PORTS, ProcessState, Release};

/// The releases that the history keeps.
pub(crate) const KEPT: [Release; 2] = [Release::Old, Release::New];

/// A small fleet, a rollout, and the faults that may occur.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the properties are independent"
)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) hosts: usize,
    pub(crate) slots: usize,
    pub(crate) replicas: usize,
    pub(crate) surge: usize,
    pub(crate) unavailable: usize,
    /// The number of hosts that may fail.
    pub(crate) max_failed_hosts: usize,
    pub(crate) on_failure: OnFailure,
    /// Target and rollback target of the first controller, then of those that may follow.
    pub(crate) goals: Vec<(Release, Option<Release>)>,
    /// The initial instances: host, port, release, state.
    pub(crate) initial: Vec<(usize, usize, Release, ProcessState)>,
    /// The releases that are staged on every host at first.
    pub(crate) staged: Vec<Release>,
    pub(crate) faults: Faults,
    /// Whether hosts reject commands with an older epoch.
    pub(crate) fence: bool,
    /// Whether only starts of the new release fail.
    pub(crate) only_new_fails: bool,
    /// Whether an unreachable host may return after a reboot.
    pub(crate) reboots: bool,
    /// A host that is drained.
    pub(crate) drained: Option<usize>,
    /// Whether instances have no listener, and the probe also passes for an exited process.
    pub(crate) workers: bool,
    /// Whether each release has its own port: the old one the first, the new one the second.
    pub(crate) own_ports: bool,
    /// Whether two instances must never run at once.
    pub(crate) is_singleton: bool,
    /// The zone of each host.
    pub(crate) zones: [u8; HOSTS],
}

impl Config {
    pub(crate) fn min_available(&self) -> usize {
        self.replicas.saturating_sub(self.unavailable)
    }

    /// The ports of a release on each host.
    pub(crate) fn slots_of(&self, release: Release) -> Vec<SlotNumber> {
        match release {
            Release::Old if self.own_ports => vec![port_number(0)],
            Release::New if self.own_ports => vec![port_number(1)],
            _ => (0..self.slots).map(port_number).collect(),
        }
    }

    pub(crate) fn max_running(&self) -> usize {
        self.replicas + self.surge
    }

    pub(crate) fn host_ids(&self) -> Vec<HostId> {
        (1..=self.hosts)
            .map(|n| HostId::from(format!("h{n}")))
            .collect()
    }

    /// The maximum number of serving instances that faults may have ended so far.
    pub(crate) fn max_lost_instances(&self, state: &State) -> usize {
        let serving_at_first = self
            .initial
            .iter()
            .filter(|(.., state)| *state == ProcessState::Ready)
            .count();
        let lacking_at_first = self.min_available().saturating_sub(serving_at_first);
        lacking_at_first + self.faults.max_lost_instances() - state.faults_left.max_lost_instances()
    }

    pub(crate) fn spec(&self) -> Spec {
        let mut hosts = self.host_ids();
        if let Some(drained) = self.drained {
            hosts.remove(drained);
        }
        let small = |n: usize| u32::try_from(n).expect("small");
        Spec {
            service: "testpage".into(),
            hosts,
            slots: (0..self.slots).map(port_number).collect(),
            is_singleton: self.is_singleton,
            zones: Zones::new(
                self.host_ids()
                    .into_iter()
                    .zip(self.zones.map(|zone| format!("zone {zone}"))),
            ),
            reload_groups: BTreeMap::new(),
            budget: Budget {
                replicas: small(self.replicas),
                surge: small(self.surge),
                unavailable: small(self.unavailable),
            },
            without_ports: BTreeSet::new(),
            slot_ports: BTreeMap::new(),
            release_slots: if self.own_ports {
                Release::ALL
                    .iter()
                    .map(|release| (release_id(*release), self.slots_of(*release)))
                    .collect()
            } else {
                std::collections::BTreeMap::new()
            },
            rollback_budget: None,
            min_ready: Duration::ZERO,
            progress_deadline: Duration::from_mins(10),
            max_failed_hosts: small(self.max_failed_hosts),
            on_failure: self.on_failure,
            thresholds: Release::ALL
                .iter()
                .map(|release| (release_id(*release), THRESHOLDS))
                .collect(),
            waits: std::collections::BTreeMap::new(),
            steps: Vec::new(),
            on_gate: OnGate::default(),
            deploy_windows: ship::core::spec::windows::DeployWindows::default(),
            tasks: Vec::new(),
            analyses: Vec::new(),
            traffic: None,
            keep: KEPT.into_iter().map(release_id).collect(),
        }
    }

    pub(crate) fn first_state(&self, controllers: &mut Controllers) -> State {
        let staged = self
            .staged
            .iter()
            .fold(0, |mask, release| mask | release.bit());
        let machine = Machine {
            up: true,
            epoch: 0,
            releases: staged,
            slots: [None; PORTS],
        };
        let mut machines = [machine; HOSTS];
        for (host, number, release, state) in &self.initial {
            let name = InstanceName::new(*host, *number, *release, 0, 0);
            machines[*host].slots[*number] = Some(Instance {
                name,
                release: *release,
                state: *state,
            });
            machines[*host].releases |= release.bit();
        }
        let (goal, rollback_target) = self.goals[0];
        State {
            machines,
            in_flight: [None; HOSTS],
            unknown: [None; HOSTS],
            late: [[None; 2]; HOSTS],
            controller: Some(controllers.start(1, goal, rollback_target, &machines)),
            epoch: 1,
            faults_left: self.faults,
        }
    }
}
