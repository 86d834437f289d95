//! What a person or a program is told about a service on a fleet: `ship status`, and the reporters' view.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::action::Action;
use super::budget::Budget;
use super::event::{Entry, Event, Generation, Progress};
use super::fleet::{Fleet, Host, Instance, Listener, Reach};
use super::health::Thresholds;
use super::names::{ActionId, HostId, InstanceId, Port, ReleaseId, Revision, Slot};
use super::time::{Human, Time};

/// A service on a fleet at one moment. Its JSON keys are a contract: more may come, these stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The service.
    pub service: String,
    /// The fleet.
    pub fleet: String,
    /// What is being done about it.
    pub state: State,
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
}

/// What is being done about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing: the last rollout is over, or there was none.
    Idle,
    /// A rollout is on its way.
    Running,
    /// A rollout waits for a person.
    Paused,
    /// The last rollout failed and was rolled back, or could not be.
    Failed,
    /// The last rollout failed, and the fleet stands as it was left.
    Held,
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
    /// What is being done.
    pub state: State,
    /// What is on its way.
    pub marks: &'a Marks,
    /// Why nothing is done about a host. A lost host needs no entry.
    pub holds: &'a BTreeMap<HostId, String>,
    /// The moment.
    pub now: Time,
}

impl Marks {
    /// Takes in the next event of the present rollout.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::ActionStarted { id, action: Action::Start { slot, release }, instance: Some(instance) } => {
                self.starting.insert(instance.clone());
                let creation = Creation {
                    slot: slot.clone(),
                    instance: instance.clone(),
                    release: release.clone(),
                    since: entry.at,
                };
                self.creating.insert(*id, creation);
            }
            Event::ActionStarted { id, action: Action::Stop { instance, .. }, .. } => {
                self.stopping.insert(*id, instance.clone());
            }
            Event::ActionDone { id } | Event::ActionFailed { id, .. } | Event::ActionUnknown { id, .. } => {
                self.creating.remove(id);
                self.stopping.remove(id);
            }
            Event::InstanceReady { instance, .. } => {
                self.starting.remove(instance);
            }
            // What is not ready by the end of a rollout is no longer on its way to it.
            Event::RolloutStarted { .. } | Event::RolloutFinished { .. } => *self = Self::default(),
            _ => {}
        }
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
            let available = row.ready && row.status == Word::Running && scene.is_available(instance);
            let updated = scene.target.is_some_and(|target| target.release == instance.release);
            replicas.total += 1;
            replicas.available += u32::from(available);
            replicas.updated += u32::from(updated);
            replicas.updated_ready += u32::from(updated && row.ready);
            replicas.updated_available += u32::from(updated && available);
            instances.push(row);
        }
        // An order being carried out shows at once, as `ContainerCreating` does; it is counted when it is observed.
        let unseen = |creation: &&Creation| {
            scene.fleet.instance(&creation.slot).is_none_or(|seen| seen.name != creation.instance)
        };
        instances.extend(scene.marks.creating.values().filter(unseen).map(|creation| scene.row_to_be(creation, &places)));
        instances.sort_by_cached_key(|row| (places.rank(&row.host), row.port));

        let mut holds = scene.held();
        holds.sort_by_cached_key(|held| places.rank(&held.host));
        Self {
            service: scene.service.to_owned(),
            fleet: scene.fleet_name.to_owned(),
            state: scene.state,
            revision: scene.target.map(|target| target.revision),
            version: scene.target.map(|target| target.version.clone()),
            replicas,
            instances,
            holds,
        }
    }

    /// Kubernetes' sentence about it, or what is to be said where Kubernetes has none.
    pub fn sentence(&self) -> String {
        match self.version {
            None => format!("service \"{}\" has not been deployed on {} yet", self.service, self.fleet),
            Some(_) => self.replicas.progress().sentence(&self.service),
        }
    }
}

impl Replicas {
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
            status: self.word(host, instance, ready),
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
            revision: self.target.map(|target| target.revision).unwrap_or_default(),
            ready: false,
            status: Word::Creating,
            restarts: 0,
            age_s: self.now.since(creation.since).as_secs(),
        }
    }

    fn word(&self, host: &Host, instance: &Instance, ready: bool) -> Word {
        if !host.is_reachable() {
            Word::Unknown
        } else if self.marks.is_stopping(&instance.name) {
            Word::Stopping
        } else if !instance.is_running() {
            Word::Exited
        } else if ready {
            Word::Running
        } else if self.marks.starting.contains(&instance.name) {
            Word::Starting
        } else {
            Word::NotReady
        }
    }

    fn is_ready(&self, host: &Host, instance: &Instance) -> bool {
        host.is_reachable()
            && instance.is_running()
            && !matches!(instance.listener, Listener::Other { .. })
            && instance.health.is_ready(self.now, &self.thresholds(instance))
    }

    fn is_available(&self, instance: &Instance) -> bool {
        instance.health.is_available(self.now, self.min_ready, &self.thresholds(instance))
    }

    fn thresholds(&self, instance: &Instance) -> Thresholds {
        self.thresholds.get(&instance.release).copied().unwrap_or_default()
    }

    fn version(&self, release: &ReleaseId) -> String {
        match self.target {
            Some(target) if target.release == *release => target.version.clone(),
            _ => self.versions.get(release).map_or_else(|| release.short().to_owned(), Clone::clone),
        }
    }

    fn held(&self) -> Vec<Held> {
        let lost: BTreeMap<&HostId, String> = self
            .fleet
            .hosts
            .iter()
            .filter_map(|(id, host)| match &host.reach {
                Reach::Lost { since, why } => {
                    Some((id, format!("unreachable for {}: {why}", Human(self.now.since(*since)))))
                }
                Reach::NotSeen | Reach::Reachable => None,
            })
            .collect();
        let given = self.holds.iter().filter(|(host, _)| !lost.contains_key(host));
        let given = given.map(|(host, why)| Held { host: host.clone(), why: why.clone() });
        given.chain(lost.iter().map(|(host, why)| Held { host: (*host).clone(), why: why.clone() })).collect()
    }
}

/// Where each host stands in the inventory, and its address.
struct Places<'a>(BTreeMap<&'a HostId, (usize, &'a str)>);

impl<'a> Places<'a> {
    fn of(hosts: &'a [(HostId, String)]) -> Self {
        Self(hosts.iter().enumerate().map(|(i, (host, address))| (host, (i, address.as_str()))).collect())
    }

    /// Hosts that are no longer in the inventory come last, by name.
    fn rank(&self, host: &HostId) -> (usize, HostId) {
        (self.0.get(host).map_or(usize::MAX, |(i, _)| *i), host.clone())
    }

    fn address(&self, host: &HostId) -> String {
        self.0.get(host).map_or_else(|| host.to_string(), |(_, address)| (*address).to_owned())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Word::Running => "Running",
            Word::Creating => "Creating",
            Word::Starting => "Starting",
            Word::NotReady => "NotReady",
            Word::Stopping => "Stopping",
            Word::Exited => "Exited",
            Word::Unknown => "Unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::{Occupant, Process};
    use super::super::health::Verdict;
    use super::*;

    const NOW: Time = Time(600_000);

    fn release(version: &str) -> ReleaseId {
        ReleaseId::from(format!("{}{:0<62}", version.replace('.', ""), ""))
    }

    fn instance(name: &str, version: &str, started: Time) -> Instance {
        Instance {
            name: InstanceId::from(name),
            release: release(version),
            revision: Revision(if version == "0.8" { 1 } else { 2 }),
            started,
            process: Process::Running,
            restarts: 0,
            listener: Listener::Own { address: "0.0.0.0".into() },
            health: Default::default(),
        }
    }

    fn ready(mut instance: Instance, since: Time) -> Instance {
        instance.health.record(Verdict::Pass("ok".into()), since, since, &Thresholds::default());
        instance.health.last = Some((NOW, Verdict::Pass("ok".into())));
        instance
    }

    fn fleet(instances: Vec<(&str, Port, Instance)>) -> Fleet {
        let mut fleet = Fleet::default();
        for (host, port, instance) in instances {
            let host = HostId::from(host);
            fleet.lose(&host, NOW, "to be seen".into());
            let entry = fleet.hosts.get_mut(&host).unwrap();
            entry.reach = Reach::Reachable;
            entry.slots.insert(port, Occupant::Instance(instance));
        }
        fleet
    }

    fn started(id: u64, action: Action, instance: Option<&str>) -> Entry {
        let instance = instance.map(InstanceId::from);
        Entry { at: Time(590_000), event: Event::ActionStarted { id: ActionId(id), action, instance } }
    }

    /// The status of a fleet whose inventory lists web2 before web1, on its way from 0.8 to 0.9.
    fn status(fleet: &Fleet, marks: &Marks, min_ready: Duration) -> Status {
        let hosts: Vec<_> = [("web2", "10.0.0.2"), ("web1", "10.0.0.1"), ("web3", "10.0.0.3")]
            .map(|(host, address)| (HostId::from(host), address.to_owned()))
            .to_vec();
        Status::of(&Scene {
            service: "testpage",
            fleet_name: "production",
            hosts: &hosts,
            fleet,
            versions: &BTreeMap::from([(release("0.8"), "0.8".to_owned())]),
            target: Some(&Generation { revision: Revision(2), release: release("0.9"), version: "0.9".into() }),
            budget: Budget { replicas: 2, surge: 1, unavailable: 0 },
            min_ready,
            thresholds: &BTreeMap::new(),
            state: State::Running,
            marks,
            holds: &BTreeMap::from([(HostId::from("web1"), "its disk is full".to_owned())]),
            now: NOW,
        })
    }

    fn words(status: &Status) -> Vec<String> {
        status.instances.iter().map(|row| format!("{}:{} {}", row.host, row.port, row.status)).collect()
    }

    #[test]
    fn instances_come_in_the_inventorys_order_each_with_its_word() {
        let fleet = fleet(vec![
            ("web1", 8082, instance("starting", "0.9", Time(590_000))),
            ("web1", 8081, ready(instance("running", "0.8", Time(0)), Time(0))),
            ("web2", 8081, ready(instance("stopping", "0.8", Time(0)), Time(0))),
            ("web2", 8082, instance("sick", "0.8", Time(0))),
            ("web3", 8081, {
                let mut exited = instance("exited", "0.9", Time(0));
                exited.process = Process::Ended { how: "exit status 1".into() };
                exited
            }),
        ]);
        let mut marks = Marks::default();
        let start = |port| Action::Start { slot: Slot::new("web1", port), release: release("0.9") };
        marks.apply(&started(1, start(8082), Some("starting")));
        marks.apply(&Entry { at: NOW, event: Event::ActionDone { id: ActionId(1) } });
        marks.apply(&started(2, start(8083), Some("creating")));
        let stop = Action::Stop {
            slot: Slot::new("web2", 8081),
            instance: "stopping".into(),
            why: super::super::action::StopReason::Replaced,
        };
        marks.apply(&started(3, stop, None));
        let status = status(&fleet, &marks, Duration::ZERO);
        assert_eq!(
            words(&status),
            [
                "web2:8081 Stopping",
                "web2:8082 NotReady",
                "web1:8081 Running",
                "web1:8082 Starting",
                "web1:8083 Creating",
                "web3:8081 Exited"
            ]
        );
        assert_eq!(status.replicas.total, 5, "what is only ordered is not counted yet");
        assert_eq!(status.replicas.available, 1, "what is being stopped no longer counts");
    }

    #[test]
    fn the_floor_counts_what_has_soaked_and_the_ceiling_what_may_run() {
        let fleet = fleet(vec![
            ("web1", 8081, ready(instance("old", "0.8", Time(0)), Time(0))),
            ("web2", 8081, ready(instance("new", "0.9", Time(590_000)), Time(595_000))),
        ]);
        let soaking = status(&fleet, &Marks::default(), Duration::from_secs(6)).replicas;
        assert_eq!((soaking.updated, soaking.updated_ready, soaking.updated_available, soaking.available), (1, 1, 0, 1));
        let soaked = status(&fleet, &Marks::default(), Duration::from_secs(5)).replicas;
        assert_eq!((soaked.updated_available, soaked.available), (1, 2));
        assert_eq!((soaked.min_available, soaked.max_running), (2, 3));
    }

    #[test]
    fn a_lost_host_says_since_when_and_why() {
        let mut fleet = fleet(vec![("web3", 8081, ready(instance("gone", "0.8", Time(0)), Time(0)))]);
        fleet.lose(&"web3".into(), Time(420_000), "connection timed out after 5s".into());
        let status = status(&fleet, &Marks::default(), Duration::ZERO);
        assert_eq!(words(&status), ["web3:8081 Unknown"]);
        assert_eq!(status.replicas.available, 0);
        let holds: Vec<_> = status.holds.iter().map(|held| format!("{}: {}", held.host, held.why)).collect();
        assert_eq!(holds, ["web1: its disk is full", "web3: unreachable for 3m: connection timed out after 5s"]);
    }

    #[test]
    fn an_instance_whose_port_a_stranger_answers_on_is_not_ready() {
        let mut impostor = ready(instance("new", "0.9", Time(0)), Time(0));
        impostor.listener = Listener::Other { who: "pid 4711 (nginx)".into() };
        let status = status(&fleet(vec![("web1", 8081, impostor)]), &Marks::default(), Duration::ZERO);
        assert_eq!(words(&status), ["web1:8081 NotReady"]);
    }

    #[test]
    fn the_keys_of_the_json_are_those_promised() {
        let fleet = fleet(vec![("web1", 8081, ready(instance("testpage-1", "0.8", Time(0)), Time(0)))]);
        let json = serde_json::to_string(&status(&fleet, &Marks::default(), Duration::ZERO)).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"service":"testpage","fleet":"production","state":"running","revision":2,"version":"0.9","#,
                r#""replicas":{"desired":2,"updated":0,"available":1,"total":1,"updated_ready":0,"updated_available":0,"#,
                r#""min_available":2,"max_running":3},"#,
                r#""instances":[{"name":"testpage-1","host":"web1","address":"10.0.0.1","port":8081,"version":"0.8","#,
                r#""revision":1,"ready":true,"status":"Running","restarts":0,"age_s":600}],"#,
                r#""holds":[{"host":"web1","why":"its disk is full"}]}"#
            )
        );
    }

    #[test]
    fn a_service_never_deployed_says_so() {
        let mut never = status(&Fleet::default(), &Marks::default(), Duration::ZERO);
        never.version = None;
        assert_eq!(never.sentence(), "service \"testpage\" has not been deployed on production yet");
    }
}
