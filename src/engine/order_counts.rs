//! Counts the actions that were sent to each host and balancer. An observation that began before
//! the latest action is outdated.

use std::collections::BTreeMap;

use crate::core::fleet::traffic::Traffic;
use crate::core::ids::{ActionId, HostId};
use crate::core::rollout::action::Action;

/// The number of actions that were sent to each host and balancer.
#[derive(Debug, Default)]
pub(super) struct OrderCounts {
    counts: BTreeMap<HostId, u64>,
    /// For each action in flight, the counts of its balancers when it was sent, including itself.
    at_start: BTreeMap<ActionId, Vec<u64>>,
}

impl OrderCounts {
    /// The number of actions that were sent to a host or balancer.
    pub(super) fn count(&self, host: &HostId) -> u64 {
        self.counts.get(host).copied().unwrap_or(0)
    }

    /// Counts an action when it is sent. Observations of its host and of the balancers of its slot
    /// that began earlier become outdated.
    pub(super) fn start(&mut self, id: ActionId, action: &Action, traffic: Option<&Traffic>) {
        *self.counts.entry(action.host().clone()).or_default() += 1;
        self.invalidate_balancers(action, traffic);
        self.at_start
            .insert(id, self.balancer_counts(action, traffic));
    }

    /// Counts the end of an action: observations of its balancers that were made during the action
    /// become outdated. Returns whether no newer action was sent to its balancers: a newer one may
    /// have changed them after this one observed them.
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
        let is_newest = self.balancer_counts(action, traffic) == at_start;
        self.invalidate_balancers(action, traffic);
        is_newest
    }

    fn balancer_counts(&self, action: &Action, traffic: Option<&Traffic>) -> Vec<u64> {
        let Some((traffic, slot)) = traffic.zip(action.slot()) else {
            return Vec::new();
        };
        traffic
            .balancers_of(slot)
            .iter()
            .map(|balancer| self.count(balancer))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::fleet::traffic::Balancers;
    use crate::core::ids::Slot;

    fn admit(number: u16) -> Action {
        Action::Admit {
            slot: Slot::new("web1", number),
            instance: "i".into(),
            weight_percent: None,
        }
    }

    #[test]
    fn action_is_newest_until_its_balancer_receives_another() {
        let traffic = Traffic {
            balancers: Balancers::Shared(vec!["lb1".into()]),
            drain_timeout: Duration::ZERO,
        };
        let traffic = Some(&traffic);
        let mut counts = OrderCounts::default();
        let (first, second) = (admit(8081), admit(8082));
        counts.start(ActionId(1), &first, traffic);
        counts.start(ActionId(2), &second, traffic);
        assert!(!counts.end(ActionId(1), Some(&first), traffic));
        counts.start(ActionId(3), &first, traffic);
        assert!(counts.end(ActionId(3), Some(&first), traffic));
    }

    #[test]
    fn observation_is_outdated_after_an_action_starts_and_ends() {
        let traffic = Traffic {
            balancers: Balancers::Shared(vec!["lb1".into()]),
            drain_timeout: Duration::ZERO,
        };
        let (host, balancer) = ("web1".into(), "lb1".into());
        let mut counts = OrderCounts::default();
        counts.start(ActionId(1), &admit(8081), Some(&traffic));
        assert_eq!((counts.count(&host), counts.count(&balancer)), (1, 1));
        counts.end(ActionId(1), Some(&admit(8081)), Some(&traffic));
        assert_eq!((counts.count(&host), counts.count(&balancer)), (1, 2));
    }
}
