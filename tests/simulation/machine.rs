//! The actual state of a host: its lock, its fence, its releases and its instances.

use std::collections::{BTreeMap, BTreeSet};

use ship::core::fleet::health::Health;
use ship::core::fleet::lingering::Lingering;
use ship::core::fleet::{Instance, Listener, Observation, Occupant, Process, Sighting};
use ship::core::ids::{ActionId, Epoch, InstanceId, ReleaseId, Revision, SlotNumber};
use ship::core::time::Time;

/// One host.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Whether it has power.
    pub(crate) is_on: bool,
    /// Whether control machines can reach it.
    pub(crate) is_connected: bool,
    /// The number of boots.
    pub(crate) boot: u64,
    /// The newest epoch that it has accepted.
    pub(crate) epoch: Epoch,
    /// The newest action of that epoch that it has accepted.
    pub(crate) newest_action: ActionId,
    /// The script that holds the lock.
    pub(crate) lock: Option<u64>,
    /// Complete releases on its disk.
    pub(crate) releases: BTreeSet<ReleaseId>,
    /// The records of its slots.
    pub(crate) slots: BTreeMap<SlotNumber, StoredRecord>,
    /// Instances that it restores on its own unless ship disarms them in time.
    pub(crate) armed: BTreeMap<SlotNumber, Armed>,
    /// Ports on which other programs listen.
    pub(crate) strangers: BTreeSet<SlotNumber>,
    /// Whether its disk is full.
    pub(crate) is_full: bool,
}

/// An instance that its host restores when a timer expires.
#[derive(Clone, Debug)]
pub(crate) struct Armed {
    /// The number of the timer.
    pub(crate) number: u64,
    pub(crate) record: StoredRecord,
}

/// The record of a slot, and the state of its process.
#[derive(Clone, Debug)]
pub(crate) struct StoredRecord {
    pub(crate) name: InstanceId,
    pub(crate) release: ReleaseId,
    pub(crate) revision: Revision,
    pub(crate) started: Time,
    pub(crate) restarts: u32,
    /// Whether a supervisor restarts it when it exits, and the host starts it at boot.
    pub(crate) is_enabled: bool,
    /// Set from its stop on, if it may finish its work.
    pub(crate) lingering: Option<Lingering>,
    pub(crate) state: ProcessState,
}

/// The state of an instance's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// The record is written, the process is not started yet.
    NotStarted,
    Running(Running),
    Exited {
        how: &'static str,
    },
}

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Identifies the process; a restarted instance has a new one.
    pub(crate) process: u64,
    pub(crate) listens: bool,
    pub(crate) answers: Answers,
    /// Whether it has received a signal to exit and no longer serves.
    pub(crate) is_ending: bool,
}

/// How a process answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    Ok,
    Error,
    /// It accepts connections and sends nothing.
    Never,
}

impl StoredRecord {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, ProcessState::Running(_))
    }

    /// The running process, if its number is this one.
    pub(crate) fn process(&mut self, process: u64) -> Option<&mut Running> {
        match &mut self.state {
            ProcessState::Running(running) if running.process == process => Some(running),
            _ => None,
        }
    }
}

impl Machine {
    /// Whether an instance serves its users.
    pub(crate) fn serves(&self, record: &StoredRecord) -> bool {
        let ProcessState::Running(running) = &record.state else {
            return false;
        };
        self.is_on && running.listens && running.answers == Answers::Ok
    }

    /// What a controller observes.
    pub(crate) fn observation(&self) -> Observation {
        let mut slots: BTreeMap<SlotNumber, Occupant> = BTreeMap::new();
        for (number, record) in &self.slots {
            slots.insert(*number, Occupant::Instance(self.instance(*number, record)));
        }
        for number in &self.strangers {
            slots
                .entry(*number)
                .or_insert_with(|| Occupant::OtherProcess("pid 4711 (nginx)".into()));
        }
        Observation {
            hooks: Vec::new(),
            killed_after: None,
            transfer: None,
            owner: None,
            identity: None,
            epoch: self.epoch,
            releases: self.releases.clone(),
            slots,
            armed: self.armed.keys().copied().collect(),
            free_kib: Some(if self.is_full { 0 } else { 1_000_000 }),
        }
    }

    fn instance(&self, number: SlotNumber, record: &StoredRecord) -> Instance {
        let listener = match &record.state {
            ProcessState::Running(running) if running.listens => Listener::Own {
                address: "0.0.0.0".into(),
            },
            _ if self.strangers.contains(&number) => Listener::Other {
                who: "pid 4711 (nginx)".into(),
            },
            _ => Listener::Closed,
        };
        Instance {
            name: record.name.clone(),
            release: record.release.clone(),
            revision: record.revision,
            started: record.started,
            process: match &record.state {
                ProcessState::NotStarted => Process::Ended {
                    how: "never started".into(),
                },
                ProcessState::Running(_) => Process::Running,
                ProcessState::Exited { how } => Process::Ended { how: (*how).into() },
            },
            lingering: record.lingering,
            restarts: record.restarts,
            listeners: [(number, listener)].into(),
            health: Health::default(),
            sighting: Sighting {
                process: match &record.state {
                    ProcessState::Running(running) => running.process.to_string(),
                    ProcessState::NotStarted | ProcessState::Exited { .. } => String::new(),
                },
                ..Sighting::default()
            },
        }
    }
}
