//! A host as it truly is: the lock, the fence, what is staged, what runs.

use std::collections::{BTreeMap, BTreeSet};

use ship::core::fleet::health::Health;
use ship::core::fleet::{Instance, Listener, Observation, Occupant, Process, Sighting};
use ship::core::ids::{ActionId, Epoch, InstanceId, Port, ReleaseId, Revision};
use ship::core::time::Time;

/// One host.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Whether it has power. Without, nothing runs on it.
    pub(crate) is_on: bool,
    /// Whether the control machines reach it.
    pub(crate) is_connected: bool,
    /// Counts its starts.
    pub(crate) boot: u64,
    /// The newest epoch that it has seen.
    pub(crate) epoch: Epoch,
    /// The newest order of that epoch that it has taken.
    pub(crate) taken: ActionId,
    /// The script that holds the lock.
    pub(crate) lock: Option<u64>,
    /// Releases that lie on it, whole.
    pub(crate) releases: BTreeSet<ReleaseId>,
    /// The records of its slots.
    pub(crate) slots: BTreeMap<Port, Record>,
    /// What it brings back by itself, unless it is disarmed in time.
    pub(crate) armed: BTreeMap<Port, Armed>,
    /// Ports on which somebody else listens.
    pub(crate) strangers: BTreeSet<Port>,
    /// Whether its disk is full.
    pub(crate) is_full: bool,
}

/// An instance that its host brings back.
#[derive(Clone, Debug)]
pub(crate) struct Armed {
    /// Which timer.
    pub(crate) number: u64,
    pub(crate) record: Record,
}

/// What a slot's record says, and what has become of the instance.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) name: InstanceId,
    pub(crate) release: ReleaseId,
    pub(crate) revision: Revision,
    pub(crate) started: Time,
    pub(crate) restarts: u32,
    /// Whether a supervisor starts it again when it ends, or the host does.
    pub(crate) is_enabled: bool,
    pub(crate) life: Life,
}

/// The process of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The record is written, the process is not yet there.
    Unborn,
    Running(Running),
    Ended {
        how: &'static str,
    },
}

/// A process that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Which process: one that was started again is another.
    pub(crate) process: u64,
    pub(crate) listens: bool,
    pub(crate) answers: Answers,
    /// Whether it was told to end: it serves nobody any more.
    pub(crate) is_ending: bool,
}

/// How a process answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    Well,
    Wrongly,
    /// It accepts and says nothing.
    Never,
}

impl Record {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    /// The process, if it is this one.
    pub(crate) fn process(&mut self, process: u64) -> Option<&mut Running> {
        match &mut self.life {
            Life::Running(running) if running.process == process => Some(running),
            _ => None,
        }
    }
}

impl Machine {
    /// Whether an instance serves its users.
    pub(crate) fn serves(&self, record: &Record) -> bool {
        let Life::Running(running) = &record.life else {
            return false;
        };
        self.is_on && running.listens && running.answers == Answers::Well
    }

    /// What a look finds, by the clock of who looks.
    pub(crate) fn observation(&self) -> Observation {
        let mut slots: BTreeMap<Port, Occupant> = BTreeMap::new();
        for (port, record) in &self.slots {
            slots.insert(*port, Occupant::Instance(self.instance(*port, record)));
        }
        for port in &self.strangers {
            slots
                .entry(*port)
                .or_insert_with(|| Occupant::Stranger("pid 4711 (nginx)".into()));
        }
        Observation {
            hooks: Vec::new(),
            owner: None,
            identity: None,
            epoch: self.epoch,
            releases: self.releases.clone(),
            slots,
            armed: self.armed.keys().copied().collect(),
            free_kib: Some(if self.is_full { 0 } else { 1_000_000 }),
        }
    }

    fn instance(&self, port: Port, record: &Record) -> Instance {
        let listener = match &record.life {
            Life::Running(running) if running.listens => Listener::Own {
                address: "0.0.0.0".into(),
            },
            _ if self.strangers.contains(&port) => Listener::Other {
                who: "pid 4711 (nginx)".into(),
            },
            _ => Listener::Nobody,
        };
        Instance {
            name: record.name.clone(),
            release: record.release.clone(),
            revision: record.revision,
            started: record.started,
            process: match &record.life {
                Life::Unborn => Process::Ended {
                    how: "never started".into(),
                },
                Life::Running(_) => Process::Running,
                Life::Ended { how } => Process::Ended { how: (*how).into() },
            },
            restarts: record.restarts,
            listener,
            health: Health::default(),
            sighting: Sighting {
                process: match &record.life {
                    Life::Running(running) => running.process.to_string(),
                    Life::Unborn | Life::Ended { .. } => String::new(),
                },
                ..Sighting::default()
            },
        }
    }
}
