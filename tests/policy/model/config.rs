//! What is explored: a small fleet, a rollout, and how hostile the environment is.

use ship::core::spec::step::OnGate;
use std::time::Duration;

use ship::core::ids::{HostId, Port};
use ship::core::spec::budget::Budget;
use ship::core::spec::{OnFailure, Spec};

use super::controller::{Controllers, THRESHOLDS, port_number, release_id};
use super::state::State;
use super::world::{Adversity, HOSTS, Instance, Life, Machine, Name, PORTS, Release};

/// Releases that the history keeps.
pub(crate) const KEPT: [Release; 2] = [Release::Old, Release::New];

/// A small fleet, a rollout, and how hostile the environment is.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own"
)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) hosts: usize,
    pub(crate) ports: usize,
    pub(crate) replicas: usize,
    pub(crate) surge: usize,
    pub(crate) unavailable: usize,
    /// Hosts that may be left behind.
    pub(crate) max_failed_hosts: usize,
    pub(crate) on_failure: OnFailure,
    /// Goal and fallback of the first controller, then of those that may come after it.
    pub(crate) goals: Vec<(Release, Option<Release>)>,
    /// What runs at first: host, port, release, state.
    pub(crate) initial: Vec<(usize, usize, Release, Life)>,
    /// Releases that lie on every host at first.
    pub(crate) staged: Vec<Release>,
    pub(crate) adversity: Adversity,
    /// Whether hosts keep the fence.
    pub(crate) fence: bool,
    /// Whether only starts of the new release go wrong.
    pub(crate) only_new_is_bad: bool,
    /// Whether a host that vanishes may come back with everything on it ended.
    pub(crate) reboots: bool,
    /// A host that is drained.
    pub(crate) drained: Option<usize>,
    /// Whether nobody listens, and the probe passes for a process that has ended too.
    pub(crate) workers: bool,
    /// Whether each release has a port of its own: the old one the first, the new one the second.
    pub(crate) own_ports: bool,
}

impl Config {
    pub(crate) fn floor(&self) -> usize {
        self.replicas.saturating_sub(self.unavailable)
    }

    /// The ports of a release on each host.
    pub(crate) fn ports_of(&self, release: Release) -> Vec<Port> {
        match release {
            Release::Old if self.own_ports => vec![port_number(0)],
            Release::New if self.own_ports => vec![port_number(1)],
            _ => (0..self.ports).map(port_number).collect(),
        }
    }

    pub(crate) fn ceiling(&self) -> usize {
        self.replicas + self.surge
    }

    pub(crate) fn host_ids(&self) -> Vec<HostId> {
        (1..=self.hosts)
            .map(|n| HostId::from(format!("h{n}")))
            .collect()
    }

    /// Serving instances that the environment may have taken away so far.
    pub(crate) fn harm_done(&self, state: &State) -> usize {
        let serving_at_first = self
            .initial
            .iter()
            .filter(|(.., life)| *life == Life::Ready)
            .count();
        let lacking_at_first = self.floor().saturating_sub(serving_at_first);
        lacking_at_first + self.adversity.harm() - state.left.harm()
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
            ports: (0..self.ports).map(port_number).collect(),
            budget: Budget {
                replicas: small(self.replicas),
                surge: small(self.surge),
                unavailable: small(self.unavailable),
            },
            release_ports: if self.own_ports {
                Release::ALL
                    .iter()
                    .map(|release| (release_id(*release), self.ports_of(*release)))
                    .collect()
            } else {
                std::collections::BTreeMap::new()
            },
            budget_back: None,
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
            hours: ship::core::spec::windows::DeployWindows::default(),
            tasks: Vec::new(),
            analyses: Vec::new(),
            traffic: None,
            keep: KEPT.into_iter().map(release_id).collect(),
        }
    }

    pub(crate) fn first_state(&self, minds: &mut Controllers) -> State {
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
        for (host, port, release, life) in &self.initial {
            let name = Name::new(*host, *port, *release, 0, 0);
            machines[*host].slots[*port] = Some(Instance {
                name,
                release: *release,
                life: *life,
            });
            machines[*host].releases |= release.bit();
        }
        let (goal, fallback) = self.goals[0];
        State {
            machines,
            flights: [None; HOSTS],
            limbo: [None; HOSTS],
            late: [[None; 2]; HOSTS],
            controller: Some(minds.start(1, goal, fallback, &machines)),
            epoch: 1,
            left: self.adversity,
        }
    }
}
