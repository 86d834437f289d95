//! A breadth-first search over every sequence of steps and faults.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ship::core::planner::{Next, Plan};
use ship::core::rollout::action::{Action, StopReason};

use super::config::Config;
use super::controller::{Controllers, HostView, Planner};
use super::fast_map::FastMap;
use super::invariants;
use super::state::{State, Step};
use super::world::{CommandResult, HOSTS, Machine, Operation, ProcessState, Release, StartEffect};

/// The result of an exploration without a violation.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// How often each notable case was reached.
    pub(crate) reached: BTreeMap<&'static str, usize>,
}

/// A violated invariant, and the path to it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) what: String,
    pub(crate) path: String,
}

struct Explorer<'a> {
    config: &'a Config,
    controllers: Controllers<'a>,
    states: Vec<State>,
    predecessors: Vec<(u32, Step)>,
    numbers: FastMap<State, u32>,
    reached: BTreeMap<&'static str, usize>,
}

/// Explores every state, then checks that the rollout finishes from each of them if no more faults
/// occur.
pub(crate) fn explore(config: &Config, planner: &Planner<'_>) -> Result<Report, Violation> {
    let mut controllers =
        Controllers::new(config.spec(), config.host_ids(), config.workers, planner);
    let first = config.first_state(&mut controllers);
    let mut explorer = Explorer {
        config,
        controllers,
        states: vec![first],
        predecessors: vec![(0, Step::Plan)],
        numbers: std::iter::once((first, 0)).collect(),
        reached: BTreeMap::new(),
    };
    let transitions = explorer.run()?;
    explorer.check_termination()?;
    Ok(Report {
        states: explorer.states.len(),
        transitions,
        reached: explorer.reached,
    })
}

impl Explorer<'_> {
    fn run(&mut self) -> Result<usize, Violation> {
        let (mut transitions, mut at) = (0, 0);
        let mut steps = Vec::new();
        while at < self.states.len() {
            let state = self.states[at];
            let from = small_index(at);
            steps.clear();
            self.steps(&state, &mut steps)
                .map_err(|what| self.violation(what, from, None))?;
            for step in &steps {
                let next = self
                    .take(&state, *step)
                    .map_err(|what| self.violation(what, from, Some(*step)))?;
                transitions += 1;
                if let Entry::Vacant(new) = self.numbers.entry(next) {
                    new.insert(small_index(self.states.len()));
                    self.states.push(next);
                    self.predecessors.push((from, *step));
                }
            }
            at += 1;
        }
        Ok(transitions)
    }

    /// Adds every step that is possible in a state.
    fn steps(&mut self, state: &State, steps: &mut Vec<Step>) -> Result<(), String> {
        // The controller plans after every event, before anything else happens.
        if self.may_plan(state)? {
            steps.push(Step::Plan);
            return Ok(());
        }
        let faults_left = state.faults_left;
        let finished = state
            .controller
            .as_ref()
            .is_some_and(|controller| self.controllers.outcome(controller).is_some());
        for at in 0..self.config.hosts {
            let (host, machine) = (small(at), &state.machines[at]);
            if let Some(command) = state.in_flight[at] {
                if machine.up {
                    steps.push(Step::Execute(host));
                }
                if machine.up && faults_left.lost_reports > 0 {
                    steps.push(Step::LoseReport(host));
                }
                let may_go_wrong = match command.operation {
                    Operation::Start { release, .. } => {
                        !self.config.only_new_fails || release == Release::New
                    }
                    _ => false,
                };
                if machine.up && faults_left.bad_starts > 0 && may_go_wrong {
                    steps.extend(
                        [
                            StartEffect::Refused,
                            StartEffect::Exits,
                            StartEffect::NeverReady,
                        ]
                        .map(|effect| Step::BadStart(host, effect)),
                    );
                }
            }
            if state.unknown[at].is_some() {
                steps.push(Step::ExecuteUnseen(host));
            }
            for (index, late) in state.late[at].iter().enumerate() {
                if late.is_some() {
                    steps.push(Step::ExecuteLate(host, small(index)));
                }
            }
            if !machine.up {
                steps.push(Step::ReturnHost(host));
                if self.config.reboots {
                    steps.push(Step::Reboot(host));
                }
            } else if faults_left.host_losses > 0 && !finished {
                steps.push(Step::LoseHost(host));
            }
            if let Some(controller) = state.controller.as_ref().filter(|_| !finished) {
                let view = &controller.view[at];
                match (view.lost, machine.up) {
                    (true, true) => steps.push(Step::RecoverHost(host)),
                    (false, false) => steps.push(Step::NoticeLoss(host)),
                    (false, true) => {
                        let busy = state.in_flight[at].is_some();
                        let is_wanted = !busy && self.controllers.wants_observation(controller, at);
                        if is_wanted || view.is_outdated(machine, busy, self.config.workers) {
                            steps.push(Step::Observe(host));
                        }
                    }
                    _ => {}
                }
            }
            for (number, instance) in machine
                .slots
                .iter()
                .enumerate()
                .filter(|_| machine.up && !finished)
            {
                match instance.map(|instance| instance.state) {
                    Some(ProcessState::Starting) => {
                        steps.push(Step::BecomeReady(host, small(number)));
                    }
                    Some(ProcessState::Ready) if faults_left.instance_failures > 0 => {
                        steps.extend([
                            Step::BecomeUnhealthy(host, small(number)),
                            Step::Exit(host, small(number)),
                        ]);
                    }
                    _ => {}
                }
            }
        }
        match &state.controller {
            None if state.machines.iter().all(|machine| machine.up) => {
                steps.extend((0..self.config.goals.len()).map(|goal| Step::Restart(small(goal))));
            }
            Some(controller) if !finished => {
                if faults_left.crashes > 0 {
                    steps.push(Step::Crash);
                }
                if self.config.workers && controller.view.iter().any(HostView::is_fresh) {
                    steps.push(Step::ExpireObservations);
                }
                let idle = !steps.iter().any(|step| {
                    matches!(
                        step,
                        Step::Execute(_)
                            | Step::Observe(_)
                            | Step::BecomeReady(..)
                            | Step::NoticeLoss(_)
                            | Step::RecoverHost(_)
                    )
                });
                if (idle || faults_left.early_deadlines > 0)
                    && !self.controllers.is_deadline_expired(controller)
                {
                    steps.push(Step::ExpireDeadline);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a plan would change the state.
    fn may_plan(&mut self, state: &State) -> Result<bool, String> {
        let Some(controller) = &state.controller else {
            return Ok(false);
        };
        if self.controllers.outcome(controller).is_some() {
            return Ok(false);
        }
        let plan = self.controllers.plan(controller)?;
        Ok(!plan.actions.is_empty()
            || matches!(
                plan.next,
                Next::Fail(..) | Next::FailHost(_) | Next::Finish(_)
            ))
    }

    fn take(&mut self, state: &State, step: Step) -> Result<State, String> {
        let mut next = *state;
        let controller = next.controller.as_mut();
        match step {
            Step::Plan => self.plan(state, &mut next)?,
            Step::Execute(host) => {
                self.execute_in_flight(state, &mut next, host, StartEffect::Starts)?;
            }
            Step::BadStart(host, effect) => {
                next.faults_left.bad_starts -= 1;
                self.execute_in_flight(state, &mut next, host, effect)?;
            }
            Step::LoseReport(host) => {
                next.faults_left.lost_reports -= 1;
                self.lose_report(&mut next, host);
            }
            Step::NoticeLoss(host) => self.lose_report(&mut next, host),
            Step::ExecuteUnseen(host) => {
                let at = usize::from(host);
                let command = next.unknown[at]
                    .take()
                    .ok_or("no command has an unknown result")?;
                next.machines[at].execute(command, StartEffect::Starts, self.config.fence);
                invariants::check_execution(self.config, state, &next, at, command.operation)?;
            }
            Step::ExecuteLate(host, index) => {
                let at = usize::from(host);
                let command = next.late[at][usize::from(index)]
                    .take()
                    .ok_or("no command is late")?;
                let before = next.machines[at];
                let answer =
                    next.machines[at].execute(command, StartEffect::Starts, self.config.fence);
                invariants::check_execution(self.config, state, &next, at, command.operation)?;
                if answer == CommandResult::Fenced {
                    if next.machines[at] != before {
                        return Err("a late command was rejected but changed the host".into());
                    }
                    self.note_reached("a late command rejected by its epoch");
                }
            }
            Step::LoseHost(host) => {
                next.faults_left.host_losses -= 1;
                next.machines[usize::from(host)].up = false;
            }
            Step::ReturnHost(host) => next.machines[usize::from(host)].up = true,
            Step::Reboot(host) => {
                let machine = &mut next.machines[usize::from(host)];
                machine.up = true;
                machine
                    .slots
                    .iter_mut()
                    .flatten()
                    .for_each(|instance| instance.state = ProcessState::Exited);
            }
            Step::RecoverHost(host) => {
                let at = usize::from(host);
                let releases: BTreeSet<_> = next.machines[at]
                    .instances()
                    .map(|instance| instance.release)
                    .collect();
                if releases.len() > 1 {
                    self.note_reached("a host that returned with both versions");
                }
                self.controllers.recover_host(
                    controller.ok_or("no controller")?,
                    at,
                    &next.machines[at],
                );
            }
            Step::BecomeUnhealthy(host, number) | Step::Exit(host, number) => {
                next.faults_left.instance_failures -= 1;
                let state = if matches!(step, Step::BecomeUnhealthy(..)) {
                    ProcessState::Unhealthy
                } else {
                    ProcessState::Exited
                };
                next.set_state(host, number, state);
            }
            Step::BecomeReady(host, number) => next.set_state(host, number, ProcessState::Ready),
            Step::Observe(host) => {
                let at = usize::from(host);
                let busy = next.in_flight[at].is_some();
                self.controllers.observe_and_probe(
                    controller.ok_or("no controller")?,
                    at,
                    &next.machines[at],
                    busy,
                );
            }
            Step::Crash => {
                next.faults_left.crashes -= 1;
                next.controller = None;
                for at in 0..HOSTS {
                    for last in [next.unknown[at].take(), next.in_flight[at].take()]
                        .into_iter()
                        .flatten()
                    {
                        if let Some(free) = next.late[at].iter_mut().find(|late| late.is_none()) {
                            *free = Some(last);
                        }
                    }
                }
            }
            Step::Restart(goal) => {
                next.epoch += 1;
                let (goal, rollback_target) = self.config.goals[usize::from(goal)];
                next.controller =
                    Some(
                        self.controllers
                            .start(next.epoch, goal, rollback_target, &next.machines),
                    );
            }
            Step::ExpireObservations => controller
                .ok_or("no controller")?
                .view
                .iter_mut()
                .for_each(HostView::expire_observations),
            Step::ExpireDeadline => {
                let busy = next.in_flight.iter().any(Option::is_some);
                next.faults_left.early_deadlines = next
                    .faults_left
                    .early_deadlines
                    .saturating_sub(u8::from(busy));
                self.controllers
                    .expire_deadline(controller.ok_or("no controller")?);
            }
        }
        Ok(next)
    }

    fn plan(&mut self, state: &State, next: &mut State) -> Result<(), String> {
        let controller = next.controller.as_mut().ok_or("no controller")?;
        let plan = self.controllers.plan(controller)?;
        invariants::check_plan(self.config, &self.controllers, state, &plan)?;
        self.note_plan(&plan, state);
        for (host, command) in self.controllers.apply_plan(controller, &plan) {
            next.in_flight[host] = Some(command);
        }
        if !plan.actions.is_empty() {
            let again = self.controllers.plan(controller)?;
            if !again.actions.is_empty() {
                return Err(format!(
                    "the planner plans more actions without a change: {:?}",
                    again.actions
                ));
            }
        }
        Ok(())
    }

    fn note_plan(&mut self, plan: &Plan, state: &State) {
        if let Next::Finish(outcome) = &plan.next {
            self.note_reached(outcome.word());
        }
        if let Next::FailHost(_) = &plan.next {
            self.note_reached("a failed host");
        }
        let unhealthy = |action: &Action| {
            matches!(
                action,
                Action::Stop {
                    why: StopReason::OldAndUnhealthy,
                    ..
                }
            )
        };
        let healthy = state.machines.iter().flat_map(Machine::instances);
        if plan.actions.iter().any(unhealthy)
            && healthy
                .filter(|actual| actual.release == Release::Old)
                .any(|actual| actual.state == ProcessState::Ready)
        {
            self.note_reached("an unhealthy old instance stopped before a healthy one");
        }
    }

    fn note_reached(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    /// A host executes a command of the live controller and reports the result.
    fn execute_in_flight(
        &mut self,
        before: &State,
        next: &mut State,
        host: u8,
        effect: StartEffect,
    ) -> Result<(), String> {
        let at = usize::from(host);
        let command = next.in_flight[at].take().ok_or("no command is in flight")?;
        let answer = next.machines[at].execute(command, effect, self.config.fence);
        // The lock of the host allows one script at a time, so an earlier one has ended.
        next.unknown[at] = None;
        invariants::check_execution(self.config, before, next, at, command.operation)?;
        let controller = next.controller.as_mut().ok_or("no controller")?;
        self.controllers
            .report(controller, at, &next.machines[at], answer);
        Ok(())
    }

    fn lose_report(&mut self, next: &mut State, host: u8) {
        let at = usize::from(host);
        let flight = next.in_flight[at].take();
        if let Some(controller) = next.controller.as_mut() {
            self.controllers.lose_host(controller, at, flight.is_some());
        }
        // If there are two, the second is a claim, which changes nothing that the invariants count.
        next.unknown[at] = next.unknown[at].or(flight);
    }

    /// Checks that from every state the rollout finishes if no more faults occur.
    fn check_termination(&mut self) -> Result<(), Violation> {
        let mut terminates = vec![false; self.states.len()];
        for at in 0..self.states.len() {
            let (mut trail, mut here) = (Vec::new(), at);
            while !terminates[here] {
                if trail.len() > 400 || trail.contains(&here) {
                    let from = small_index(at);
                    return Err(self.violation(
                        "from this state the rollout never finishes".into(),
                        from,
                        None,
                    ));
                }
                trail.push(here);
                let state = self.states[here];
                let Some(step) = self.benign_step(&state) else {
                    break;
                };
                let next = self.take(&state, step).and_then(|next| {
                    self.numbers
                        .get(&next)
                        .copied()
                        .ok_or_else(|| format!("{step:?} leads to a state that was not explored"))
                });
                here = next.map_err(|what| self.violation(what, small_index(here), Some(step)))?
                    as usize;
            }
            let state = self.states[here];
            let finished = state
                .controller
                .as_ref()
                .is_some_and(|controller| self.controllers.outcome(controller).is_some());
            if !terminates[here] && !finished {
                let from = small_index(here);
                return Err(self.violation(
                    "no step is left, and the rollout has not finished".into(),
                    from,
                    None,
                ));
            }
            for at in trail {
                terminates[at] = true;
            }
        }
        Ok(())
    }

    /// The next step without faults.
    fn benign_step(&mut self, state: &State) -> Option<Step> {
        let mut steps = Vec::new();
        if state
            .controller
            .as_ref()
            .is_some_and(|controller| self.controllers.outcome(controller).is_some())
        {
            return None;
        }
        self.steps(state, &mut steps).ok()?;
        let rank = |step: &Step| match step {
            Step::Plan => Some(0),
            Step::ReturnHost(_) => Some(1),
            Step::Restart(0) => Some(2),
            Step::Execute(_) => Some(3),
            Step::NoticeLoss(_) | Step::RecoverHost(_) => Some(4),
            Step::Observe(_) => Some(5),
            Step::BecomeReady(..) => Some(6),
            Step::ExpireDeadline => Some(7),
            _ => None,
        };
        steps
            .into_iter()
            .filter_map(|step| Some((rank(&step)?, step)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, step)| step)
    }

    fn violation(&self, what: String, at: u32, last: Option<Step>) -> Violation {
        let mut trace = Vec::new();
        let mut here = at;
        while here != 0 {
            let (from, step) = self.predecessors[here as usize];
            trace.push((step, here));
            here = from;
        }
        let mut path = format!(
            "{}: {what}\n    initial state: {}\n",
            self.config.name,
            self.describe(&self.states[0])
        );
        for (number, (step, to)) in trace.into_iter().rev().enumerate() {
            let state = &self.states[to as usize];
            let from = &self.states[self.predecessors[to as usize].0 as usize];
            let _ = writeln!(
                path,
                "{:>3} {}\n       {}",
                number + 1,
                step.describe(from, state),
                self.describe(state)
            );
        }
        if let Some(step) = last {
            let state = &self.states[at as usize];
            let _ = writeln!(path, "  ! {}", step.describe(state, state));
            if let (Step::Plan, Some(plan)) = (
                step,
                state
                    .controller
                    .as_ref()
                    .and_then(|controller| self.controllers.planned(controller)),
            ) {
                plan.actions.iter().for_each(|action| {
                    let _ = writeln!(path, "      action: {action}");
                });
                let _ = writeln!(path, "      next: {:?}", plan.next);
            }
        }
        Violation { what, path }
    }

    fn describe(&self, state: &State) -> String {
        let machines = state.machines.iter().take(self.config.hosts).enumerate();
        let each: Vec<String> = machines
            .map(|(at, machine)| format!("h{}{machine}", at + 1))
            .collect();
        each.join(" ")
    }
}

fn small(n: usize) -> u8 {
    u8::try_from(n).expect("small")
}

fn small_index(n: usize) -> u32 {
    u32::try_from(n).expect("fewer than four billion")
}
