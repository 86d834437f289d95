//! The unreachable hosts and balancers.

use std::collections::BTreeMap;

use crate::core::ids::HostId;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The unreachable hosts and balancers, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages(BTreeMap<HostId, Time>);

impl Outages {
    /// Applies the next event. For a machine that is reachable again, returns since when it was not.
    pub fn apply(&mut self, entry: &Entry) -> Option<Time> {
        match &entry.event {
            Event::HostLost { host: machine, .. }
            | Event::BalancerLost {
                balancer: machine, ..
            } => {
                self.0.entry(machine.clone()).or_insert(entry.at);
                None
            }
            Event::HostRecovered { host: machine }
            | Event::BalancerRecovered { balancer: machine } => self.0.remove(machine),
            _ => None,
        }
    }

    /// Since when a machine is unreachable; `None` if it is reachable.
    pub fn since(&self, machine: &HostId) -> Option<Time> {
        self.0.get(machine).copied()
    }

    /// The machines, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&HostId, Time)> {
        self.0.iter().map(|(machine, since)| (machine, *since))
    }
}
