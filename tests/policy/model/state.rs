//! Everything there is at one moment, and what may happen next.

use super::controller::Controller;
use super::world::{Adversity, Command, Fate, HOSTS, Life, Machine};

/// Everything there is at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) machines: [Machine; HOSTS],
    /// Commands whose end the controller awaits.
    pub(crate) flights: [Option<Command>; HOSTS],
    /// Commands that it has lost sight of: they may land until a later one has been carried out on
    /// the same host. A look proves nothing, as it does not wait for the host's lock.
    pub(crate) limbo: [Option<Command>; HOSTS],
    /// Commands of controllers that are dead: they may land at any later time.
    pub(crate) late: [[Option<Command>; 2]; HOSTS],
    pub(crate) controller: Option<Controller>,
    pub(crate) epoch: u8,
    pub(crate) left: Adversity,
}

impl State {
    pub(crate) fn set_life(&mut self, host: u8, port: u8, life: Life) {
        if let Some(instance) = &mut self.machines[usize::from(host)].slots[usize::from(port)] {
            instance.life = life;
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The controller plans, records its intents and gives its orders.
    Plan,
    /// A command is carried out, and the controller hears of it.
    Carry(u8),
    /// A start goes wrong.
    BadStart(u8, Fate),
    /// The connection breaks: nobody knows what became of the command.
    LoseReport(u8),
    /// A command that the controller has lost sight of is carried out after all.
    LimboLands(u8),
    /// The last command of a dead controller arrives.
    LateLands(u8, u8),
    Vanish(u8),
    /// The controller learns that a host has vanished.
    Notice(u8),
    Return(u8),
    /// A host comes back, and everything on it has ended.
    Reboot(u8),
    /// The controller reaches a lost host again.
    Find(u8),
    Sicken(u8, u8),
    Die(u8, u8),
    GetReady(u8, u8),
    /// The controller looks at a host and probes its instances.
    Look(u8),
    Crash,
    /// A new controller takes over, with one of the configured goals.
    Restart(u8),
    /// The progress deadline passes.
    Expire,
    /// A moment passes: what looks have shown may have changed since.
    Lapse,
}

impl Step {
    pub(crate) fn words(self, from: &State, to: &State) -> String {
        let order = |command: Option<Command>| {
            command.map_or(String::new(), |command| command.order.to_string())
        };
        let at = |host: u8| format!("h{}", host + 1);
        match self {
            Step::Plan => {
                let given = (0..HOSTS)
                    .filter(|at| from.flights[*at].is_none() && to.flights[*at].is_some());
                let given: Vec<_> = given
                    .map(|host| format!("h{}: {}", host + 1, order(to.flights[host])))
                    .collect();
                format!(
                    "the controller plans: {}",
                    if given.is_empty() {
                        "no orders".into()
                    } else {
                        given.join(", ")
                    }
                )
            }
            Step::Carry(host) => format!(
                "{} carries out: {}",
                at(host),
                order(from.flights[usize::from(host)])
            ),
            Step::BadStart(host, fate) => format!("{}: the start goes wrong ({fate:?})", at(host)),
            Step::LoseReport(host) => {
                format!("{}: nobody hears what became of the order", at(host))
            }
            Step::LimboLands(host) => {
                format!(
                    "{} carries out unseen: {}",
                    at(host),
                    order(from.limbo[usize::from(host)])
                )
            }
            Step::LateLands(host, index) => {
                let late = from.late[usize::from(host)][usize::from(index)];
                format!(
                    "{}: a dead controller's command arrives: {}",
                    at(host),
                    order(late)
                )
            }
            Step::Vanish(host) => format!("{} vanishes", at(host)),
            Step::Notice(host) => format!("the controller learns that {} is lost", at(host)),
            Step::Return(host) => format!("{} returns", at(host)),
            Step::Reboot(host) => format!("{} returns after a reboot", at(host)),
            Step::Find(host) => format!("the controller reaches {} again", at(host)),
            Step::Sicken(host, port) => format!("{} port {port} sickens", at(host)),
            Step::Die(host, port) => format!("{} port {port} ends by itself", at(host)),
            Step::GetReady(host, port) => format!("{} port {port} becomes ready", at(host)),
            Step::Look(host) => format!("the controller looks at {}", at(host)),
            Step::Crash => "the controller dies".into(),
            Step::Restart(goal) => format!("a new controller takes over (goal {goal})"),
            Step::Lapse => "a moment passes".into(),
            Step::Expire => "the progress deadline passes".into(),
        }
    }
}
