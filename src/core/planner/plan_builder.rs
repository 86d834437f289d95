//! The actions of an unfinished plan, and the remaining budget.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{HostId, ReleaseId};
use crate::core::planner::census::Census;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::spec::budget::Budget;

pub(super) struct PlanBuilder {
    /// The actions so far, by host.
    actions: BTreeMap<HostId, Action>,
    /// Available instances that may still be stopped. Each drain or stop of one reduces the number.
    pub(super) spare: u32,
    /// Confirmed available instances that the plan does not stop.
    pub(super) confirmed: u32,
    /// The hosts to observe.
    hosts_to_observe: BTreeSet<HostId>,
}

impl PlanBuilder {
    /// A plan without actions.
    pub(super) fn new(census: &Census<'_>, budget: &Budget) -> Self {
        Self {
            actions: BTreeMap::new(),
            spare: census.available.saturating_sub(budget.min_available()),
            confirmed: census.confirmed,
            hosts_to_observe: BTreeSet::new(),
        }
    }

    /// Adds an action unless the host has one already; returns whether it did.
    pub(super) fn order(&mut self, action: Action) -> bool {
        match self.actions.entry(action.host().clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(action);
                true
            }
        }
    }

    /// Adds hosts to observe.
    pub(super) fn observe(&mut self, hosts: impl IntoIterator<Item = HostId>) {
        self.hosts_to_observe.extend(hosts);
    }

    /// Whether a host has an action.
    pub(super) fn has_order(&self, host: &HostId) -> bool {
        self.actions.contains_key(host)
    }

    /// The planned starts of a release, and the hosts that stage it for one.
    pub(super) fn starts(&self, release: &ReleaseId) -> u32 {
        let is_start = |action: &&Action| matches!(action, Action::Start { release: of, .. } | Action::Stage { release: of, .. } if of == release);
        let starts = self.actions.values().filter(is_start).count();
        u32::try_from(starts).unwrap_or(u32::MAX)
    }

    /// Whether a start is planned on a host.
    pub(super) fn starts_on(&self, host: &HostId) -> bool {
        matches!(self.actions.get(host), Some(Action::Start { .. }))
    }

    /// Whether the start, drain or stop of a running instance is planned on a host.
    pub(super) fn changes_instance_on(&self, host: &HostId) -> bool {
        match self.actions.get(host) {
            Some(Action::Start { .. } | Action::Drain { .. }) => true,
            Some(Action::Stop { why, .. }) => {
                !matches!(why, StopReason::Dead | StopReason::Lingered)
            }
            _ => false,
        }
    }

    /// Whether the plan has no actions.
    pub(super) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Whether no action changes a slot.
    pub(super) fn no_slot_changes(&self) -> bool {
        self.actions.values().all(|action| action.slot().is_none())
    }

    /// The actions, ordered by host, and the hosts to observe.
    pub(super) fn finish(mut self, census: &Census<'_>) -> (Vec<Action>, BTreeSet<HostId>) {
        let hosts = census.hosts.iter();
        let actions = hosts.filter_map(|host| self.actions.remove(host.id));
        (actions.collect(), self.hosts_to_observe)
    }
}
