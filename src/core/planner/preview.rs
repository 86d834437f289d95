//! A simulation of a rollout by the planner on a fleet in which every action succeeds.
//!
//! `ship plan` prints it. The simulation has no policy of its own: every action comes from
//! [`plan`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::core::fleet::health::{Health, Verdict};
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{DrainResult, SlotAdmission, TrafficState};
use crate::core::fleet::{Fleet, Instance, Listener, Occupant, Process, Sighting};
use crate::core::ids::{InstanceId, ReleaseId, Revision, Slot, SlotNumber};
use crate::core::planner::census::Census;
use crate::core::planner::{Next, plan};
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::task::{TaskOutcome, TaskRun};
use crate::core::spec::Spec;
use crate::core::spec::step::{FULL_WEIGHT_PERCENT, Step};
use crate::core::time::Time;

/// A simulated rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The actions, in batches that start together.
    pub batches: Vec<Batch>,
    /// The gates of the steps, each with the number of batches before it.
    pub gates: Vec<(usize, Event)>,
    /// The tasks that run, each with the number of batches before it.
    pub tasks: Vec<(usize, String)>,
    /// The fewest instances available at any moment.
    pub fewest_available: u32,
    /// The most instances running at any moment.
    pub most_running: u32,
    /// The loss of a zone that would leave the fewest instances; `None` if there is only one zone.
    pub worst_zone_loss: Option<ZoneLoss>,
    /// The outcome; `None` if the rollout would wait for an event that no action causes.
    pub outcome: Option<Outcome>,
}

/// What is left if a zone is lost at the worst moment of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneLoss {
    pub zone: String,
    /// The instances available in the other zones.
    pub available: u32,
}

/// Actions that start together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub actions: Vec<Action>,
    /// Available instances during the batch: stopping instances are gone, starting ones do not
    /// serve yet.
    pub available: u32,
    /// Running instances during the batch.
    pub running: u32,
}

/// Simulates a rollout from the current state of the fleet.
pub fn preview(spec: &Spec, rollout: &Rollout, fleet: &Fleet, now: Time) -> Preview {
    let mut simulation = Simulation {
        spec,
        rollout: rollout.clone(),
        fleet: fleet.clone(),
        now,
    };
    let mut preview = Preview {
        batches: Vec::new(),
        gates: Vec::new(),
        tasks: Vec::new(),
        fewest_available: u32::MAX,
        most_running: 0,
        worst_zone_loss: None,
        outcome: None,
    };
    for _ in 0..most_rounds(spec) {
        refresh(&mut simulation.fleet, simulation.now);
        let counts = simulation.counts();
        let decided = plan(spec, &simulation.rollout, &simulation.fleet, simulation.now);
        // Each new maximum extends the deadline: a long soak on many hosts may take longer in all.
        simulation.record(Event::Progress(decided.progress));
        preview.count(spec, &counts);
        if decided.actions.is_empty() {
            match simulation.advance(decided.next, &mut preview) {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(()) => break,
            }
        }
        let actions = decided.actions;
        let counts = simulation.perform(&actions, counts);
        preview.count(spec, &counts);
        preview.batches.push(Batch {
            actions,
            available: counts.available(),
            running: counts.running,
        });
    }
    preview
}

/// The limit of rounds. Every batch changes at least one slot, host or release, so that more rounds
/// would be an endless loop.
fn most_rounds(spec: &Spec) -> usize {
    let of_releases = spec.release_slots.values().map(Vec::len).max();
    let slots = spec.slots.len() + of_releases.unwrap_or_default();
    16 + 2 * (spec.steps.len() + spec.tasks.len()) + 16 * spec.hosts.len() * (slots + 1)
}

impl Preview {
    fn count(&mut self, spec: &Spec, counts: &Counts) {
        self.fewest_available = self.fewest_available.min(counts.available());
        self.most_running = self.most_running.max(counts.running);
        let worst = counts.zone_loss().filter(|_| spec.zones.are_several());
        let known = self.worst_zone_loss.take();
        let both = known.into_iter().chain(worst);
        self.worst_zone_loss = both.min_by_key(|loss| loss.available);
    }
}

/// The instances at one moment.
struct Counts {
    /// The available instances of each zone.
    available: BTreeMap<String, u32>,
    running: u32,
}

impl Counts {
    fn available(&self) -> u32 {
        self.available.values().sum()
    }

    /// The loss of the zone with the most available instances.
    fn zone_loss(&self) -> Option<ZoneLoss> {
        let (zone, lost) = self
            .available
            .iter()
            .rev()
            .max_by_key(|(_, count)| **count)?;
        Some(ZoneLoss {
            zone: zone.clone(),
            available: self.available() - lost,
        })
    }
}

/// A simulated rollout and its simulated fleet.
struct Simulation<'a> {
    spec: &'a Spec,
    rollout: Rollout,
    fleet: Fleet,
    now: Time,
}

impl Simulation<'_> {
    fn record(&mut self, event: Event) {
        let at = self.now;
        self.rollout.apply(&Entry { at, event });
    }

    fn counts(&self) -> Counts {
        let census = Census::take(self.spec, &self.rollout, &self.fleet, self.now);
        let zones = self.spec.zones.names().into_iter();
        let mut available: BTreeMap<_, u32> = zones.map(|zone| (zone.to_owned(), 0)).collect();
        for (host, counted) in census.instances() {
            let zone = self.spec.zones.of(host.id).to_owned();
            *available.entry(zone).or_default() += u32::from(counted.is_available);
        }
        Counts {
            available,
            running: census.running,
        }
    }

    /// Carries out the next step of a plan without actions. Ends the simulation if the rollout ends
    /// or waits for an external event.
    fn advance(&mut self, next: Next, preview: &mut Preview) -> ControlFlow<()> {
        match next {
            Next::Finish(outcome) => {
                preview.outcome = Some(outcome);
                return ControlFlow::Break(());
            }
            Next::StepReached(step, instances) => {
                let reached = self.reached(step, instances);
                preview.gates.push((preview.batches.len(), reached.clone()));
                self.record(reached);
                // The preview assumes that a user promotes the rollout.
                self.record(Event::Promoted {
                    by: String::new(),
                    full: false,
                });
            }
            Next::StepPassed => {
                let (step, of) = (self.rollout.step.passed + 1, self.spec.step_count());
                self.record(Event::StepPassed { step, of });
            }
            Next::Run(task) => {
                preview
                    .tasks
                    .push((preview.batches.len(), task.task.clone()));
                self.run(task);
            }
            Next::Wake(at) if at > self.now && self.wakes_in_time(at) => self.now = at,
            Next::Wake(_) | Next::AwaitInFlight | Next::Fail(..) | Next::FailHost(_) => {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn reached(&self, step: Step, instances: u32) -> Event {
        let Step { soak, pause, .. } = step;
        Event::StepReached {
            step: self.rollout.step.passed + 1,
            of: self.spec.step_count(),
            instances,
            soak,
            pause,
        }
    }

    fn run(&mut self, task: TaskRun) {
        self.record(Event::TaskStarted {
            id: self.rollout.next_action_id(),
            task: task.task.clone(),
            host: task.host,
            migration: None,
        });
        self.record(Event::TaskEnded {
            task: task.task,
            end: TaskOutcome::Done,
            migration: None,
            took: Duration::ZERO,
            output: Vec::new(),
        });
    }

    /// Whether more progress will follow. Before a contract migration the fleet soaks although all
    /// instances are in place.
    fn wakes_in_time(&self, at: Time) -> bool {
        let deadline = self.rollout.attempt.last_progress + self.spec.progress_deadline;
        self.rollout.timings.complete_since.is_some() || at < deadline
    }

    /// Carries out the actions of a batch. Returns the counts during the batch.
    fn perform(&mut self, actions: &[Action], mut counts: Counts) -> Counts {
        for action in actions {
            let id = self.rollout.next_action_id();
            let (release, epoch) = (self.rollout.target_release(), self.rollout.epoch);
            let instance = InstanceId::new(&self.spec.service, release, epoch, id);
            let starts = matches!(action, Action::Start { .. });
            let reloads = action.is_reload();
            self.record(Event::ActionStarted {
                id,
                action: action.clone(),
                instance: starts.then(|| instance.clone()),
            });
            let stops = reloads || matches!(action, Action::Drain { .. } | Action::Stop { .. });
            let slot = action.slot().filter(|_| stops);
            let served = slot.is_some_and(|slot| serves(self.spec, &self.fleet, slot, self.now));
            let zone = self.spec.zones.of(action.host());
            if let Some(available) = counts.available.get_mut(zone) {
                *available -= u32::from(served).min(*available);
            }
            counts.running += u32::from(starts && !reloads);
            self.take_effect(action, instance);
            self.record(Event::ActionDone { id });
        }
        counts
    }

    /// Applies an action to the fleet. `name` is that of the instance that it starts.
    fn take_effect(&mut self, action: &Action, name: InstanceId) {
        let host = self.fleet.hosts.entry(action.host().clone()).or_default();
        host.epoch = self.rollout.epoch;
        host.reach = Reach::Reachable;
        match action {
            Action::Claim { .. } => {}
            Action::Disarm { slot } => {
                host.armed.remove(&slot.number);
            }
            Action::Stage { release, .. } => {
                host.releases.insert(release.clone());
            }
            Action::Prune { releases, .. } => {
                host.releases.retain(|release| !releases.contains(release));
            }
            Action::Start { slot, release, .. } => {
                let revision = self.rollout.target_revision();
                let instance = ready_instance(name, release, revision, slot.number, self.now);
                host.slots.insert(slot.number, Occupant::Instance(instance));
            }
            Action::Admit {
                slot,
                weight_percent,
                ..
            } => self.switch(slot, SlotAdmission::Open, *weight_percent),
            Action::Drain { slot, instance, .. } => {
                self.switch(slot, SlotAdmission::Closed, None);
                self.record(Event::Drained {
                    slot: slot.clone(),
                    instance: instance.clone(),
                    result: DrainResult::default(),
                });
            }
            Action::Stop { slot, .. } => {
                host.slots.remove(&slot.number);
            }
        }
    }

    /// Changes a slot on every balancer.
    fn switch(&mut self, slot: &Slot, admission: SlotAdmission, weight_percent: Option<u32>) {
        let Some(traffic) = &self.spec.traffic else {
            return;
        };
        for balancer in traffic.balancers_of(slot) {
            let seen = self.fleet.balancers.entry(balancer.clone()).or_default();
            seen.reach = Reach::Reachable;
            seen.switch(slot, admission, &traffic.balancers);
            if let Some(server) = seen.view.servers.get_mut(slot)
                && let Some(weight) = &mut server.weight_percent
            {
                *weight = weight_percent.unwrap_or(FULL_WEIGHT_PERCENT);
            }
        }
    }
}

/// An instance that is ready at once.
fn ready_instance(
    name: InstanceId,
    release: &ReleaseId,
    revision: Revision,
    slot: SlotNumber,
    now: Time,
) -> Instance {
    Instance {
        name,
        release: release.clone(),
        revision,
        started: now,
        process: Process::Running,
        lingering: None,
        restarts: 0,
        listeners: BTreeMap::from([(
            slot,
            Listener::Own {
                address: "0.0.0.0".into(),
            },
        )]),
        sighting: Sighting {
            at: now,
            ..Sighting::default()
        },
        health: Health {
            passes: u32::MAX,
            failures: 0,
            ready_since: Some(now),
            last: Some((now, Verdict::Pass(String::new()))),
        },
    }
}

/// Renews the probes of every ready instance and the observation of every host.
fn refresh(fleet: &mut Fleet, now: Time) {
    let occupants = fleet
        .hosts
        .values_mut()
        .flat_map(|host| host.slots.values_mut());
    for occupant in occupants {
        let Occupant::Instance(Instance {
            health, sighting, ..
        }) = occupant
        else {
            continue;
        };
        sighting.at = now;
        if let Some((at, _)) = &mut health.last {
            *at = now;
        }
    }
}

/// Whether a slot gets requests and answers them.
fn serves(spec: &Spec, fleet: &Fleet, slot: &Slot, now: Time) -> bool {
    let Some(instance) = fleet.instance(slot) else {
        return false;
    };
    let thresholds = spec.thresholds_of(&instance.release);
    let gets = matches!(
        fleet.traffic_state(spec.traffic.as_ref(), slot),
        TrafficState::Direct | TrafficState::Open
    );
    gets && instance.is_available(now, spec.min_ready, &thresholds)
}
