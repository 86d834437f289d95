//! Breadth-first exploration of everything that a hostile environment can do.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ship::core::planner::{Next, Plan};
use ship::core::rollout::action::{Action, StopReason};

use super::check;
use super::config::Config;
use super::controller::{BalancerState, Controllers, Planner};
use super::quick::QuickMap;
use super::state::{State, Step};
use super::world::{Answer, Fate, HOSTS, Life, Machine, Order, Release};

/// What was found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// What was reached in some state.
    pub(crate) sometimes: BTreeMap<&'static str, usize>,
}

/// A way to something that must never happen.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) what: String,
    pub(crate) path: String,
}

struct Explorer<'a> {
    config: &'a Config,
    minds: Controllers<'a>,
    states: Vec<State>,
    came: Vec<(u32, Step)>,
    numbers: QuickMap<State, u32>,
    sometimes: BTreeMap<&'static str, usize>,
}

/// Explores everything, then checks that from everywhere a kind environment lets the rollout end.
pub(crate) fn explore(config: &Config, planner: &Planner<'_>) -> Result<Report, Violation> {
    let mut minds = Controllers::new(config.spec(), config.host_ids(), config.workers, planner);
    let first = config.first_state(&mut minds);
    let mut explorer = Explorer {
        config,
        minds,
        states: vec![first],
        came: vec![(0, Step::Plan)],
        numbers: std::iter::once((first, 0)).collect(),
        sometimes: BTreeMap::new(),
    };
    let transitions = explorer.run()?;
    explorer.everything_ends()?;
    Ok(Report {
        states: explorer.states.len(),
        transitions,
        sometimes: explorer.sometimes,
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
                    self.came.push((from, *step));
                }
            }
            at += 1;
        }
        Ok(transitions)
    }

    /// Everything that may happen now.
    fn steps(&mut self, state: &State, steps: &mut Vec<Step>) -> Result<(), String> {
        // The controller plans after every event, before anything else happens.
        if self.may_plan(state)? {
            steps.push(Step::Plan);
            return Ok(());
        }
        let left = state.left;
        let finished = state
            .controller
            .as_ref()
            .is_some_and(|it| self.minds.outcome(it).is_some());
        for at in 0..self.config.hosts {
            let (host, machine) = (small(at), &state.machines[at]);
            if let Some(command) = state.flights[at] {
                if machine.up {
                    steps.push(Step::Carry(host));
                }
                if machine.up && left.lost_reports > 0 {
                    steps.push(Step::LoseReport(host));
                }
                let may_go_wrong = match command.order {
                    Order::Start { release, .. } => {
                        !self.config.only_new_is_bad || release == Release::New
                    }
                    _ => false,
                };
                if machine.up && left.bad_starts > 0 && may_go_wrong {
                    steps.extend(
                        [Fate::Refused, Fate::Dies, Fate::NeverReady]
                            .map(|fate| Step::BadStart(host, fate)),
                    );
                }
            }
            if state.limbo[at].is_some() {
                steps.push(Step::LimboLands(host));
            }
            for (index, late) in state.late[at].iter().enumerate() {
                if late.is_some() {
                    steps.push(Step::LateLands(host, small(index)));
                }
            }
            if !machine.up {
                steps.push(Step::Return(host));
                if self.config.reboots {
                    steps.push(Step::Reboot(host));
                }
            } else if left.losses > 0 && !finished {
                steps.push(Step::Vanish(host));
            }
            if let Some(controller) = state.controller.as_ref().filter(|_| !finished) {
                let view = &controller.view[at];
                match (view.lost, machine.up) {
                    (true, true) => steps.push(Step::Find(host)),
                    (false, false) => steps.push(Step::Notice(host)),
                    (false, true) => {
                        let busy = state.flights[at].is_some();
                        let is_wanted = !busy && self.minds.wants_look(controller, at);
                        if is_wanted || view.is_outdated(machine, busy, self.config.workers) {
                            steps.push(Step::Look(host));
                        }
                    }
                    _ => {}
                }
            }
            for (port, instance) in machine
                .slots
                .iter()
                .enumerate()
                .filter(|_| machine.up && !finished)
            {
                match instance.map(|instance| instance.life) {
                    Some(Life::Starting) => steps.push(Step::GetReady(host, small(port))),
                    Some(Life::Ready) if left.sickenings > 0 => {
                        steps.extend([
                            Step::Sicken(host, small(port)),
                            Step::Die(host, small(port)),
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
                if left.crashes > 0 {
                    steps.push(Step::Crash);
                }
                if self.config.workers && controller.view.iter().any(BalancerState::is_fresh) {
                    steps.push(Step::Lapse);
                }
                let idle = !steps.iter().any(|step| {
                    matches!(
                        step,
                        Step::Carry(_)
                            | Step::Look(_)
                            | Step::GetReady(..)
                            | Step::Notice(_)
                            | Step::Find(_)
                    )
                });
                if (idle || left.delays > 0) && !self.minds.is_expired(controller) {
                    steps.push(Step::Expire);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether planning now does anything.
    fn may_plan(&mut self, state: &State) -> Result<bool, String> {
        let Some(controller) = &state.controller else {
            return Ok(false);
        };
        if self.minds.outcome(controller).is_some() {
            return Ok(false);
        }
        let plan = self.minds.plan(controller)?;
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
            Step::Carry(host) => self.land(state, &mut next, host, Fate::Fine)?,
            Step::BadStart(host, fate) => {
                next.left.bad_starts -= 1;
                self.land(state, &mut next, host, fate)?;
            }
            Step::LoseReport(host) => {
                next.left.lost_reports -= 1;
                self.lose(&mut next, host);
            }
            Step::Notice(host) => self.lose(&mut next, host),
            Step::LimboLands(host) => {
                let at = usize::from(host);
                let command = next.limbo[at].take().ok_or("nothing in limbo")?;
                next.machines[at].obey(command, Fate::Fine, self.config.fence);
                check::landing(self.config, state, &next, at, command.order)?;
            }
            Step::LateLands(host, index) => {
                let at = usize::from(host);
                let command = next.late[at][usize::from(index)]
                    .take()
                    .ok_or("nothing is late")?;
                let before = next.machines[at];
                let answer = next.machines[at].obey(command, Fate::Fine, self.config.fence);
                check::landing(self.config, state, &next, at, command.order)?;
                if answer == Answer::Fenced {
                    if next.machines[at] != before {
                        return Err("a late command was refused, and yet changed something".into());
                    }
                    self.saw("a late command refused by the fence");
                }
            }
            Step::Vanish(host) => {
                next.left.losses -= 1;
                next.machines[usize::from(host)].up = false;
            }
            Step::Return(host) => next.machines[usize::from(host)].up = true,
            Step::Reboot(host) => {
                let machine = &mut next.machines[usize::from(host)];
                machine.up = true;
                machine
                    .slots
                    .iter_mut()
                    .flatten()
                    .for_each(|instance| instance.life = Life::Dead);
            }
            Step::Find(host) => {
                let at = usize::from(host);
                let releases: BTreeSet<_> = next.machines[at]
                    .instances()
                    .map(|instance| instance.release)
                    .collect();
                if releases.len() > 1 {
                    self.saw("a host that returned with both versions");
                }
                self.minds
                    .find(controller.ok_or("no controller")?, at, &next.machines[at]);
            }
            Step::Sicken(host, port) | Step::Die(host, port) => {
                next.left.sickenings -= 1;
                let life = if matches!(step, Step::Sicken(..)) {
                    Life::Sick
                } else {
                    Life::Dead
                };
                next.set_life(host, port, life);
            }
            Step::GetReady(host, port) => next.set_life(host, port, Life::Ready),
            Step::Look(host) => {
                let at = usize::from(host);
                let busy = next.flights[at].is_some();
                self.minds.look(
                    controller.ok_or("no controller")?,
                    at,
                    &next.machines[at],
                    busy,
                );
            }
            Step::Crash => {
                next.left.crashes -= 1;
                next.controller = None;
                for at in 0..HOSTS {
                    for last in [next.limbo[at].take(), next.flights[at].take()]
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
                let (goal, fallback) = self.config.goals[usize::from(goal)];
                next.controller =
                    Some(self.minds.start(next.epoch, goal, fallback, &next.machines));
            }
            Step::Lapse => controller
                .ok_or("no controller")?
                .view
                .iter_mut()
                .for_each(BalancerState::lapse),
            Step::Expire => {
                let busy = next.flights.iter().any(Option::is_some);
                next.left.delays = next.left.delays.saturating_sub(u8::from(busy));
                self.minds.expire(controller.ok_or("no controller")?);
            }
        }
        Ok(next)
    }

    fn plan(&mut self, state: &State, next: &mut State) -> Result<(), String> {
        let controller = next.controller.as_mut().ok_or("no controller")?;
        let plan = self.minds.plan(controller)?;
        check::orders(self.config, &self.minds, state, &plan)?;
        self.notable(&plan, state);
        for (host, command) in self.minds.carry_on(controller, &plan) {
            next.flights[host] = Some(command);
        }
        if !plan.actions.is_empty() {
            let again = self.minds.plan(controller)?;
            if !again.actions.is_empty() {
                return Err(format!(
                    "nothing has changed, and yet more is ordered: {:?}",
                    again.actions
                ));
            }
        }
        Ok(())
    }

    fn notable(&mut self, plan: &Plan, state: &State) {
        if let Next::Finish(outcome) = &plan.next {
            self.saw(outcome.word());
        }
        if let Next::FailHost(_) = &plan.next {
            self.saw("a host left behind");
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
                .filter(|is| is.release == Release::Old)
                .any(|is| is.life == Life::Ready)
        {
            self.saw("an unhealthy old instance stopped before a healthy one");
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.sometimes.entry(what).or_default() += 1;
    }

    /// A command of the live controller takes effect, and its host reports.
    fn land(
        &mut self,
        before: &State,
        next: &mut State,
        host: u8,
        fate: Fate,
    ) -> Result<(), String> {
        let at = usize::from(host);
        let command = next.flights[at].take().ok_or("nothing in flight")?;
        let answer = next.machines[at].obey(command, fate, self.config.fence);
        // One script at a time: what was still at work there has ended before this one began.
        next.limbo[at] = None;
        check::landing(self.config, before, next, at, command.order)?;
        let controller = next.controller.as_mut().ok_or("no controller")?;
        self.minds
            .report(controller, at, &next.machines[at], answer);
        Ok(())
    }

    fn lose(&mut self, next: &mut State, host: u8) {
        let at = usize::from(host);
        let flight = next.flights[at].take();
        if let Some(controller) = next.controller.as_mut() {
            self.minds.lose(controller, at, flight.is_some());
        }
        // Of two, the claim changes nothing that anybody counts.
        next.limbo[at] = next.limbo[at].or(flight);
    }

    /// From every state: if the environment does no more harm, the rollout ends.
    fn everything_ends(&mut self) -> Result<(), Violation> {
        let mut ends = vec![false; self.states.len()];
        for at in 0..self.states.len() {
            let (mut trail, mut here) = (Vec::new(), at);
            while !ends[here] {
                if trail.len() > 400 || trail.contains(&here) {
                    let from = small_index(at);
                    return Err(self.violation(
                        "from here the rollout never ends".into(),
                        from,
                        None,
                    ));
                }
                trail.push(here);
                let state = self.states[here];
                let Some(step) = self.kind_step(&state) else {
                    break;
                };
                let next = self.take(&state, step).and_then(|next| {
                    self.numbers
                        .get(&next)
                        .copied()
                        .ok_or_else(|| format!("{step:?} leads out of what was explored"))
                });
                here = next.map_err(|what| self.violation(what, small_index(here), Some(step)))?
                    as usize;
            }
            let state = self.states[here];
            let finished = state
                .controller
                .as_ref()
                .is_some_and(|it| self.minds.outcome(it).is_some());
            if !ends[here] && !finished {
                let from = small_index(here);
                return Err(self.violation(
                    "nothing more can happen, and the rollout has not ended".into(),
                    from,
                    None,
                ));
            }
            for at in trail {
                ends[at] = true;
            }
        }
        Ok(())
    }

    /// The next thing that a kind environment and a live controller do.
    fn kind_step(&mut self, state: &State) -> Option<Step> {
        let mut steps = Vec::new();
        if state
            .controller
            .as_ref()
            .is_some_and(|it| self.minds.outcome(it).is_some())
        {
            return None;
        }
        self.steps(state, &mut steps).ok()?;
        let rank = |step: &Step| match step {
            Step::Plan => Some(0),
            Step::Return(_) => Some(1),
            Step::Restart(0) => Some(2),
            Step::Carry(_) => Some(3),
            Step::Notice(_) | Step::Find(_) => Some(4),
            Step::Look(_) => Some(5),
            Step::GetReady(..) => Some(6),
            Step::Expire => Some(7),
            _ => None,
        };
        steps
            .into_iter()
            .filter_map(|step| Some((rank(&step)?, step)))
            .min_by_key(|(rank, _)| *rank)
            .map(|it| it.1)
    }

    fn violation(&self, what: String, at: u32, last: Option<Step>) -> Violation {
        let mut way = Vec::new();
        let mut here = at;
        while here != 0 {
            let (from, step) = self.came[here as usize];
            way.push((step, here));
            here = from;
        }
        let mut path = format!(
            "{}: {what}\n    at first: {}\n",
            self.config.name,
            self.picture(&self.states[0])
        );
        for (number, (step, to)) in way.into_iter().rev().enumerate() {
            let state = &self.states[to as usize];
            let from = &self.states[self.came[to as usize].0 as usize];
            let _ = writeln!(
                path,
                "{:>3} {}\n       {}",
                number + 1,
                step.words(from, state),
                self.picture(state)
            );
        }
        if let Some(step) = last {
            let state = &self.states[at as usize];
            let _ = writeln!(path, "  ! {}", step.words(state, state));
            if let (Step::Plan, Some(plan)) = (
                step,
                state
                    .controller
                    .as_ref()
                    .and_then(|controller| self.minds.planned(controller)),
            ) {
                plan.actions.iter().for_each(|action| {
                    let _ = writeln!(path, "      order: {action}");
                });
                let _ = writeln!(path, "      next: {:?}", plan.next);
            }
        }
        Violation { what, path }
    }

    fn picture(&self, state: &State) -> String {
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
