//! The state of the model, and the steps between states.

use super::controller::Controller;
use super::world::{Command, Faults, HOSTS, Machine, ProcessState, StartEffect};

/// The state of the model at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) machines: [Machine; HOSTS],
    /// Commands whose result the controller waits for.
    pub(crate) in_flight: [Option<Command>; HOSTS],
    /// Commands with an unknown result. They may take effect until the same host has executed a
    /// later one. An observation proves nothing, because it does not wait for the host's lock.
    pub(crate) unknown: [Option<Command>; HOSTS],
    /// Commands of dead controllers, which may take effect at any later time.
    pub(crate) late: [[Option<Command>; 2]; HOSTS],
    pub(crate) controller: Option<Controller>,
    pub(crate) epoch: u8,
    pub(crate) faults_left: Faults,
}

impl State {
    pub(crate) fn set_state(&mut self, host: u8, number: u8, state: ProcessState) {
        if let Some(instance) = &mut self.machines[usize::from(host)].slots[usize::from(number)] {
            instance.state = state;
        }
    }
}

/// One transition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The controller plans, records the actions and sends the commands.
    Plan,
    /// A host executes a command and reports the result.
    Execute(u8),
    /// A start fails in one of several ways.
    BadStart(u8, StartEffect),
    /// The connection breaks, and the result of the command is unknown.
    LoseReport(u8),
    /// A host executes a command whose result is unknown to the controller.
    ExecuteUnseen(u8),
    /// A command of a dead controller arrives.
    ExecuteLate(u8, u8),
    LoseHost(u8),
    /// The controller notices that a host is unreachable.
    NoticeLoss(u8),
    ReturnHost(u8),
    /// A host returns, and every process on it has ended.
    Reboot(u8),
    /// The controller reaches a lost host again.
    RecoverHost(u8),
    BecomeUnhealthy(u8, u8),
    Exit(u8, u8),
    BecomeReady(u8, u8),
    /// The controller observes a host and probes its instances.
    Observe(u8),
    Crash,
    /// A new controller takes over, with one of the configured goals.
    Restart(u8),
    /// The progress deadline passes.
    ExpireDeadline,
    /// Time passes, so that earlier observations expire.
    ExpireObservations,
}

impl Step {
    pub(crate) fn describe(self, from: &State, to: &State) -> String {
        let operation = |command: Option<Command>| {
            command.map_or(String::new(), |command| command.operation.to_string())
        };
        let at = |host: u8| format!("h{}", host + 1);
        match self {
            Step::Plan => {
                let given = (0..HOSTS)
                    .filter(|at| from.in_flight[*at].is_none() && to.in_flight[*at].is_some());
                let given: Vec<_> = given
                    .map(|host| format!("h{}: {}", host + 1, operation(to.in_flight[host])))
                    .collect();
                format!(
                    "the controller plans: {}",
                    if given.is_empty() {
                        "no actions".into()
                    } else {
                        given.join(", ")
                    }
                )
            }
            Step::Execute(host) => format!(
                "{} executes: {}",
                at(host),
                operation(from.in_flight[usize::from(host)])
            ),
            Step::BadStart(host, effect) => {
                format!("{}: the start fails ({effect:?})", at(host))
            }
            Step::LoseReport(host) => {
                format!("{}: the result of the command is lost", at(host))
            }
            Step::ExecuteUnseen(host) => {
                format!(
                    "{} executes unseen: {}",
                    at(host),
                    operation(from.unknown[usize::from(host)])
                )
            }
            Step::ExecuteLate(host, index) => {
                let late = from.late[usize::from(host)][usize::from(index)];
                format!(
                    "{}: a dead controller's command arrives: {}",
                    at(host),
                    operation(late)
                )
            }
            Step::LoseHost(host) => format!("{} becomes unreachable", at(host)),
            Step::NoticeLoss(host) => {
                format!("the controller notices that {} is unreachable", at(host))
            }
            Step::ReturnHost(host) => format!("{} returns", at(host)),
            Step::Reboot(host) => format!("{} returns after a reboot", at(host)),
            Step::RecoverHost(host) => format!("the controller reaches {} again", at(host)),
            Step::BecomeUnhealthy(host, number) => {
                format!("{} slot {number} becomes unhealthy", at(host))
            }
            Step::Exit(host, number) => format!("{} slot {number} exits", at(host)),
            Step::BecomeReady(host, number) => format!("{} slot {number} becomes ready", at(host)),
            Step::Observe(host) => format!("the controller observes {}", at(host)),
            Step::Crash => "the controller crashes".into(),
            Step::Restart(goal) => format!("a new controller takes over (goal {goal})"),
            Step::ExpireObservations => "the observations expire".into(),
            Step::ExpireDeadline => "the progress deadline passes".into(),
        }
    }
}
