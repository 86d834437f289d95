//! The fleet as last observed: hosts, slots and instances. State that can be observed is stored
//! nowhere else.

pub mod drain;
pub mod health;
pub mod identity;
pub mod lingering;
pub mod owner;
pub mod poll_interval;
pub mod reach;
pub mod selector;
pub mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::health::{Health, Thresholds, Verdict};
use crate::core::fleet::identity::Identity;
use crate::core::fleet::lingering::Lingering;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{
    Balancer, BalancerState, Balancers, SlotAdmission, Traffic, TrafficState,
};
use crate::core::ids::{Epoch, HostId, InstanceId, Port, ReleaseId, Revision, Slot, SlotNumber};
use crate::core::release::hook::HookRun;
use crate::core::release::patch::Transfer;
use crate::core::release::{Check, Definition};
use crate::core::time::{Human, Time};

/// All hosts of an inventory, as last observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    pub hosts: BTreeMap<HostId, Host>,
    /// The balancers, by name. If each host is its own balancer, the name is that of the host.
    pub balancers: BTreeMap<HostId, Balancer>,
}

/// A machine, as last observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub reach: Reach,
    /// The newest epoch that the host has seen for this service.
    pub epoch: Epoch,
    /// The releases that are completely staged on the host.
    pub releases: BTreeSet<ReleaseId>,
    /// The occupied slots. Every other slot is empty.
    pub slots: BTreeMap<SlotNumber, Occupant>,
    /// Armed slots: the host restarts the old instance unless ship disarms the slot in time.
    pub armed: BTreeSet<SlotNumber>,
}

/// The process or instance in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every occupant is an instance"
)]
pub enum Occupant {
    /// An instance that ship started.
    Instance(Instance),
    /// Another process listens on a port of the slot, and ship does not touch it.
    OtherProcess(String),
}

/// A release running in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The name. Two observations with the same name are of the same instance.
    pub name: InstanceId,
    pub release: ReleaseId,
    /// The revision for which the instance was started.
    pub revision: Revision,
    /// When the instance was started, by the control machine's clock.
    pub started: Time,
    pub process: Process,
    /// Set from its stop signal on, if the instance may then finish its work.
    pub lingering: Option<Lingering>,
    /// How often the supervisor has restarted the instance.
    pub restarts: u32,
    /// The listeners on the ports of the instance that are open.
    pub listeners: BTreeMap<Port, Listener>,
    pub health: Health,
    /// The last observation that found the process running.
    pub sighting: Sighting,
}

/// An observation that found an instance's process running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// When the observation began.
    pub at: Time,
    /// The id and the start time of the process; empty if the host did not report them.
    pub process: String,
    /// How long the process has been running.
    pub running_for: Duration,
    /// Whether systemd does not count its unit as started yet.
    pub is_starting: bool,
    /// Whether it is of a type that reports `READY=1`, and has done so.
    pub has_notified: bool,
    /// How the previous process ended, if systemd has restarted the instance; otherwise empty.
    pub last_exit: String,
    /// Why the host killed the process of this instance, if its liveness probe failed; otherwise
    /// empty.
    pub failed_liveness: String,
}

/// The state of an instance's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Process {
    Running,
    /// The process has exited.
    Ended {
        /// `exit status 1`, `signal 9`.
        how: String,
    },
}

/// The process that listens on a port of an instance. A passed probe counts only if the instance
/// itself listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "listener")]
pub enum Listener {
    #[default]
    #[serde(alias = "nobody")]
    Closed,
    /// A process of the instance, bound to this address (`0.0.0.0` and `::` for all).
    Own {
        /// The bound address.
        address: String,
    },
    Other {
        /// The process: `pid 4711 (nginx)`.
        who: String,
    },
    /// The server that serves the files of the instance, which ship did not start (driver `link`).
    /// Its answer does not show which release it serves.
    Server {
        /// The bound address.
        address: String,
    },
    /// A child of the instance that has left its session. Only the mark of the process driver shows
    /// that it belongs to the instance.
    Stray {
        /// The process: `pid 4711 (python3)`.
        who: String,
    },
}

/// Whether a probe's verdict counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The verdict counts for the instance.
    Counts(Verdict),
    /// A process answers, but the last observation of the host found no listener on the port. The
    /// host must be observed again first.
    ObserveAgain,
}

/// The result of one observation of a host: `Host` without the fields that only the control machine
/// knows (reach, health).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The newest epoch that the host has seen for this service.
    pub epoch: Epoch,
    /// The releases that are completely staged on the host.
    pub releases: BTreeSet<ReleaseId>,
    /// The occupied slots, without the health of their instances.
    pub slots: BTreeMap<SlotNumber, Occupant>,
    /// Armed slots: the host restarts the old instance unless ship disarms the slot in time.
    pub armed: BTreeSet<SlotNumber>,
    /// Free space below the base directory, in KiB.
    pub free_kib: Option<u64>,
    /// The record of the last deploy; `None` if the host has none.
    pub owner: Option<Owner>,
    /// The machine; `None` if it was not requested or the host cannot report it.
    pub identity: Option<Identity>,
    /// The hooks that ran with the last action, in their order.
    pub hooks: Vec<HookRun>,
    /// The stop timeout after which the last action killed the instance that it stopped.
    pub killed_after: Option<Duration>,
    /// How the host received the release that the last action staged, if it had an earlier one from
    /// which few bytes differ.
    pub transfer: Option<Transfer>,
}

impl Fleet {
    /// The newest epoch that any host or balancer has seen.
    pub fn newest_epoch(&self) -> Epoch {
        let hosts = self.hosts.values().map(|host| host.epoch);
        let balancers = self
            .balancers
            .values()
            .filter_map(|balancer| balancer.view.epoch);
        hosts.chain(balancers).max().unwrap_or_default()
    }

    /// Records an observation of a host that began at `begun`. A known instance keeps the verdicts
    /// of its probes. Returns the instances that are no longer ready because they ended, restarted
    /// or disappeared.
    pub fn observe(
        &mut self,
        host: &HostId,
        observation: Observation,
        begun: Time,
    ) -> Vec<(Slot, Instance)> {
        let entry = self.hosts.entry(host.clone()).or_default();
        let mut slots = observation.slots;
        for occupant in slots.values_mut() {
            if let Occupant::Instance(seen) = occupant
                && seen.is_running()
            {
                seen.sighting.at = begun;
            }
        }
        let mut no_longer_ready = Vec::new();
        for (number, occupant) in std::mem::take(&mut entry.slots) {
            let Occupant::Instance(old) = occupant else {
                continue;
            };
            if let Some(Occupant::Instance(new)) = slots.get_mut(&number)
                && new.name == old.name
            {
                new.started = old.started;
                // Rounded times differ between two observations.
                new.lingering = new.lingering.map(|new| old.lingering.unwrap_or(new));
                // A restarted process must become ready again: the old process's verdicts do not
                // count.
                if new.restarts == old.restarts
                    && new.is_running()
                    && new.sighting.is_of_same_process(&old.sighting)
                {
                    new.health = old.health;
                    continue;
                }
            }
            let lingers = matches!(slots.get(&number), Some(Occupant::Instance(new)) if new.lingering.is_some());
            if old.health.ready_since.is_some() && !lingers {
                no_longer_ready.push((
                    Slot {
                        host: host.clone(),
                        number,
                    },
                    old,
                ));
            }
        }
        *entry = Host {
            reach: Reach::Reachable,
            epoch: observation.epoch,
            releases: observation.releases,
            slots,
            armed: observation.armed,
        };
        no_longer_ready
    }

    /// Marks a host as unreachable. Its instances are kept and count as unavailable.
    pub fn mark_unreachable(&mut self, host: &HostId, now: Time, why: &str) {
        let why = host.without_name(why).to_owned();
        let entry = self.hosts.entry(host.clone()).or_default();
        let since = if let Reach::Lost { since, .. } = entry.reach {
            since
        } else {
            now
        };
        entry.reach = Reach::Lost { since, why };
    }

    /// Records an observation of a balancer.
    pub fn observe_balancer(&mut self, balancer: &HostId, view: BalancerState) {
        self.balancers.insert(
            balancer.clone(),
            Balancer {
                reach: Reach::Reachable,
                view,
            },
        );
    }

    /// The known view of a balancer with one slot from `newer`. For the other slots, the known view
    /// may be newer.
    pub fn view_with_slot(
        &self,
        balancer: &HostId,
        slot: &Slot,
        newer: &BalancerState,
    ) -> BalancerState {
        let Some(known) = self.balancers.get(balancer) else {
            return newer.clone();
        };
        let mut view = BalancerState {
            epoch: newer.epoch,
            generation: newer.generation.clone(),
            ..known.view.clone()
        };
        match newer.servers.get(slot) {
            Some(server) => view.servers.insert(slot.clone(), *server),
            None => view.servers.remove(slot),
        };
        view
    }

    /// Marks a balancer as unreachable. Its last view is kept.
    pub fn mark_balancer_unreachable(&mut self, balancer: &HostId, now: Time, why: &str) {
        let why = balancer.without_name(why).to_owned();
        let entry = self.balancers.entry(balancer.clone()).or_default();
        let since = if let Reach::Lost { since, .. } = entry.reach {
            since
        } else {
            now
        };
        entry.reach = Reach::Lost { since, why };
    }

    /// The balancers that can be observed: all shared balancers, or the reachable hosts if each
    /// host is its own balancer.
    pub fn balancers_to_observe(&self, traffic: &Traffic) -> Vec<HostId> {
        match &traffic.balancers {
            Balancers::Shared(all) => all.clone(),
            Balancers::OnHosts => {
                let reachable = self.hosts.iter().filter(|(_, host)| host.is_reachable());
                reachable.map(|(id, _)| id.clone()).collect()
            }
        }
    }

    /// Whether a slot gets requests, considering all its balancers as last observed.
    pub fn traffic_state(&self, traffic: Option<&Traffic>, slot: &Slot) -> TrafficState {
        let Some(traffic) = traffic else {
            return TrafficState::Direct;
        };
        let balancers = traffic.balancers_of(slot);
        // No balancer sends requests.
        if balancers.is_empty() {
            return TrafficState::Closed;
        }
        let server = |balancer: &HostId| {
            let observed = self
                .balancers
                .get(balancer)
                .filter(|observed| observed.reach != Reach::NotSeen)?;
            Some(observed.view.servers.get(slot).copied().unwrap_or_default())
        };
        if balancers.iter().all(|balancer| {
            server(balancer).is_some_and(|server| server.admission == SlotAdmission::Open)
        }) {
            let fails = |balancer| server(balancer).is_some_and(|server| !server.serves());
            if balancers.iter().any(fails) {
                TrafficState::CheckFailing
            } else {
                TrafficState::Open
            }
        } else if balancers.iter().all(|balancer| {
            server(balancer).is_some_and(|server| server.admission == SlotAdmission::Closed)
        }) {
            TrafficState::Closed
        } else {
            TrafficState::Mixed
        }
    }

    /// All instances, ordered by host and slot.
    pub fn instances(&self) -> impl Iterator<Item = (Slot, &Host, &Instance)> {
        self.hosts.iter().flat_map(|(id, host)| {
            host.instances().map(move |(number, instance)| {
                (
                    Slot {
                        host: id.clone(),
                        number,
                    },
                    host,
                    instance,
                )
            })
        })
    }

    /// The occupant of a slot; `None` if the slot is empty or unknown.
    pub fn occupant(&self, slot: &Slot) -> Option<&Occupant> {
        self.hosts.get(&slot.host)?.slots.get(&slot.number)
    }

    /// The instance in a slot, if there is one.
    pub fn instance(&self, slot: &Slot) -> Option<&Instance> {
        match self.occupant(slot)? {
            Occupant::Instance(instance) => Some(instance),
            Occupant::OtherProcess(_) => None,
        }
    }

    /// The instance in a slot, to record a probe's verdict.
    pub fn instance_mut(&mut self, slot: &Slot) -> Option<&mut Instance> {
        match self
            .hosts
            .get_mut(&slot.host)?
            .slots
            .get_mut(&slot.number)?
        {
            Occupant::Instance(instance) => Some(instance),
            Occupant::OtherProcess(_) => None,
        }
    }
}

impl Host {
    pub fn instances(&self) -> impl Iterator<Item = (SlotNumber, &Instance)> {
        self.slots
            .iter()
            .filter_map(|(number, occupant)| match occupant {
                Occupant::Instance(instance) => Some((*number, instance)),
                Occupant::OtherProcess(_) => None,
            })
    }

    /// Whether the host answered the last command.
    pub fn is_reachable(&self) -> bool {
        self.reach == Reach::Reachable
    }
}

impl Listener {
    /// Why a port does not belong to the instance, if another process has it.
    fn why_not_own(&self, port: Port) -> Option<String> {
        match self {
            Listener::Own { .. } | Listener::Server { .. } | Listener::Closed => None,
            Listener::Other { who } => {
                Some(format!("{who} answers on port {port}, not the instance"))
            }
            Listener::Stray { who } => Some(format!(
                "{who} answers on port {port}, a child of the instance in a session of its own; \
                 run it in the foreground"
            )),
        }
    }
}

impl Instance {
    /// The listener on a port of the instance.
    pub fn listener(&self, port: Port) -> &Listener {
        self.listeners.get(&port).unwrap_or(&Listener::Closed)
    }

    /// Whether the instance itself listens on one of its ports.
    pub fn listens(&self) -> bool {
        let mut listeners = self.listeners.values();
        listeners.any(|listener| matches!(listener, Listener::Own { .. }))
    }

    /// The verdict of a readiness check that an observation of the host decides.
    pub fn check_observed(&self, definition: &Definition, slot: SlotNumber) -> Verdict {
        if let Process::Ended { how } = &self.process {
            return Verdict::Fail(format!("the process has ended ({how})"));
        }
        match &definition.readiness.check {
            Check::Running(wanted) => {
                let running_for = Human(self.sighting.running_for);
                if self.sighting.is_starting {
                    Verdict::Fail("systemd does not count the unit as started yet".into())
                } else if self.sighting.running_for >= *wanted {
                    Verdict::Pass(format!("running for {running_for}"))
                } else {
                    Verdict::Fail(format!("running for {running_for} of {}", Human(*wanted)))
                }
            }
            Check::Notify if self.sighting.has_notified => Verdict::Pass("reported READY=1".into()),
            Check::Notify => Verdict::Fail("has not reported READY=1 yet".into()),
            Check::Tcp | Check::Http { .. } | Check::Command(_) => {
                let port = definition.readiness_port(slot).unwrap_or_default();
                match self.listener(port) {
                    Listener::Own { address } | Listener::Server { address } => {
                        Verdict::Pass(format!("listens on {address}"))
                    }
                    Listener::Closed => Verdict::Fail("nothing listens on the port".into()),
                    Listener::Other { who } => Verdict::Fail(format!("the port is taken by {who}")),
                    Listener::Stray { who } => Verdict::Fail(format!(
                        "the port is taken by {who}, a child of the instance, in a session of its \
                         own: run it in the foreground"
                    )),
                }
            }
        }
    }

    /// Whether a probe's verdict counts, given the processes that listen on the instance's ports.
    ///
    /// A pass counts only if the instance itself can have answered, because an old process on a
    /// port proves nothing about the new one.
    pub fn judge(&self, verdict: Verdict, definition: &Definition, slot: SlotNumber) -> Judgement {
        let Verdict::Pass(answer) = verdict else {
            return Judgement::Counts(verdict);
        };
        let mut others = self.listeners.iter().filter_map(|(port, listener)| {
            let why = listener.why_not_own(*port)?;
            Some(format!("{why}; answer: {answer}"))
        });
        if let Some(why) = others.next() {
            return Judgement::Counts(Verdict::Fail(why));
        }
        let port = definition.readiness_port(slot);
        let is_closed = port.is_some_and(|port| *self.listener(port) == Listener::Closed);
        match definition.readiness.check {
            Check::Tcp | Check::Http { .. } if is_closed => Judgement::ObserveAgain,
            // These may pass for a service that does not listen on the port.
            _ => Judgement::Counts(Verdict::Pass(answer)),
        }
    }

    /// Whether the instance has been ready for `min_ready` without interruption, and its host has
    /// confirmed after that time that the same process still runs. Probes alone do not show whether
    /// the process was replaced between two of them.
    pub fn is_available(&self, now: Time, min_ready: Duration, thresholds: &Thresholds) -> bool {
        self.health.is_available(now, min_ready, thresholds)
            && (min_ready.is_zero()
                || self
                    .available_from(min_ready)
                    .is_some_and(|from| self.sighting.at >= from))
    }

    /// When the instance will have been ready for `min_ready`; `None` while it is not ready.
    pub fn available_from(&self, min_ready: Duration) -> Option<Time> {
        self.health.ready_since.map(|since| since + min_ready)
    }

    /// Whether the process runs and was not asked to stop.
    pub fn is_running(&self) -> bool {
        self.process == Process::Running && self.lingering.is_none()
    }

    /// The time in which the instance may finish its work, while it does so.
    pub fn lingers(&self) -> Option<Lingering> {
        self.lingering.filter(|_| self.process == Process::Running)
    }
}

impl Sighting {
    /// Whether both observations found the same process, as far as the host reported it.
    fn is_of_same_process(&self, other: &Self) -> bool {
        self.process == other.process || self.process.is_empty() || other.process.is_empty()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Process::Running => f.write_str("running"),
            Process::Ended { how } => write!(f, "ended ({how})"),
        }
    }
}
