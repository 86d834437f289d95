//! The actual state of the hosts and of the commands that are sent to them. It shares no code with the
//! planner.

use std::fmt;

/// The maximum number of hosts and ports of a model.
pub(crate) const HOSTS: usize = 4;
pub(crate) const PORTS: usize = 2;

/// A release.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) enum Release {
    Old,
    New,
    /// A release that the history no longer keeps.
    Ancient,
}

impl Release {
    pub(crate) const ALL: [Release; 3] = [Release::Old, Release::New, Release::Ancient];

    pub(crate) fn bit(self) -> u8 {
        1 << (self as u8)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Release::Old => "old",
            Release::New => "new",
            Release::Ancient => "ancient",
        }
    }
}

/// The name of an instance: its slot, its release, the epoch of its controller, and the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct InstanceName(pub(crate) u16);

impl InstanceName {
    pub(crate) fn new(
        host: usize,
        number: usize,
        release: Release,
        epoch: u8,
        attempt: u32,
    ) -> Self {
        let attempt = u16::try_from(attempt).expect("attempts are few");
        let [host, number] =
            [host, number].map(|n| u16::try_from(n).expect("hosts and ports are few"));
        Self(
            host | number << 2
                | u16::from(release as u8) << 3
                | u16::from(epoch) << 5
                | attempt << 8,
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ProcessState {
    Starting,
    Ready,
    /// The process runs and will never be ready again.
    Unhealthy,
    /// The process has ended.
    Exited,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Instance {
    pub(crate) name: InstanceName,
    pub(crate) release: Release,
    pub(crate) state: ProcessState,
}

impl Instance {
    pub(crate) fn is_running(self) -> bool {
        self.state != ProcessState::Exited
    }
}

/// The actual state of a host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Machine {
    pub(crate) up: bool,
    pub(crate) epoch: u8,
    pub(crate) releases: u8,
    pub(crate) slots: [Option<Instance>; PORTS],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Operation {
    Claim,
    Stage(Release),
    Start {
        number: u8,
        release: Release,
        name: InstanceName,
    },
    Stop {
        number: u8,
        name: InstanceName,
    },
    Prune(u8),
}

/// An operation with the epoch of the controller that sent it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Command {
    pub(crate) epoch: u8,
    pub(crate) operation: Operation,
}

/// The effect of a start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum StartEffect {
    /// The instance starts and will become ready.
    Starts,
    /// The host refuses the start; the slot stays empty.
    Refused,
    /// The process exits at once.
    Exits,
    /// The process runs and never becomes ready.
    NeverReady,
}

/// The result of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CommandResult {
    Done,
    Failed,
    Fenced,
}

impl Machine {
    pub(crate) fn has_release(&self, release: Release) -> bool {
        self.releases & release.bit() != 0
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = Instance> + '_ {
        self.slots.iter().flatten().copied()
    }

    pub(crate) fn running(&self) -> usize {
        self.instances()
            .filter(|instance| instance.is_running())
            .count()
    }

    /// Whether the host would accept the command.
    pub(crate) fn accepts(&self, command: Command) -> bool {
        command.epoch >= self.epoch
    }

    /// Executes a command as the script on a host does: after an epoch check, and idempotently.
    pub(crate) fn execute(
        &mut self,
        command: Command,
        effect: StartEffect,
        fence: bool,
    ) -> CommandResult {
        if fence && !self.accepts(command) {
            return CommandResult::Fenced;
        }
        self.epoch = self.epoch.max(command.epoch);
        match command.operation {
            Operation::Claim => {}
            Operation::Stage(release) => self.releases |= release.bit(),
            Operation::Prune(releases) => self.releases &= !releases,
            Operation::Stop { number, name } => {
                let slot = &mut self.slots[usize::from(number)];
                if slot.is_some_and(|instance| instance.name == name) {
                    *slot = None;
                }
            }
            Operation::Start {
                number,
                release,
                name,
            } => {
                let free = self.slots[usize::from(number)].is_none();
                if !free || !self.has_release(release) || effect == StartEffect::Refused {
                    return CommandResult::Failed;
                }
                let state = match effect {
                    StartEffect::Starts => ProcessState::Starting,
                    StartEffect::NeverReady => ProcessState::Unhealthy,
                    StartEffect::Exits | StartEffect::Refused => ProcessState::Exited,
                };
                self.slots[usize::from(number)] = Some(Instance {
                    name,
                    release,
                    state,
                });
            }
        }
        CommandResult::Done
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<_> = self
            .slots
            .iter()
            .flatten()
            .map(|instance| {
                format!("{} {:?}", instance.release.word(), instance.state).to_lowercase()
            })
            .collect();
        let down = if self.up { "" } else { "down: " };
        write!(
            f,
            "[{down}{}]",
            if slots.is_empty() {
                "-".into()
            } else {
                slots.join(", ")
            }
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Claim => write!(f, "claim"),
            Operation::Stage(release) => write!(f, "stage {}", release.word()),
            Operation::Start {
                number, release, ..
            } => {
                write!(f, "start {} at slot {number}", release.word())
            }
            Operation::Stop { number, .. } => write!(f, "stop slot {number}"),
            Operation::Prune(_) => write!(f, "prune"),
        }
    }
}

/// The number of faults that may still occur on a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Faults {
    /// Starts that are refused, exit at once, or never become ready.
    pub(crate) bad_starts: u8,
    /// Instances that become unhealthy or exit.
    pub(crate) instance_failures: u8,
    /// Hosts that become unreachable, and may return.
    pub(crate) host_losses: u8,
    /// Commands whose result does not reach the controller, although the host is up.
    pub(crate) lost_reports: u8,
    /// Crashes of the controller.
    pub(crate) crashes: u8,
    /// Deadlines that pass while a command is still in flight.
    pub(crate) early_deadlines: u8,
}

impl Faults {
    /// The maximum number of serving instances that these faults may end.
    pub(crate) fn max_lost_instances(self) -> usize {
        usize::from(self.bad_starts)
            + usize::from(self.instance_failures)
            + PORTS * usize::from(self.host_losses)
    }
}
