//! The actions in flight, which an observation of the fleet does not show.

use std::collections::BTreeSet;

use crate::core::ids::InstanceId;
use crate::core::journal::pending_orders::{PendingOrder, PendingOrders};
use crate::core::rollout::event::{Entry, Event};

/// Starts, drains and stops in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingActions {
    orders: PendingOrders,
    /// Instances that were started and have not been ready yet.
    starting: BTreeSet<InstanceId>,
}

impl PendingActions {
    /// Applies the next event of the current rollout.
    pub fn apply(&mut self, entry: &Entry) {
        self.orders.apply(entry);
        match &entry.event {
            Event::ActionStarted {
                instance: Some(instance),
                ..
            } => {
                self.starting.insert(instance.clone());
            }
            Event::InstanceReady { instance, .. } => {
                self.starting.remove(instance);
            }
            // An instance that is not ready at the end of a rollout no longer counts as starting.
            // Actions that were not awaited, as after a second Ctrl-C, are still in flight.
            Event::RolloutStarted(_) | Event::RolloutFinished { .. } => self.starting.clear(),
            _ => {}
        }
    }

    /// The starts in flight.
    pub(super) fn starts(&self) -> impl Iterator<Item = &PendingOrder> {
        self.orders.iter().filter(|order| order.start().is_some())
    }

    /// Whether an instance was started and has not been ready yet.
    pub(super) fn is_starting(&self, instance: &InstanceId) -> bool {
        self.starting.contains(instance)
    }

    pub(super) fn is_draining(&self, instance: &InstanceId) -> bool {
        let mut drained = self.orders.iter().filter_map(PendingOrder::drains);
        drained.any(|drained| drained == instance)
    }

    pub(super) fn is_stopping(&self, instance: &InstanceId) -> bool {
        let mut stopped = self.orders.iter().filter_map(PendingOrder::stops);
        stopped.any(|stopped| stopped == instance)
    }
}
