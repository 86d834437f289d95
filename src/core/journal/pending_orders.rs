//! The orders of a rollout that have no recorded end yet. Several projections use them.

use std::collections::BTreeMap;

use crate::core::ids::{ActionId, InstanceId, ReleaseId, Slot};
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The orders that have no recorded end yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingOrders(BTreeMap<ActionId, PendingOrder>);

/// An order that has no recorded end yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingOrder {
    pub action: Action,
    /// The name of the instance that a start makes.
    pub instance: Option<InstanceId>,
    pub since: Time,
}

impl PendingOrders {
    /// Takes in the next event of a journal; gives the order whose end it tells.
    pub fn apply(&mut self, entry: &Entry) -> Option<PendingOrder> {
        match &entry.event {
            // A new rollout numbers its orders from the start.
            Event::RolloutStarted(_) => self.0.clear(),
            Event::ActionStarted {
                id,
                action,
                instance,
            } => {
                let order = PendingOrder {
                    action: action.clone(),
                    instance: instance.clone(),
                    since: entry.at,
                };
                self.0.insert(*id, order);
            }
            Event::ActionDone { id }
            | Event::ActionFailed { id, .. }
            | Event::ActionUnknown { id, .. } => return self.0.remove(id),
            _ => {}
        }
        None
    }

    /// The order of this number.
    pub fn get(&self, id: ActionId) -> Option<&PendingOrder> {
        self.0.get(&id)
    }

    /// All of them, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &PendingOrder> {
        self.0.values()
    }
}

impl PendingOrder {
    /// The instance that it starts, where, and of which release.
    pub fn start(&self) -> Option<(&InstanceId, &Slot, &ReleaseId)> {
        match (&self.action, &self.instance) {
            (Action::Start { slot, release }, Some(instance)) => Some((instance, slot, release)),
            _ => None,
        }
    }

    /// The release that it stages on a host.
    pub fn stages(&self) -> Option<&ReleaseId> {
        match &self.action {
            Action::Stage { release, .. } => Some(release),
            _ => None,
        }
    }

    /// The instance that it stops.
    pub fn stops(&self) -> Option<&InstanceId> {
        match &self.action {
            Action::Stop { instance, .. } => Some(instance),
            _ => None,
        }
    }

    /// The instance that it drains.
    pub fn drains(&self) -> Option<&InstanceId> {
        match &self.action {
            Action::Drain { instance, .. } => Some(instance),
            _ => None,
        }
    }
}
