//! The context of an event: earlier events about the same instance, host or action.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{ActionId, HostId, InstanceId, ReleaseId};
use crate::core::journal::outages::Outages;
use crate::core::journal::pending_orders::{PendingOrder, PendingOrders};
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The context of an event. Read it before the event is applied.
#[derive(Clone, Debug, Default)]
pub struct EventContext {
    orders: PendingOrders,
    outages: Outages,
    started: BTreeMap<InstanceId, Time>,
    unready: BTreeSet<InstanceId>,
    lingering: BTreeSet<InstanceId>,
    staged: BTreeMap<ReleaseId, usize>,
}

impl EventContext {
    /// Applies the next event.
    pub fn apply(&mut self, entry: &Entry) {
        let ended = self.orders.apply(entry);
        self.outages.apply(entry);
        match &entry.event {
            Event::ActionStarted {
                action, instance, ..
            } => self.begin(action, instance.as_ref(), entry.at),
            Event::ActionDone { .. } => {
                let release = ended.as_ref().and_then(PendingOrder::stages);
                let hosts = release.and_then(|release| self.staged.get_mut(release));
                if let Some(hosts) = hosts {
                    *hosts += 1;
                }
            }
            Event::InstanceReady { instance, .. } => {
                self.unready.remove(instance);
            }
            Event::InstanceNotReady { instance, .. } => {
                self.unready.insert(instance.clone());
            }
            Event::InstanceLingers { instance, .. } => {
                self.lingering.insert(instance.clone());
            }
            _ => {}
        }
    }

    fn begin(&mut self, action: &Action, instance: Option<&InstanceId>, at: Time) {
        match (action, instance) {
            (Action::Start { .. }, Some(instance)) => {
                self.started.insert(instance.clone(), at);
            }
            (Action::Stage { release, .. }, _) => {
                self.staged.entry(release.clone()).or_default();
            }
            _ => {}
        }
    }

    /// The action of this number, until its result is known.
    pub fn order(&self, id: ActionId) -> Option<&PendingOrder> {
        self.orders.get(id)
    }

    /// When an instance was started; `None` if it existed before.
    pub fn started(&self, instance: &InstanceId) -> Option<Time> {
        self.started.get(instance).copied()
    }

    /// Whether an instance was ready and no longer is.
    pub fn is_unready(&self, instance: &InstanceId) -> bool {
        self.unready.contains(instance)
    }

    /// Whether an instance was asked to stop and may finish its work.
    pub fn lingers(&self, instance: &InstanceId) -> bool {
        self.lingering.contains(instance)
    }

    /// Since when a host or balancer is unreachable; `None` if it is reachable.
    pub fn lost_since(&self, machine: &HostId) -> Option<Time> {
        self.outages.since(machine)
    }

    /// The number of hosts on which a release was staged; `None` if staging was not started.
    pub fn hosts_staged(&self, release: &ReleaseId) -> Option<usize> {
        self.staged.get(release).copied()
    }

    /// The number of hosts on which a release is being staged.
    pub fn hosts_staging(&self, release: &ReleaseId) -> usize {
        let orders = self.orders.iter();
        orders.filter(|it| it.stages() == Some(release)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::journal::testing::{Play, release};

    fn context(play: &Play) -> EventContext {
        let mut context = EventContext::default();
        for (entry, _) in &play.entries {
            context.apply(entry);
        }
        context
    }

    #[test]
    fn context_counts_the_hosts_on_which_a_release_was_staged() {
        let mut play = Play::begin(4);
        assert_eq!(context(&play).hosts_staged(&release("0.9")), None);
        let host = "node1".into();
        let action = Action::Stage {
            host,
            release: release("0.9"),
        };
        let id = play.order(action, None);
        assert_eq!(context(&play).hosts_staged(&release("0.9")), Some(0));
        assert!(context(&play).order(id).is_some());
        play.then(5, Event::ActionDone { id });
        play.stage("node2", "0.9");
        assert_eq!(context(&play).hosts_staged(&release("0.9")), Some(2));
        assert!(context(&play).order(id).is_none());
    }

    #[test]
    fn context_has_start_of_outage_until_machine_is_reachable() {
        let mut play = Play::begin(4);
        let (host, why) = (HostId::from("node2"), String::new());
        let lost = Event::HostLost {
            host: host.clone(),
            why,
        };
        play.then(5, lost.clone());
        let since = play.entries[1].0.at;
        play.then(5, lost);
        assert_eq!(context(&play).lost_since(&host), Some(since));
        play.then(5, Event::HostRecovered { host: host.clone() });
        assert_eq!(context(&play).lost_since(&host), None);
    }
}
