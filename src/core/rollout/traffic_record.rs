//! The admissions and drains of instances, for balancers that do not report them.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::InstanceId;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::spec::step::FULL_WEIGHT_PERCENT;

/// The admissions and drains of instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficRecord {
    /// Instances without open requests: drained, or not admitted yet.
    pub drained: BTreeSet<InstanceId>,
    /// The weights with which instances were admitted, in percent.
    pub weights: BTreeMap<InstanceId, u32>,
}

impl TrafficRecord {
    /// Applies the next event; returns whether it is progress.
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
            // Only the first drain of an instance is progress, because another process may admit
            // the instance again and again.
            Event::Drained { instance, .. } => self.drained.insert(instance.clone()),
            _ => false,
        }
    }
}
