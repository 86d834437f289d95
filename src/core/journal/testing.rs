//! The example rollout, for tests: three instances of 0.8 on node1 to node3, 0.9 to come, node4
//! spare.

use std::time::Duration;

use crate::core::ids::{ActionId, Epoch, InstanceId, ReleaseId, Revision, Slot};
use crate::core::journal::state::State;
use crate::core::journal::status::{InstanceStatus, Replicas, Status, StatusRow};
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::{Entry, Event, RevisionRef, RolloutStart};
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// Thu Mar  9 10:42:24 CST 2017.
pub(crate) const START: Time = Time(1_489_027_344_000);

/// The release of a version.
pub(crate) fn release(version: &str) -> ReleaseId {
    let short = match version {
        "0.8" => "230767614a",
        "0.9" => "515849216a",
        _ => "77777777aa",
    };
    ReleaseId::from(format!("{short:0<64}"))
}

/// A revision of a version.
pub(crate) fn revision_ref(version: &str, revision: u32) -> RevisionRef {
    RevisionRef {
        revision: Revision(revision),
        release: release(version),
        version: version.into(),
    }
}

/// A status without instances.
pub(crate) fn status(version: &str, revision: u32) -> Status {
    Status {
        service: "testpage".into(),
        fleet: "local".into(),
        state: State::Running,
        service_state: ServiceState::Running,
        revision: Some(Revision(revision)),
        version: Some(version.into()),
        replicas: Replicas {
            desired: 3,
            min_available: 3,
            max_running: 4,
            ..Replicas::default()
        },
        instances: Vec::new(),
        holds: Vec::new(),
        failed_hosts: Vec::new(),
    }
}

/// One instance; `Running` and `Stopping` ones are ready.
pub(crate) fn row(
    name: &str,
    host: &str,
    version: &str,
    status: InstanceStatus,
    age_s: u64,
) -> StatusRow {
    let digits: String = host.chars().filter(char::is_ascii_digit).collect();
    StatusRow {
        name: name.into(),
        host: host.into(),
        address: format!("127.0.0.{}", 10 + digits.parse::<u32>().unwrap_or(0)),
        port: Some(8081),
        slot: 8081,
        version: version.into(),
        revision: Revision(if version == "0.8" { 1 } else { 2 }),
        ready: matches!(status, InstanceStatus::Running | InstanceStatus::Stopping),
        status,
        restarts: 0,
        age_s,
        lingering: None,
    }
}

/// Counts the instances of a status as the planner does.
pub(crate) fn count(status: &mut Status) {
    let count = |keep: &dyn Fn(&&StatusRow) -> bool| {
        u32::try_from(status.instances.iter().filter(keep).count()).unwrap()
    };
    let updated = |row: &&StatusRow| {
        Some(&row.version) == status.version.as_ref() && row.status != InstanceStatus::Exited
    };
    status.replicas = Replicas {
        updated: count(&updated),
        updated_ready: count(&|row| updated(row) && row.ready),
        updated_available: count(&|row| updated(row) && row.status == InstanceStatus::Running),
        available: count(&|row| row.status == InstanceStatus::Running),
        total: count(&|row| row.status != InstanceStatus::Exited),
        ..status.replicas
    };
}

/// The events of a rollout, each with the status at its time.
pub(crate) struct Play {
    /// The events so far.
    pub(crate) entries: Vec<(Entry, Status)>,
    /// The current status.
    pub(crate) status: Status,
    now: Time,
    actions: u64,
}

impl Play {
    /// Begins a rollout to 0.9 on a fleet of `hosts` hosts. Each host but the last runs one
    /// instance of 0.8.
    pub(crate) fn begin(hosts: u32) -> Self {
        let mut status = status("0.9", 2);
        status.replicas.desired = hosts - 1;
        status.replicas.min_available = hosts - 1;
        status.replicas.max_running = hosts;
        status.instances = (1..hosts)
            .map(|n| {
                row(
                    &format!("testpage-230767614a-{n:05}"),
                    &format!("node{n}"),
                    "0.8",
                    InstanceStatus::Running,
                    240,
                )
            })
            .collect();
        count(&mut status);
        let mut play = Self {
            entries: Vec::new(),
            status,
            now: START,
            actions: 0,
        };
        play.then(
            0,
            Event::RolloutStarted(RolloutStart {
                verb: Verb::Deploy,
                service: "testpage".into(),
                fleet: "local".into(),
                target: revision_ref("0.9", 2),
                rollback_target: Some(revision_ref("0.8", 1)),
                replicas: hosts - 1,
                rollback_replicas: None,
                epoch: Epoch(7),
                is_proven: false,
                scaling: None,
                set: Vec::new(),
                hosts_from: None,
            }),
        );
        play
    }

    /// Adds an event `after_ms` milliseconds after the previous one.
    pub(crate) fn then(&mut self, after_ms: u64, event: Event) {
        self.now = self.now + Duration::from_millis(after_ms);
        count(&mut self.status);
        self.entries.push((
            Entry {
                at: self.now,
                event,
            },
            self.status.clone(),
        ));
    }

    /// Records the counts.
    pub(crate) fn progress(&mut self) {
        count(&mut self.status);
        self.then(0, Event::Progress(self.status.replicas.progress()));
    }

    /// Starts an action.
    pub(crate) fn order(&mut self, action: Action, instance: Option<&str>) -> ActionId {
        self.actions += 1;
        let id = ActionId(self.actions);
        self.then(
            0,
            Event::ActionStarted {
                id,
                action,
                instance: instance.map(InstanceId::from),
            },
        );
        id
    }

    /// Stages a release on a host.
    pub(crate) fn stage(&mut self, host: &str, version: &str) {
        let id = self.order(
            Action::Stage {
                host: host.into(),
                release: release(version),
            },
            None,
        );
        self.then(200, Event::ActionDone { id });
    }

    /// Starts an instance that becomes ready.
    pub(crate) fn start(&mut self, host: &str, version: &str, name: &str) {
        let id = self.order(
            Action::Start {
                slot: Slot::new(host, 8081),
                release: release(version),
                reloads: None,
            },
            Some(name),
        );
        self.status
            .instances
            .push(row(name, host, version, InstanceStatus::Starting, 0));
        self.then(300, Event::ActionDone { id });
        self.progress();
        let started = self.status.instances.last_mut().unwrap();
        (started.status, started.ready) = (InstanceStatus::Running, true);
        let answer = format!("I am: {}, the version is: {version}", started.address);
        let (slot, instance, release) = (Slot::new(host, 8081), name.into(), release(version));
        self.then(
            900,
            Event::InstanceReady {
                slot,
                instance,
                release,
                answer,
            },
        );
        self.progress();
    }

    /// Stops the instance on a host.
    pub(crate) fn stop(&mut self, host: &str, name: &str) {
        let (slot, instance) = (Slot::new(host, 8081), InstanceId::from(name));
        let id = self.order(
            Action::Stop {
                slot,
                instance: instance.clone(),
                why: StopReason::Replaced,
                restore_after: None,
                ended: None,
            },
            None,
        );
        let stopping = self
            .status
            .instances
            .iter_mut()
            .find(|row| row.name == instance)
            .unwrap();
        stopping.status = InstanceStatus::Stopping;
        self.progress();
        self.status.instances.retain(|row| row.name != instance);
        self.then(100, Event::ActionDone { id });
        self.progress();
    }

    /// The example rollout up to its last step: the fleet runs 0.9.
    pub(crate) fn example() -> Self {
        let mut play = Self::begin(4);
        for host in ["node1", "node2", "node3", "node4"] {
            play.stage(host, "0.9");
        }
        for (start, stop, name) in [
            ("node4", 1, "059b0"),
            ("node1", 2, "1sf6b"),
            ("node2", 3, "5jfb5"),
        ] {
            play.start(start, "0.9", &format!("testpage-515849216a-{name}"));
            play.stop(
                &format!("node{stop}"),
                &format!("testpage-230767614a-{stop:05}"),
            );
        }
        play
    }
}
