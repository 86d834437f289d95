//! The true state of things: machines, what runs on them, commands on their way. It shares no code
//! with the planner.

use std::fmt;

/// The most hosts and ports that a model has.
pub(crate) const HOSTS: usize = 4;
pub(crate) const PORTS: usize = 2;

/// A release.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) enum Release {
    Old,
    New,
    /// One that the history no longer keeps.
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

/// The name of an instance: where it was started, of what, by which controller, at which attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) u16);

impl Name {
    pub(crate) fn new(host: usize, port: usize, release: Release, epoch: u8, attempt: u32) -> Self {
        let attempt = u16::try_from(attempt).expect("attempts are few");
        let [host, port] = [host, port].map(|n| u16::try_from(n).expect("hosts and ports are few"));
        Self(
            host | port << 2 | u16::from(release as u8) << 3 | u16::from(epoch) << 5 | attempt << 8,
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Life {
    Starting,
    Ready,
    /// It runs, and will never serve again.
    Sick,
    /// Its process has ended.
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Instance {
    pub(crate) name: Name,
    pub(crate) release: Release,
    pub(crate) life: Life,
}

impl Instance {
    pub(crate) fn runs(self) -> bool {
        self.life != Life::Dead
    }
}

/// A host as it truly is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Machine {
    pub(crate) up: bool,
    pub(crate) epoch: u8,
    pub(crate) releases: u8,
    pub(crate) slots: [Option<Instance>; PORTS],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Order {
    Claim,
    Stage(Release),
    Start {
        port: u8,
        release: Release,
        name: Name,
    },
    Stop {
        port: u8,
        name: Name,
    },
    Prune(u8),
}

/// An order under way, with the epoch of the controller that gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Command {
    pub(crate) epoch: u8,
    pub(crate) order: Order,
}

/// What becomes of a start that is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Fate {
    /// It comes up, and will be ready.
    Fine,
    /// The start is refused; the slot stays empty.
    Refused,
    /// It ends at once.
    Dies,
    /// It runs, and never becomes ready.
    NeverReady,
}

/// What a host answered to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Done,
    Failed,
    Fenced,
}

impl Machine {
    pub(crate) fn holds(&self, release: Release) -> bool {
        self.releases & release.bit() != 0
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = Instance> + '_ {
        self.slots.iter().flatten().copied()
    }

    pub(crate) fn running(&self) -> usize {
        self.instances().filter(|instance| instance.runs()).count()
    }

    /// Whether the command would still be obeyed.
    pub(crate) fn heeds(&self, command: Command) -> bool {
        command.epoch >= self.epoch
    }

    /// Carries out a command, as a host's script does: under the fence, and idempotent.
    pub(crate) fn obey(&mut self, command: Command, fate: Fate, fence: bool) -> Answer {
        if fence && !self.heeds(command) {
            return Answer::Fenced;
        }
        self.epoch = self.epoch.max(command.epoch);
        match command.order {
            Order::Claim => {}
            Order::Stage(release) => self.releases |= release.bit(),
            Order::Prune(releases) => self.releases &= !releases,
            Order::Stop { port, name } => {
                let slot = &mut self.slots[usize::from(port)];
                if slot.is_some_and(|instance| instance.name == name) {
                    *slot = None;
                }
            }
            Order::Start {
                port,
                release,
                name,
            } => {
                let free = self.slots[usize::from(port)].is_none();
                if !free || !self.holds(release) || fate == Fate::Refused {
                    return Answer::Failed;
                }
                let life = match fate {
                    Fate::Fine => Life::Starting,
                    Fate::NeverReady => Life::Sick,
                    Fate::Dies | Fate::Refused => Life::Dead,
                };
                self.slots[usize::from(port)] = Some(Instance {
                    name,
                    release,
                    life,
                });
            }
        }
        Answer::Done
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<_> = self
            .slots
            .iter()
            .flatten()
            .map(|instance| {
                format!("{} {:?}", instance.release.word(), instance.life).to_lowercase()
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

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Claim => write!(f, "claim"),
            Order::Stage(release) => write!(f, "stage {}", release.word()),
            Order::Start { port, release, .. } => {
                write!(f, "start {} at port {port}", release.word())
            }
            Order::Stop { port, .. } => write!(f, "stop port {port}"),
            Order::Prune(_) => write!(f, "prune"),
        }
    }
}

/// How much harm the environment may still do on a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Adversity {
    /// Starts that are refused, end at once, or never become ready.
    pub(crate) bad_starts: u8,
    /// Instances that sicken or end by themselves.
    pub(crate) sickenings: u8,
    /// Hosts that vanish (and may return).
    pub(crate) losses: u8,
    /// Orders whose end the controller does not hear of, though the host is up.
    pub(crate) lost_reports: u8,
    /// Deaths of the controller.
    pub(crate) crashes: u8,
    /// Deadlines that pass while something is still under way.
    pub(crate) delays: u8,
}

impl Adversity {
    /// Events that may have taken away serving instances.
    pub(crate) fn harm(self) -> usize {
        usize::from(self.bad_starts)
            + usize::from(self.sickenings)
            + PORTS * usize::from(self.losses)
    }
}
