//! The actions that a rollout has started and whose results are still needed.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{ActionId, Epoch, HostId, InstanceId};
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The actions that a rollout has started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Orders {
    /// Actions whose result is not recorded.
    pub in_flight: BTreeMap<ActionId, InFlight>,
    /// Actions with an unknown result, on hosts where no later action has been carried out. An
    /// observation of the host does not settle them, because it does not wait for a script that
    /// still runs there. The next action does.
    pub unknown: Vec<Action>,
    /// Hosts with unknown results, and since when. An action with an unknown result may still hold
    /// the host's lock.
    pub unsettled_since: BTreeMap<HostId, Time>,
    /// Hosts that were pruned. A rollout prunes each host only once.
    pub pruned: BTreeSet<HostId>,
    /// The host that has seen a newer epoch than this rollout's, and that epoch.
    pub fenced: Option<(HostId, Epoch)>,
    next_id: u64,
}

/// An action whose result is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InFlight {
    pub action: Action,
    pub since: Time,
    /// Whether the direction has changed since the start. A failure of the action then does not
    /// count.
    pub is_outdated: bool,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            in_flight: BTreeMap::new(),
            unknown: Vec::new(),
            unsettled_since: BTreeMap::new(),
            pruned: BTreeSet::new(),
            fenced: None,
            next_id: 1,
        }
    }
}

impl Orders {
    /// The number of the next action.
    pub fn next_id(&self) -> ActionId {
        ActionId(self.next_id)
    }

    /// Applies the next event; returns the action that the event ends.
    pub(super) fn apply(&mut self, entry: &Entry) -> Option<InFlight> {
        match &entry.event {
            Event::ActionStarted { id, action, .. } => self.start(*id, action, entry.at),
            Event::ActionDone { id } => {
                let ended = self.in_flight.remove(id)?;
                let host = ended.action.host();
                self.unknown.retain(|unknown| unknown.host() != host);
                self.unsettled_since.remove(host);
                return Some(ended);
            }
            Event::ActionFailed { id, .. } => return self.in_flight.remove(id),
            Event::ActionUnknown { id, .. } => {
                let ended = self.in_flight.remove(id)?;
                self.record_unknown(&ended.action, entry.at);
                return Some(ended);
            }
            // A task takes a number, too, because tasks and actions share one sequence on the
            // hosts.
            Event::TaskStarted { id, .. } => self.count(*id),
            Event::Fenced { host, seen } => self.fenced = Some((host.clone(), *seen)),
            Event::RolloutFailed { .. } => self
                .in_flight
                .values_mut()
                .for_each(|in_flight| in_flight.is_outdated = true),
            _ => {}
        }
        None
    }

    fn start(&mut self, id: ActionId, action: &Action, at: Time) {
        self.count(id);
        if let Action::Prune { host, .. } = action {
            self.pruned.insert(host.clone());
        }
        let in_flight = InFlight {
            action: action.clone(),
            since: at,
            is_outdated: false,
        };
        self.in_flight.insert(id, in_flight);
    }

    fn count(&mut self, id: ActionId) {
        self.next_id = self.next_id.max(id.0.saturating_add(1));
    }

    fn record_unknown(&mut self, action: &Action, at: Time) {
        // A balancer runs no script that could act late, so an observation settles its state.
        if matches!(action, Action::Admit { .. } | Action::Drain { .. }) {
            return;
        }
        self.unsettled_since
            .entry(action.host().clone())
            .or_insert(at);
        self.unknown.push(action.clone());
    }

    /// Whether a stop or reload of an instance is in flight, or may have been carried out.
    pub(super) fn may_have_ended(&self, name: &InstanceId) -> bool {
        let in_flight = self.in_flight.values().map(|in_flight| &in_flight.action);
        in_flight
            .chain(&self.unknown)
            .any(|action| action.ends() == Some(name))
    }
}
