//! The machines that cannot be reached.

use std::collections::BTreeMap;

use crate::core::ids::HostId;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// Since when which hosts and balancers cannot be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages(BTreeMap<HostId, Time>);

impl Outages {
    /// Takes in the next event. Returns since when the machine that it reports as found was lost.
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

    /// Since when a machine cannot be reached; `None` if it can be.
    pub fn since(&self, machine: &HostId) -> Option<Time> {
        self.0.get(machine).copied()
    }

    /// The machines, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&HostId, Time)> {
        self.0.iter().map(|(machine, since)| (machine, *since))
    }
}
