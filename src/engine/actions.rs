//! Tracks actions from the plan to their results.

use std::time::Duration;

use super::executor::{ActionOrder, ActionResult};
use super::hooks;
use super::observer::FleetObserver;
use super::order_counts::OrderCounts;
use super::recorder::Recorder;
use crate::balancer::SlotViews;
use crate::core::fleet::traffic::DrainResult;
use crate::core::fleet::{Instance, Observation};
use crate::core::ids::{ActionId, HostId, InstanceId, Slot};
use crate::core::release::patch::Transfer;
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::Event;
use crate::core::spec::Spec;
use crate::core::time::Time;
use crate::remote::HostUnavailable;

/// The actions that are recorded or in flight.
#[derive(Default)]
pub(super) struct ActionTracker {
    counts: OrderCounts,
    /// Actions that are sent once their start has been saved.
    unsent: Vec<ActionOrder>,
}

/// An action that has ended, as its background task reports it.
pub(super) struct EndedAction {
    pub(super) id: ActionId,
    pub(super) host: HostId,
    pub(super) result: ActionResult,
    pub(super) begun: Time,
}

/// An action that has ended, and what its result updates.
struct ActionEnd<'a> {
    id: ActionId,
    host: &'a HostId,
    action: Option<&'a Action>,
    /// Whether no newer action was sent to the balancers of its slot in the meantime.
    is_newest: bool,
    begun: Time,
    observer: &'a mut FleetObserver,
    recorder: &'a mut Recorder,
}

impl ActionTracker {
    /// The number of actions that were sent to a host or balancer.
    pub(super) fn order_count(&self, host: &HostId) -> u64 {
        self.counts.count(host)
    }

    /// Records the start of an action. The action is sent once the record is saved.
    pub(super) fn begin(&mut self, action: Action, spec: &Spec, recorder: &mut Recorder) {
        let rollout = recorder.rollout();
        let (id, epoch) = (rollout.next_action_id(), rollout.epoch);
        let instance = match &action {
            Action::Start { release, .. } => {
                let name = InstanceId::new(&spec.service, release, epoch, id);
                Some((rollout.revision_of(release), name))
            }
            _ => None,
        };
        recorder.record(Event::ActionStarted {
            id,
            action: action.clone(),
            instance: instance.as_ref().map(|(_, name)| name.clone()),
        });
        self.counts.start(id, &action, spec.traffic.as_ref());
        self.unsent.push(ActionOrder {
            id,
            action,
            epoch,
            instance,
            progress_deadline: spec.progress_deadline,
        });
    }

    /// Takes the actions that are sent once their start has been saved.
    pub(super) fn take_unsent(&mut self) -> Vec<ActionOrder> {
        std::mem::take(&mut self.unsent)
    }

    /// Records the result of an action.
    pub(super) fn end(
        &mut self,
        ended: EndedAction,
        spec: &Spec,
        observer: &mut FleetObserver,
        recorder: &mut Recorder,
    ) {
        let EndedAction {
            id,
            host,
            mut result,
            begun,
        } = ended;
        let stops = unresolved_stops(recorder.rollout(), &host);
        let in_flight = recorder.rollout().orders.in_flight.get(&id);
        let action = in_flight.map(|in_flight| in_flight.action.clone());
        let is_newest = self.counts.end(id, action.as_ref(), spec.traffic.as_ref());
        let runs = result.take_hooks();
        for event in hooks::events(&spec.service, recorder.rollout(), id, action.as_ref(), runs) {
            recorder.record(event);
        }
        let end = ActionEnd {
            id,
            host: &host,
            action: action.as_ref(),
            is_newest,
            begun,
            observer,
            recorder,
        };
        end.apply(result);
        observer.mark_uncertain(stops, recorder.now());
    }
}

impl ActionEnd<'_> {
    fn apply(mut self, result: ActionResult) {
        let id = self.id;
        match result {
            ActionResult::Done(observation) => {
                let killed_after = observation.killed_after;
                self.record_transfer(observation.transfer.clone());
                self.host_observed(Some(observation));
                self.record_stop(killed_after);
                self.recorder.record(Event::ActionDone { id });
            }
            ActionResult::Failed { error, observation } => {
                self.host_observed(observation);
                self.recorder.record(Event::ActionFailed { id, error });
            }
            ActionResult::Fenced { seen } => {
                self.recorder.record(Event::Fenced {
                    host: self.host.clone(),
                    seen,
                });
                self.recorder.record(Event::ActionFailed {
                    id,
                    error: format!("rejected: the host has seen the newer epoch {seen}"),
                });
            }
            ActionResult::Switched {
                views,
                drain_result,
                observation,
            } => {
                self.host_observed(observation);
                self.balancers_observed(views);
                self.record_drained(drain_result);
                self.recorder.record(Event::ActionDone { id });
            }
            ActionResult::BalancerLost { balancer, why } => {
                self.record_unknown(&why);
                let lost = Err(HostUnavailable { why });
                self.observer
                    .balancer_observed(&balancer, lost, self.recorder);
            }
            ActionResult::Busy { why } => {
                self.record_unknown(&why);
                self.observer.observe_host_now(self.host);
            }
            ActionResult::Unknown { why } => {
                self.record_unknown(&why);
                self.observer.action_unknown(self.host, why, self.recorder);
            }
        }
    }

    fn host_observed(&mut self, observation: Option<Observation>) {
        if let Some(observation) = observation {
            self.observer
                .action_answered(self.host, observation, self.begun, self.recorder);
        }
    }

    fn balancers_observed(&mut self, views: SlotViews) {
        let slot = self.action.and_then(Action::slot);
        let slot = slot.filter(|_| !self.is_newest);
        for (balancer, view) in views {
            match slot {
                Some(slot) => {
                    self.observer
                        .balancer_observed_in(&balancer, slot, &view, self.recorder);
                }
                None => self
                    .observer
                    .balancer_observed(&balancer, Ok(view), self.recorder),
            }
        }
    }

    fn record_drained(&mut self, drain_result: Option<DrainResult>) {
        if let (Some(drain_result), Some(Action::Drain { slot, instance, .. })) =
            (drain_result, self.action)
        {
            self.recorder.record(Event::Drained {
                slot: slot.clone(),
                instance: instance.clone(),
                result: drain_result,
            });
        }
    }

    /// Records a stop after which the instance lingers or was killed.
    fn record_transfer(&mut self, transfer: Option<Transfer>) {
        if let Some(transfer) = transfer {
            let host = self.host.clone();
            self.recorder.record(Event::Transferred { host, transfer });
        }
    }

    fn record_stop(&mut self, killed_after: Option<Duration>) {
        let Some(Action::Stop { slot, instance, .. }) = self.action else {
            return;
        };
        let (slot, instance) = (slot.clone(), instance.clone());
        let stopped = self.observer.fleet().instance(&slot);
        let stopped = stopped.filter(|stopped| stopped.name == instance);
        if let Some(lingering) = stopped.and_then(Instance::lingers) {
            self.recorder.record(Event::InstanceLingers {
                slot,
                instance,
                linger: lingering.ends_by.since(lingering.since),
            });
        } else if let Some(after) = killed_after {
            self.recorder.record(Event::InstanceKilled {
                slot,
                instance,
                after,
            });
        }
    }

    fn record_unknown(&mut self, why: &str) {
        self.recorder.record(Event::ActionUnknown {
            id: self.id,
            why: why.to_owned(),
        });
    }
}

/// The instances on a host for which a stop was sent whose result is not known.
fn unresolved_stops(rollout: &Rollout, host: &HostId) -> Vec<(Slot, InstanceId)> {
    let in_flight = rollout
        .orders
        .in_flight
        .values()
        .map(|in_flight| &in_flight.action);
    let ordered = in_flight
        .chain(&rollout.orders.unknown)
        .filter(|action| action.host() == host);
    let stops = ordered.filter_map(|action| match action {
        Action::Stop { slot, instance, .. } => Some((slot.clone(), instance.clone())),
        _ => None,
    });
    stops.collect()
}
