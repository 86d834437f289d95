//! What a person or a program is told about a service on a fleet: `ship status`, and the reporters'
//! view.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::core::fleet::health::Thresholds;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{Stream, Traffic};
use crate::core::fleet::{Fleet, Host, Instance};
use crate::core::ids::{ActionId, HostId, InstanceId, Port, ReleaseId, Revision, Slot};
use crate::core::journal::state::State;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::policy::service_state::Standing;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event, Generation, Progress};
use crate::core::rollout::failure::Failure;
use crate::core::spec::budget::Budget;
use crate::core::time::{Human, Time};

/// A service on a fleet at one moment. Its JSON keys are a contract: more may come, these stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The service.
    pub service: String,
    /// The fleet.
    pub fleet: String,
    /// What is being done about it.
    pub state: State,
    /// How the last rollout ended, or that one is under way.
    #[serde(skip)]
    pub standing: Standing,
    /// The revision that it is on, or on its way to; `None` before the first deploy.
    pub revision: Option<Revision>,
    /// The version of that revision.
    pub version: Option<String>,
    /// Counts of instances.
    pub replicas: Replicas,
    /// Every instance, in the inventory's order of hosts, then by port.
    pub instances: Vec<Row>,
    /// Hosts about which nothing can be done now, and why.
    pub holds: Vec<Held>,
    /// Hosts that the last rollout left behind, and why: the next one puts them right.
    pub debt: Vec<Held>,
}

/// Counts of instances, and what they may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replicas {
    /// Wanted.
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
pub struct Row {
    /// Its name.
    pub name: InstanceId,
    /// Its host.
    pub host: HostId,
    /// Its host's address.
    pub address: String,
    /// Its port.
    pub port: Port,
    /// The version that it runs; the release's short digest where the version is not known.
    pub version: String,
    /// The revision for which it was started.
    pub revision: Revision,
    /// Whether it is ready.
    pub ready: bool,
    /// Its state in one word.
    pub status: Word,
    /// How often it was started again after it ended by itself.
    pub restarts: u32,
    /// Seconds since it was started.
    pub age_s: u64,
}

/// The state of an instance in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Word {
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
pub struct Held {
    /// Which.
    pub host: HostId,
    /// Why.
    pub why: String,
}

/// What a rollout has ordered and the fleet cannot show: starts and stops that are on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    creating: BTreeMap<ActionId, Creation>,
    stopping: BTreeMap<ActionId, InstanceId>,
    draining: BTreeMap<ActionId, InstanceId>,
    starting: BTreeSet<InstanceId>,
}

/// A start that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Creation {
    slot: Slot,
    instance: InstanceId,
    release: ReleaseId,
    since: Time,
}

/// All that a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The service.
    pub service: &'a str,
    /// The fleet's name.
    pub fleet_name: &'a str,
    /// The hosts and their addresses, in the inventory's order.
    pub hosts: &'a [(HostId, String)],
    /// The fleet as last observed.
    pub fleet: &'a Fleet,
    /// The version of each release of the history.
    pub versions: &'a BTreeMap<ReleaseId, String>,
    /// The revision that the fleet is on, or on its way to.
    pub target: Option<&'a Generation>,
    /// Instances wanted, and the floor and the ceiling.
    pub budget: Budget,
    /// How long an instance must have been ready to count as available.
    pub min_ready: Duration,
    /// How each release's instances are judged; one not listed is judged by the default.
    pub thresholds: &'a BTreeMap<ReleaseId, Thresholds>,
    /// What stands before the instances.
    pub traffic: Option<&'a Traffic>,
    /// How the last rollout ended, or that one is under way.
    pub standing: Standing,
    /// What is on its way.
    pub marks: &'a Marks,
    /// Hosts that the last rollout left behind.
    pub left_behind: &'a [Failure],
    /// The plan's holds, or none where nothing is planned. A lost host needs no entry.
    pub holds: &'a BTreeMap<HostId, WaitReason>,
    /// The moment.
    pub now: Time,
}

impl Marks {
    /// Takes in the next event of the present rollout.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::ActionStarted {
                id,
                action: Action::Start { slot, release },
                instance: Some(instance),
            } => {
                self.starting.insert(instance.clone());
                let creation = Creation {
                    slot: slot.clone(),
                    instance: instance.clone(),
                    release: release.clone(),
                    since: entry.at,
                };
                self.creating.insert(*id, creation);
            }
            Event::ActionStarted {
                id,
                action: Action::Stop { instance, .. },
                ..
            } => {
                self.stopping.insert(*id, instance.clone());
            }
            Event::ActionStarted {
                id,
                action: Action::Drain { instance, .. },
                ..
            } => {
                self.draining.insert(*id, instance.clone());
            }
            Event::ActionDone { id }
            | Event::ActionFailed { id, .. }
            | Event::ActionUnknown { id, .. } => {
                self.creating.remove(id);
                self.stopping.remove(id);
                self.draining.remove(id);
            }
            Event::InstanceReady { instance, .. } => {
                self.starting.remove(instance);
            }
            Event::RolloutStarted(_) => *self = Self::default(),
            // What is not ready by the end of a rollout is no longer on its way to it. An order
            // whose end nobody waited for, as after a second Ctrl-C, is still being carried out.
            Event::RolloutFinished { .. } => self.starting.clear(),
            _ => {}
        }
    }

    fn is_draining(&self, instance: &InstanceId) -> bool {
        self.draining.values().any(|draining| draining == instance)
    }

    fn is_stopping(&self, instance: &InstanceId) -> bool {
        self.stopping.values().any(|stopping| stopping == instance)
    }
}

impl Status {
    /// The status at one moment.
    pub fn of(scene: &Scene<'_>) -> Self {
        let places = Places::of(scene.hosts);
        let mut replicas = Replicas {
            desired: scene.budget.replicas,
            min_available: scene.budget.min_available(),
            max_running: scene.budget.max_running(),
            ..Replicas::default()
        };
        let mut instances = Vec::new();
        for (slot, host, instance) in scene.fleet.instances() {
            let row = scene.row(&slot, host, instance, &places);
            let available = row.status == Word::Running && scene.is_available(instance);
            replicas.count(&row, scene.is_updated(&instance.release), available);
            instances.push(row);
        }
        // An order being carried out shows and counts at once, as `ContainerCreating` does.
        for creation in scene
            .marks
            .creating
            .values()
            .filter(|creation| scene.is_unseen(creation))
        {
            let row = scene.row_to_be(creation, &places);
            replicas.count(&row, scene.is_updated(&creation.release), false);
            instances.push(row);
        }
        instances.sort_by_cached_key(|row| (places.rank(&row.host), row.port));

        let mut holds = scene.held();
        holds.sort_by_cached_key(|held| places.rank(&held.host));
        Self {
            service: scene.service.to_owned(),
            fleet: scene.fleet_name.to_owned(),
            state: scene.standing.state(),
            standing: scene.standing,
            revision: scene.target.map(|target| target.revision),
            version: scene.target.map(|target| target.version.clone()),
            replicas,
            instances,
            holds,
            debt: scene.debt(&places),
        }
    }

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
            Standing::Running => self.replicas.progress().sentence(&self.service),
            // Another history deployed what runs: this one has no rollout yet.
            Standing::New if !self.replicas.progress().is_complete() => {
                stopped("was deployed from elsewhere")
            }
            Standing::New | Standing::Idle => ended("rolled out"),
            Standing::RolledBack => ended("rolled back"),
            Standing::Paused => stopped("is paused"),
            Standing::CutOff => stopped("was interrupted"),
            Standing::Held => stopped("failed and is held"),
            Standing::Stuck => stopped("failed, and its rollback failed too"),
        }
    }
}

impl Replicas {
    /// Counts as the plan's census does: what has ended is not counted, what is on a lost host
    /// still runs.
    fn count(&mut self, row: &Row, updated: bool, available: bool) {
        let runs = row.status != Word::Exited;
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

impl Scene<'_> {
    fn row(&self, slot: &Slot, host: &Host, instance: &Instance, places: &Places<'_>) -> Row {
        let ready = self.is_ready(host, instance);
        Row {
            name: instance.name.clone(),
            host: slot.host.clone(),
            address: places.address(&slot.host),
            port: slot.port,
            version: self.version(&instance.release),
            revision: instance.revision,
            ready,
            status: self.word(slot, host, instance, ready),
            restarts: instance.restarts,
            age_s: self.now.since(instance.started).as_secs(),
        }
    }

    fn row_to_be(&self, creation: &Creation, places: &Places<'_>) -> Row {
        Row {
            name: creation.instance.clone(),
            host: creation.slot.host.clone(),
            address: places.address(&creation.slot.host),
            port: creation.slot.port,
            version: self.version(&creation.release),
            revision: self
                .target
                .map(|target| target.revision)
                .unwrap_or_default(),
            ready: false,
            status: Word::Creating,
            restarts: 0,
            age_s: self.now.since(creation.since).as_secs(),
        }
    }

    fn word(&self, slot: &Slot, host: &Host, instance: &Instance, ready: bool) -> Word {
        if !host.is_reachable() {
            Word::Unknown
        } else if self.marks.is_stopping(&instance.name) {
            Word::Stopping
        } else if !instance.is_running() {
            Word::Exited
        } else if self.marks.is_draining(&instance.name) {
            Word::Draining
        } else if ready {
            let gets = matches!(
                self.fleet.stream(self.traffic, slot),
                Stream::Direct | Stream::Open
            );
            if gets { Word::Running } else { Word::NoTraffic }
        } else if self.marks.starting.contains(&instance.name) {
            Word::Starting
        } else {
            Word::NotReady
        }
    }

    fn is_updated(&self, release: &ReleaseId) -> bool {
        self.target.is_some_and(|target| target.release == *release)
    }

    fn is_unseen(&self, creation: &Creation) -> bool {
        self.fleet
            .instance(&creation.slot)
            .is_none_or(|seen| seen.name != creation.instance)
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

    /// What a person should know of: neither hosts that need nothing, nor those that have an order.
    fn held(&self) -> Vec<Held> {
        let planned = self.holds.iter().filter(|(host, hold)| {
            !self.is_lost(host)
                && !matches!(
                    hold,
                    WaitReason::UpToDate | WaitReason::Busy { .. } | WaitReason::Standstill { .. }
                )
        });
        let planned = planned.map(|(host, hold)| {
            let why = match hold {
                WaitReason::Soaks { port, until } => {
                    format!(
                        "port {port} is ready, and soaks for another {}",
                        Human(until.since(self.now))
                    )
                }
                hold => hold.to_string(),
            };
            Held {
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
                    Some(Held {
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
                Some(Held {
                    host: id.clone(),
                    why,
                })
            }
            Reach::NotSeen | Reach::Reachable => None,
        });
        planned.chain(lost).chain(balancers).collect()
    }

    fn debt(&self, places: &Places<'_>) -> Vec<Held> {
        let owed = |failure: &Failure| {
            Some(Held {
                host: failure.host.clone()?,
                why: failure.to_string(),
            })
        };
        let mut debt: Vec<_> = self.left_behind.iter().filter_map(owed).collect();
        debt.sort_by_cached_key(|held| places.rank(&held.host));
        debt
    }

    fn is_lost(&self, host: &HostId) -> bool {
        self.fleet
            .hosts
            .get(host)
            .is_some_and(|host| matches!(host.reach, Reach::Lost { .. }))
    }
}

/// Where each host stands in the inventory, and its address.
struct Places<'a>(BTreeMap<&'a HostId, (usize, &'a str)>);

impl<'a> Places<'a> {
    fn of(hosts: &'a [(HostId, String)]) -> Self {
        Self(
            hosts
                .iter()
                .enumerate()
                .map(|(i, (host, address))| (host, (i, address.as_str())))
                .collect(),
        )
    }

    /// Hosts that are no longer in the inventory come last, by name.
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

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Word::Running => "Running",
            Word::Creating => "Creating",
            Word::Starting => "Starting",
            Word::NotReady => "NotReady",
            Word::Draining => "Draining",
            Word::NoTraffic => "NoTraffic",
            Word::Stopping => "Stopping",
            Word::Exited => "Exited",
            Word::Unknown => "Unknown",
        })
    }
}

#[cfg(test)]
mod tests;
