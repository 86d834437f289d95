//! A breadth-first search over every sequence of events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::application::Application;
use super::invariants;
use super::policy::Policy;
use super::stack::{Stack, name};
use super::world::{Event, Live, Process, Recorded, State};
use crate::core::stack::{ServiceEnd, StackDirection, StackOutcome};

/// The result of an exploration without a violation.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) states: usize,
    /// The notable cases that were reached.
    pub(super) reached: BTreeSet<String>,
}

/// A violated invariant, and the path to it.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) what: String,
    pub(super) path: String,
}

struct Explorer<'a> {
    application: Application<'a>,
    states: Vec<State>,
    predecessors: Vec<(usize, Event)>,
    numbers: BTreeMap<u128, usize>,
    /// The events of each state and the states to which they lead.
    edges: Vec<Vec<(Event, usize)>>,
    reached: BTreeSet<String>,
}

/// Explores every state, then checks to which outcomes `ship resume` and `ship abort` lead from
/// each of them if every rollout reaches its goal from then on.
pub(super) fn explore(stack: &Stack, policy: &dyn Policy) -> Result<Report, Violation> {
    let application = Application { stack, policy };
    let mut explorer = Explorer {
        application,
        states: Vec::new(),
        predecessors: Vec::new(),
        numbers: BTreeMap::new(),
        edges: Vec::new(),
        reached: BTreeSet::new(),
    };
    explorer.run()?;
    explorer.check_outcomes()?;
    Ok(Report {
        states: explorer.states.len(),
        reached: explorer.reached,
    })
}

impl Explorer<'_> {
    fn run(&mut self) -> Result<(), Violation> {
        self.add(State::first(), (0, Event::Resume));
        let mut at = 0;
        while at < self.states.len() {
            let state = self.states[at];
            let mut edges = Vec::new();
            for event in self.events(&state) {
                self.note(&state, event);
                let next = self
                    .application
                    .take(&state, event)
                    .map_err(|what| self.violation(what, at, Some(event)))?;
                // A refused command changes nothing.
                if let Some(next) = next {
                    edges.push((event, self.add(next, (at, event))));
                }
            }
            self.edges.push(edges);
            at += 1;
        }
        Ok(())
    }

    fn add(&mut self, state: State, from: (usize, Event)) -> usize {
        let new = self.states.len();
        let number = *self.numbers.entry(state.key()).or_insert(new);
        if number == new {
            self.states.push(state);
            self.predecessors.push(from);
        }
        number
    }

    /// Everything that can happen in a state.
    fn events(&self, state: &State) -> Vec<Event> {
        let memory = match &state.process {
            Process::Ended(StackOutcome::Deployed | StackOutcome::RolledBack) => return Vec::new(),
            Process::Crashed | Process::Ended(_) => return vec![Event::Resume, Event::Abort],
            Process::Running(memory) => memory,
        };
        let services = 0..self.application.stack.services;
        let mut events = vec![Event::Crash];
        for at in services.clone() {
            let ends = self.possible_ends(state, at).into_iter();
            events.extend(ends.map(|end| Event::End(at, end)));
        }
        if memory.outcome.is_some() {
            events.push(Event::Finish);
            return events;
        }
        let pending = services
            .clone()
            .find(|at| state.services[*at].pending.is_some());
        let is_first = self.application.policy.saves_direction_first();
        if state.has_unsaved_direction() && (is_first || pending.is_none()) {
            events.push(Event::SaveDirection);
            return events;
        }
        if let Some(at) = pending {
            events.push(Event::Begin(at));
            return events;
        }
        let unnoticed = services.filter(|at| state.services[*at].unnoticed.is_some());
        events.extend(unnoticed.map(Event::Notice));
        events.push(Event::AbortRunning);
        events
    }

    /// The ends that the live rollout of a service may have.
    fn possible_ends(&self, state: &State, at: usize) -> Vec<ServiceEnd> {
        use ServiceEnd::{Held, Reached, RolledBack, Stopped};
        match state.services[at].live {
            None => Vec::new(),
            // Without an earlier revision, a rollout that fails is held.
            Some(Live::Forward | Live::Aborted) if !self.application.stack.can_undo(at) => {
                vec![Reached, Held, Stopped]
            }
            Some(_) => vec![Reached, RolledBack, Held, Stopped],
        }
    }

    /// Whether an event happens if every rollout reaches its goal, and nothing else goes wrong.
    fn is_benign(&self, state: &State, event: Event) -> bool {
        match event {
            Event::End(at, end) => match state.services[at].live {
                Some(Live::Aborted) if self.application.stack.can_undo(at) => {
                    end == ServiceEnd::RolledBack
                }
                Some(Live::Aborted) => end == ServiceEnd::Held,
                _ => end == ServiceEnd::Reached,
            },
            Event::Begin(_) | Event::Notice(_) | Event::SaveDirection | Event::Finish => true,
            Event::AbortRunning | Event::Crash | Event::Resume | Event::Abort => false,
        }
    }

    /// Checks the outcome of `ship resume` and `ship abort` from every state in which they are
    /// possible, in every order in which the rollouts may end.
    fn check_outcomes(&mut self) -> Result<(), Violation> {
        let mut known = vec![Search::Unknown; self.states.len()];
        for at in 0..self.states.len() {
            self.outcomes(at, &mut known)?;
            for (event, to) in self.edges[at].clone() {
                let is_aborted = match event {
                    Event::Resume => false,
                    Event::Abort => true,
                    _ => continue,
                };
                let expected = invariants::expected_outcome(
                    self.application.stack,
                    &self.states[at],
                    is_aborted,
                );
                let outcomes = self.outcomes(to, &mut known)?;
                if outcomes != 1 << expected as u8 {
                    let what = format!(
                        "{event:?} leads to {}, expected {expected:?}",
                        names(outcomes)
                    );
                    return Err(self.violation(what, at, Some(event)));
                }
            }
        }
        Ok(())
    }

    /// The bits of the outcomes that benign events lead to.
    fn outcomes(&self, at: usize, known: &mut [Search]) -> Result<u8, Violation> {
        let state = &self.states[at];
        match (known[at], state.process) {
            (Search::Done(outcomes), _) => return Ok(outcomes),
            (Search::Open, _) => {
                let what = "from this state the deployment never ends".to_owned();
                return Err(self.violation(what, at, None));
            }
            (Search::Unknown, Process::Ended(outcome)) => {
                known[at] = Search::Done(1 << outcome as u8);
                return Ok(1 << outcome as u8);
            }
            (Search::Unknown, Process::Crashed) => return Ok(0),
            (Search::Unknown, Process::Running(_)) => known[at] = Search::Open,
        }
        let mut outcomes = 0;
        for (event, to) in &self.edges[at] {
            if self.is_benign(state, *event) {
                outcomes |= self.outcomes(*to, known)?;
            }
        }
        known[at] = Search::Done(outcomes);
        Ok(outcomes)
    }

    /// Notes the cases that the exploration must reach.
    fn note(&mut self, state: &State, event: Event) {
        let stack = self.application.stack;
        let services = &state.services[..stack.services];
        let begun = |forward: bool, at: usize| {
            let service = &state.services[at];
            let recorded = if forward {
                service.forward
            } else {
                service.undo
            };
            recorded == Recorded::Ended(ServiceEnd::RolledBack)
        };
        let what = match event {
            Event::Finish => match state.memory().and_then(|memory| memory.outcome) {
                Some(outcome) => format!("a deployment that ends as {outcome:?}"),
                None => return,
            },
            Event::Crash if state.has_unsaved_direction() => {
                "a crash after a failure and before the new direction is saved".into()
            }
            Event::Crash
                if services.iter().any(|it| it.pending.is_some())
                    && services.iter().any(|it| it.live.is_some()) =>
            {
                "a crash after some of the planned steps".into()
            }
            Event::End(at, ServiceEnd::Reached)
                if state.services[at].live == Some(Live::Aborted) =>
            {
                "a rollout that reaches its goal although it was asked to roll back".into()
            }
            Event::Begin(at) if state.services[at].unnoticed.is_some() => {
                "a request to roll back that reaches a rollout after its end".into()
            }
            Event::Abort if invariants::has_begun_contract(stack, state) => {
                "an abort that is refused because a contract migration has begun".into()
            }
            Event::Begin(at) if begun(true, at) && state.saved == StackDirection::Forward => {
                "a second rollout of a service that had rolled back".into()
            }
            Event::Begin(at) if begun(false, at) => {
                "a second rollout to take a service back".into()
            }
            _ => return,
        };
        self.reached.insert(what);
    }

    fn violation(&self, what: String, at: usize, last: Option<Event>) -> Violation {
        let (mut events, mut here) = (Vec::new(), at);
        while here != 0 {
            let (from, event) = self.predecessors[here];
            events.push((event, here));
            here = from;
        }
        let mut path = format!("{}: {what}\n", self.application.stack.describe());
        for (event, to) in events.into_iter().rev() {
            let _ = writeln!(path, "  {}", describe(event));
            let _ = writeln!(path, "      {}", self.describe_state(&self.states[to]));
        }
        if let Some(event) = last {
            let _ = writeln!(path, "! {}", describe(event));
        }
        Violation { what, path }
    }

    fn describe_state(&self, state: &State) -> String {
        let services = state.services[..self.application.stack.services].iter();
        let mut texts: Vec<String> = services
            .enumerate()
            .map(|(at, service)| format!("{}: {service}", name(at)))
            .collect();
        texts.push(format!("saved {:?}", state.saved));
        texts.join("; ")
    }
}

/// How far the search for the outcomes of a state is.
#[derive(Clone, Copy)]
enum Search {
    Unknown,
    Open,
    Done(u8),
}

/// The names of the outcomes with these bits.
fn names(outcomes: u8) -> String {
    let all = [
        StackOutcome::Deployed,
        StackOutcome::RolledBack,
        StackOutcome::Held,
        StackOutcome::RollbackFailed,
        StackOutcome::Stopped,
    ];
    let has = |outcome: &StackOutcome| outcomes & (1 << *outcome as u8) != 0;
    let names = all.into_iter().filter(has);
    let names: Vec<String> = names.map(|outcome| format!("{outcome:?}")).collect();
    names.join(" or ")
}

fn describe(event: Event) -> String {
    match event {
        Event::Begin(at) => format!("the process begins the step of {}", name(at)),
        Event::End(at, end) => format!("the rollout of {} ends: {end:?}", name(at)),
        Event::Notice(at) => format!("the process notices the end of {}", name(at)),
        Event::SaveDirection => "the process saves the direction".into(),
        Event::Finish => "the process records the outcome".into(),
        Event::AbortRunning => "a user aborts the running deployment".into(),
        Event::Crash => "the process crashes".into(),
        Event::Resume => "a user resumes the deployment".into(),
        Event::Abort => "a user aborts the deployment".into(),
    }
}
