//! What the balancers were ordered about the instances, where they do not report it themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::InstanceId;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::spec::step::FULL_WEIGHT_PERCENT;

/// The orders that the balancers were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficRecord {
    /// Instances without requests under way: drained, or not admitted yet.
    pub drained: BTreeSet<InstanceId>,
    /// The weights with which instances were admitted, in percent.
    pub weights: BTreeMap<InstanceId, u32>,
}

impl TrafficRecord {
    /// Takes in the next event; returns whether it is progress.
    pub(super) fn apply(&mut self, entry: &Entry) -> bool {
        match &entry.event {
            Event::ActionStarted {
                action, instance, ..
            } => {
                if let Action::Admit {
                    instance,
                    weight_percent,
                    ..
                } = action
                {
                    let weight = weight_percent.unwrap_or(FULL_WEIGHT_PERCENT);
                    self.weights.insert(instance.clone(), weight);
                    self.drained.remove(instance);
                }
                self.drained.extend(instance.clone());
                false
            }
            // Once an instance: one that somebody opens again and again is no progress.
            Event::Drained { instance, .. } => self.drained.insert(instance.clone()),
            _ => false,
        }
    }
}
