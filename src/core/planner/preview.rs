//! What a rollout would do, played through with the planner itself on a fleet where everything goes
//! well.
//!
//! `ship plan` prints it. It is no second policy: every order in it comes from [`plan`].

use std::time::Duration;

use crate::core::fleet::health::{Health, Verdict};
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{Gate, Receipt, Stream};
use crate::core::fleet::{Fleet, Instance, Listener, Occupant, Process, Sighting};
use crate::core::ids::{InstanceId, Slot};
use crate::core::planner::census::Census;
use crate::core::planner::{Next, plan};
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::task;
use crate::core::spec::Spec;
use crate::core::spec::step::Step;
use crate::core::time::Time;

/// A rollout played through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What would be ordered, in order; the orders of a batch go out together.
    pub batches: Vec<Batch>,
    /// The steps that are reached, each after so many batches.
    pub gates: Vec<(usize, Event)>,
    /// What would be done once, each after so many batches.
    pub chores: Vec<(usize, String)>,
    /// The fewest instances available at any moment.
    pub worst_available: u32,
    /// The most instances running at any moment.
    pub most_running: u32,
    /// How it would end; `None` if it would wait for something that only the world can change.
    pub outcome: Option<Outcome>,
}

/// Orders that go out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The orders.
    pub actions: Vec<Action>,
    /// Available instances while they are carried out: what stops is gone, what starts does not
    /// serve yet.
    pub available: u32,
    /// Running instances while they are carried out.
    pub running: u32,
}

/// Plays a rollout through from the fleet as it is.
pub fn preview(spec: &Spec, rollout: &Rollout, fleet: &Fleet, now: Time) -> Preview {
    let (mut rollout, mut fleet, mut now) = (rollout.clone(), fleet.clone(), now);
    let mut preview = Preview {
        batches: Vec::new(),
        gates: Vec::new(),
        chores: Vec::new(),
        worst_available: u32::MAX,
        most_running: 0,
        outcome: None,
    };
    // Every batch changes at least one slot, host or release; more rounds than that would be going
    // in circles.
    let ports = spec.ports.len()
        + spec
            .release_ports
            .values()
            .map(Vec::len)
            .max()
            .unwrap_or_default();
    let rounds =
        16 + 2 * (spec.steps.len() + spec.chores.len()) + 16 * spec.hosts.len() * (ports + 1);
    for _ in 0..rounds {
        refresh(&mut fleet, now);
        let census = Census::take(spec, &rollout, &fleet, now);
        let (available, running) = (census.available, census.running);
        let decided = plan(spec, &rollout, &fleet, now);
        // Each new best puts off the deadline: a long soak on many hosts may take longer in all.
        rollout.apply(&Entry {
            at: now,
            event: Event::Progress(decided.progress),
        });
        preview.worst_available = preview.worst_available.min(available);
        preview.most_running = preview.most_running.max(running);
        if decided.actions.is_empty() {
            match decided.next {
                Next::Finish(outcome) => {
                    preview.outcome = Some(outcome);
                    break;
                }
                Next::StepReached(Step { soak, pause, .. }, instances) => {
                    let (step, of) = (rollout.step.passed + 1, spec.step_count());
                    let reached = Event::StepReached {
                        step,
                        of,
                        instances,
                        soak,
                        pause,
                    };
                    preview.gates.push((preview.batches.len(), reached.clone()));
                    rollout.apply(&Entry {
                        at: now,
                        event: reached,
                    });
                    // In the preview a person says yes.
                    rollout.apply(&Entry {
                        at: now,
                        event: Event::Promoted {
                            by: String::new(),
                            full: false,
                        },
                    });
                    continue;
                }
                Next::StepPassed => {
                    let (step, of) = (rollout.step.passed + 1, spec.step_count());
                    rollout.apply(&Entry {
                        at: now,
                        event: Event::StepPassed { step, of },
                    });
                    continue;
                }
                Next::Run(errand) => {
                    let (chore, host) = (errand.chore, errand.host);
                    preview.chores.push((preview.batches.len(), chore.clone()));
                    let (id, took) = (rollout.next_action_id(), Duration::ZERO);
                    let (begun, end) = (chore.clone(), task::End::Done);
                    let started = Event::ChoreStarted {
                        id,
                        chore: begun,
                        host,
                        migration: None,
                    };
                    let ended = Event::ChoreEnded {
                        chore,
                        end,
                        migration: None,
                        took,
                        output: Vec::new(),
                    };
                    for event in [started, ended] {
                        rollout.apply(&Entry { at: now, event });
                    }
                    continue;
                }
                // Before a contract the fleet soaks though all is in place.
                Next::Wake(at) if at > now && rollout.timings.complete_since.is_some() => now = at,
                Next::Wake(at)
                    if at > now && at < rollout.attempt.last_progress + spec.progress_deadline =>
                {
                    now = at;
                }
                Next::Wake(_) | Next::AwaitInFlight | Next::Fail(..) | Next::Quarantine(_) => break,
            }
            continue;
        }
        let batch = perform(
            spec,
            &mut rollout,
            &mut fleet,
            now,
            decided.actions,
            available,
            running,
        );
        preview.worst_available = preview.worst_available.min(batch.available);
        preview.most_running = preview.most_running.max(batch.running);
        preview.batches.push(batch);
    }
    preview
}

/// Everything that was ready answers again, and every host is looked at again.
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

fn perform(
    spec: &Spec,
    rollout: &mut Rollout,
    fleet: &mut Fleet,
    now: Time,
    actions: Vec<Action>,
    mut available: u32,
    mut running: u32,
) -> Batch {
    for action in &actions {
        let id = rollout.next_action_id();
        let instance = InstanceId::new(&spec.service, rollout.target_release(), rollout.epoch, id);
        let started = matches!(action, Action::Start { .. }).then(|| instance.clone());
        rollout.apply(&Entry {
            at: now,
            event: Event::ActionStarted {
                id,
                action: action.clone(),
                instance: started,
            },
        });
        let served = action
            .slot()
            .is_some_and(|slot| serves(spec, fleet, slot, now));
        let host = fleet.hosts.entry(action.host().clone()).or_default();
        host.epoch = rollout.epoch;
        host.reach = Reach::Reachable;
        match action {
            Action::Claim { .. } => {}
            Action::Disarm { slot } => {
                host.armed.remove(&slot.port);
            }
            Action::Stage { release, .. } => {
                host.releases.insert(release.clone());
            }
            Action::Prune { releases, .. } => {
                host.releases.retain(|release| !releases.contains(release));
            }
            Action::Start { slot, release } => {
                running += 1;
                host.slots.insert(
                    slot.port,
                    Occupant::Instance(Instance {
                        name: instance,
                        release: release.clone(),
                        revision: rollout.target_revision(),
                        started: now,
                        process: Process::Running,
                        restarts: 0,
                        listener: Listener::Own {
                            address: "0.0.0.0".into(),
                        },
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
                    }),
                );
            }
            Action::Admit {
                slot,
                weight_percent,
                ..
            } => switch(spec, fleet, slot, Gate::Open, *weight_percent),
            Action::Drain { slot, instance, .. } => {
                available -= u32::from(served).min(available);
                switch(spec, fleet, slot, Gate::Closed, None);
                let (slot, instance) = (slot.clone(), instance.clone());
                rollout.apply(&Entry {
                    at: now,
                    event: Event::Drained {
                        slot,
                        instance,
                        receipt: Receipt::default(),
                    },
                });
            }
            Action::Stop { slot, .. } => {
                available -= u32::from(served).min(available);
                host.slots.remove(&slot.port);
            }
        }
        rollout.apply(&Entry {
            at: now,
            event: Event::ActionDone { id },
        });
    }
    Batch {
        actions,
        available,
        running,
    }
}

/// Whether requests come to a slot and are answered.
fn serves(spec: &Spec, fleet: &Fleet, slot: &Slot, now: Time) -> bool {
    let Some(instance) = fleet.instance(slot) else {
        return false;
    };
    let thresholds = spec.thresholds_of(&instance.release);
    let gets = matches!(
        fleet.stream(spec.traffic.as_ref(), slot),
        Stream::Direct | Stream::Open
    );
    gets && instance.is_available(now, spec.min_ready, &thresholds)
}

/// Every balancer of a slot does as it is told.
fn switch(spec: &Spec, fleet: &mut Fleet, slot: &Slot, gate: Gate, weight_percent: Option<u32>) {
    let Some(traffic) = &spec.traffic else { return };
    for balancer in traffic.balancers_of(slot) {
        let seen = fleet.balancers.entry(balancer.clone()).or_default();
        seen.reach = Reach::Reachable;
        seen.switch(slot, gate, &traffic.balancers);
        if let Some(server) = seen.view.servers.get_mut(slot)
            && let Some(weight) = &mut server.weight_percent
        {
            *weight = weight_percent.unwrap_or(100);
        }
    }
}
