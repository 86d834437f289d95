//! The actions without a recorded result. Several projections use them.

use std::collections::BTreeMap;

use crate::core::ids::{ActionId, InstanceId, ReleaseId, Slot};
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The actions without a recorded result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingOrders(BTreeMap<ActionId, PendingOrder>);

/// An action without a recorded result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingOrder {
    pub action: Action,
    /// The name of the new instance of a start.
    pub instance: Option<InstanceId>,
    pub since: Time,
}

impl PendingOrders {
    /// Applies the next event of a journal; returns the action whose result the event records.
    pub fn apply(&mut self, entry: &Entry) -> Option<PendingOrder> {
        match &entry.event {
            // A new rollout numbers its actions from 1.
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

    /// The action with this number.
    pub fn get(&self, id: ActionId) -> Option<&PendingOrder> {
        self.0.get(&id)
    }

    /// All actions, in the order of their start.
    pub fn iter(&self) -> impl Iterator<Item = &PendingOrder> {
        self.0.values()
    }
}

impl PendingOrder {
    /// The instance that the action starts, its slot and its release.
    pub fn start(&self) -> Option<(&InstanceId, &Slot, &ReleaseId)> {
        match (&self.action, &self.instance) {
            (Action::Start { slot, release, .. }, Some(instance)) => {
                Some((instance, slot, release))
            }
            _ => None,
        }
    }

    /// The release that the action stages.
    pub fn stages(&self) -> Option<&ReleaseId> {
        match &self.action {
            Action::Stage { release, .. } => Some(release),
            _ => None,
        }
    }

    /// The instance that the action stops.
    pub fn stops(&self) -> Option<&InstanceId> {
        match &self.action {
            Action::Stop { instance, .. } => Some(instance),
            _ => None,
        }
    }

    /// The instance that the action drains.
    pub fn drains(&self) -> Option<&InstanceId> {
        match &self.action {
            Action::Drain { instance, .. } => Some(instance),
            _ => None,
        }
    }
}
