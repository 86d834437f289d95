//! How many orders each host and balancer has had: an observation that began before the last one is
//! out of date.

use std::collections::BTreeMap;

use crate::core::fleet::traffic::Traffic;
use crate::core::ids::{ActionId, HostId};
use crate::core::rollout::action::Action;

/// The orders given so far.
#[derive(Debug, Default)]
pub(super) struct OrderCounts {
    counts: BTreeMap<HostId, u64>,
    /// What the balancers of each order under way had had, with this order, when it was given.
    at_start: BTreeMap<ActionId, Vec<u64>>,
}

impl OrderCounts {
    /// How many a host or balancer has had.
    pub(super) fn of(&self, host: &HostId) -> u64 {
        self.counts.get(host).copied().unwrap_or(0)
    }

    /// An order is given: observations of its host and of its slot's balancers that began before
    /// are out of date.
    pub(super) fn start(&mut self, id: ActionId, action: &Action, traffic: Option<&Traffic>) {
        *self.counts.entry(action.host().clone()).or_default() += 1;
        self.invalidate_balancers(action, traffic);
        self.at_start.insert(id, self.of_balancers(action, traffic));
    }

    /// An order has ended: what the balancers said while it was under way may be of before. Says
    /// whether it is the newest that they were given; what was ordered of them meanwhile may have
    /// come after this order's own look at them.
    pub(super) fn end(
        &mut self,
        id: ActionId,
        action: Option<&Action>,
        traffic: Option<&Traffic>,
    ) -> bool {
        let at_start = self.at_start.remove(&id).unwrap_or_default();
        let Some(action) = action else {
            return false;
        };
        let is_newest = self.of_balancers(action, traffic) == at_start;
        self.invalidate_balancers(action, traffic);
        is_newest
    }

    fn of_balancers(&self, action: &Action, traffic: Option<&Traffic>) -> Vec<u64> {
        let Some((traffic, slot)) = traffic.zip(action.slot()) else {
            return Vec::new();
        };
        traffic
            .balancers_of(slot)
            .iter()
            .map(|balancer| self.of(balancer))
            .collect()
    }

    fn invalidate_balancers(&mut self, action: &Action, traffic: Option<&Traffic>) {
        let Some((traffic, slot)) = traffic.zip(action.slot()) else {
            return;
        };
        for balancer in traffic
            .balancers_of(slot)
            .iter()
            .filter(|balancer| *balancer != action.host())
        {
            *self.counts.entry(balancer.clone()).or_default() += 1;
        }
    }
}
