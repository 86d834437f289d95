//! When a rollout is complete, and what is cleared away then.

use std::collections::BTreeSet;

use super::Draft;
use crate::core::fleet::Host;
use crate::core::ids::{Port, ReleaseId, Slot};
use crate::core::planner::census::{Counted, HostCount};
use crate::core::rollout::action::Action;

/// Where hosts are told to forget the instances that they would bring back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// In slots in which a wanted instance serves.
    WhereServed,
    /// In slots where that would get in the way of what this rollout, alive as it is, does itself:
    /// they were armed by an earlier one, or before this one turned back, or the time is nearly up.
    WhereInTheWay,
    /// In all.
    Everywhere,
}

impl Draft<'_> {
    pub(super) fn is_complete(&self) -> bool {
        let census = self.census;
        // Where every host is left behind, nothing is wanted any more, and nothing is in place.
        (census.desired > 0 || self.budget.replicas == 0)
            && census.new == census.desired
            && self.serves()
            && (census.missing().is_empty()
                && census.surplus().is_empty()
                && self.lightest().is_none())
            && census.hosts.iter().all(|host| self.has_nothing_else(host))
            && self
                .rollout
                .orders
                .in_flight
                .values()
                .all(|in_flight| in_flight.action.slot().is_none())
    }

    /// Whether all that is wanted serves. A change of numbers does not wait for what was there
    /// before.
    fn serves(&self) -> bool {
        let census = self.census;
        let is_young = |counted: &Counted<'_>| {
            self.rollout
                .attempt
                .started
                .contains_key(&counted.instance.name)
        };
        census.new_available == census.desired
            || self.rollout.scaling.is_some()
                && census
                    .instances()
                    .all(|(_, counted)| counted.is_available || !is_young(counted))
    }

    /// Whether nothing is on a host that should not be there. On one that is left behind that may
    /// not be in ship's hands: where others have no room for all replicas, what runs there stays.
    pub(super) fn has_nothing_else(&self, host: &HostCount<'_>) -> bool {
        if host.is_written_off() || !host.takes_part() && self.census.desired < self.budget.replicas
        {
            return true;
        }
        let leftover = |counted: &&Counted<'_>| !(counted.is_new && counted.is_running);
        !host.instances.iter().any(|counted| {
            leftover(&counted) && (host.takes_part() || !self.has_failed_to_stop(counted))
        }) && host.doubtful.is_empty()
    }

    /// Makes the hosts in reach refuse the orders of earlier controllers, where they do not yet.
    pub(super) fn claim(&mut self) {
        for host in &self.census.hosts {
            if host.is_idle() && host.epoch() < self.rollout.epoch && !self.has_failed(host.id) {
                self.order(Action::Claim {
                    host: host.id.clone(),
                });
            }
        }
    }

    /// Removes from the hosts what the history no longer keeps. Not on the way back: first let a
    /// person look.
    pub(super) fn prune(&mut self) {
        if self.is_backwards() {
            return;
        }
        for host in &self.census.hosts {
            let may_forget = |seen: &&Host| {
                host.is_idle()
                    && !self.rollout.orders.pruned.contains(host.id)
                    && seen.armed.is_empty()
            };
            let Some(seen) = host.host.filter(may_forget) else {
                continue;
            };
            let runs = |release: &ReleaseId| {
                host.instances
                    .iter()
                    .any(|counted| counted.instance.release == *release)
            };
            let stays = |release: &ReleaseId| {
                self.spec.keep.contains(release)
                    || release == self.rollout.target_release()
                    || runs(release)
            };
            let releases: BTreeSet<_> = seen
                .releases
                .iter()
                .filter(|release| !stays(release))
                .cloned()
                .collect();
            if !releases.is_empty() {
                self.order(Action::Prune {
                    host: host.id.clone(),
                    releases,
                });
            }
        }
    }

    /// Tells hosts to forget the instances that they would bring back.
    pub(super) fn disarm(&mut self, scope: Scope) {
        for host in self.census.hosts.iter().filter(|host| host.is_idle()) {
            let armed = host.host.into_iter().flat_map(|seen| &seen.armed).copied();
            let tried = |slot: &Slot| {
                let is_it = |action: &Action| matches!(action, Action::Disarm { slot: tried } if tried == slot);
                self.rollout
                    .attempt
                    .failed
                    .iter()
                    .any(|failed| is_it(&failed.action))
            };
            let is_due = |port: &Port| match scope {
                Scope::WhereServed => {
                    // The target may have other ports: then any wanted instance of the host stands
                    // for the one before.
                    let is_target_port = self
                        .spec
                        .ports_of(self.rollout.target_release())
                        .contains(port);
                    host.serves_anew(*port) || !is_target_port && host.serves_anywhere()
                }
                Scope::WhereInTheWay => {
                    let slot = Slot {
                        host: host.id.clone(),
                        port: *port,
                    };
                    self.rollout
                        .attempt
                        .armed
                        .get(&slot)
                        .is_none_or(|fires| Self::must_decide_by(*fires) <= self.now)
                }
                Scope::Everywhere => true,
            };
            let slots = armed.filter(is_due).map(|port| Slot {
                host: host.id.clone(),
                port,
            });
            if let Some(slot) = slots.into_iter().find(|slot| !tried(slot)) {
                self.order(Action::Disarm { slot });
            }
        }
    }
}
