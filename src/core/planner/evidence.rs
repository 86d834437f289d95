//! Which hosts are looked at again before something is decided on the answers of their instances.

use std::collections::BTreeSet;

use super::Draft;
use crate::core::planner::census::Counted;

impl Draft<'_> {
    /// Has the hosts of the available instances looked at that nobody has confirmed.
    pub(super) fn look_at_unconfirmed(&mut self) {
        let census = self.census;
        let unconfirmed = census
            .instances()
            .filter(|(_, counted)| counted.is_available && !census.is_confirmed(counted));
        self.looks
            .extend(unconfirmed.map(|(host, _)| host.id.clone()));
    }

    /// Has the hosts looked at where an instance has been ready for long enough, by its answers
    /// alone.
    pub(super) fn look_after_soak(&mut self) {
        let soaked = self.census.instances().filter(|(host, counted)| {
            let from = counted
                .instance
                .available_from(self.spec.min_ready)
                .filter(|from| *from <= self.now);
            host.is_reachable()
                && counted.is_ready
                && from.is_some_and(|from| counted.instance.sighting.at < from)
        });
        if !self.spec.min_ready.is_zero() {
            self.looks.extend(soaked.map(|(host, _)| host.id.clone()));
        }
    }

    /// Whether every instance that this rollout started was seen to run after the newest became
    /// available, and each of the others is confirmed. If not, their hosts are looked at before the
    /// rollout is called complete.
    pub(super) fn saw_all_started(&mut self) -> bool {
        let census = self.census;
        let is_due = |counted: &Counted<'_>| {
            let is_started = self
                .rollout
                .attempt
                .started
                .contains_key(&counted.instance.name);
            if is_started {
                !census.was_seen(counted)
            } else {
                !census.is_confirmed(counted)
            }
        };
        let unseen = census.instances().filter(|(host, counted)| {
            host.is_reachable() && counted.is_new && counted.is_available && is_due(counted)
        });
        let unseen: BTreeSet<_> = unseen.map(|(host, _)| host.id.clone()).collect();
        let saw_all = unseen.is_empty();
        self.looks.extend(unseen);
        saw_all
    }
}
