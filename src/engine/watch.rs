//! Who is asked and looked at next. When is decided by `core::cadence`; this keeps the
//! appointments.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::fleet::poll_interval;
use crate::core::fleet::traffic::Traffic;
use crate::core::fleet::{Fleet, Host, Instance};
use crate::core::ids::{HostId, InstanceId, ReleaseId, Slot};
use crate::core::release::Definition;
use crate::core::time::Time;

/// Appointments with instances and hosts.
#[derive(Debug, Default)]
pub(super) struct Watch {
    asking: BTreeSet<InstanceId>,
    asked: BTreeMap<InstanceId, Time>,
    looking: BTreeSet<HostId>,
    looked: BTreeMap<HostId, Time>,
    misses: BTreeMap<HostId, u32>,
    hurried: BTreeSet<HostId>,
    viewing: BTreeSet<HostId>,
    viewed: BTreeMap<HostId, Time>,
    /// Instances that answered while nobody was known to listen: asked again once their host has
    /// been looked at.
    unproven: BTreeSet<InstanceId>,
}

/// Who is due now, and when the next one is.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Instances to ask.
    pub(super) asks: Vec<(Slot, Instance)>,
    /// Hosts to look at.
    pub(super) looks: Vec<HostId>,
    /// Balancers to look at.
    pub(super) views: Vec<HostId>,
    /// The next appointment after these.
    pub(super) next: Option<Time>,
}

impl Watch {
    /// All appointments that are due, marked as under way. `busy` hosts are not looked at: their
    /// order brings news.
    pub(super) fn due(
        &mut self,
        fleet: &Fleet,
        definitions: &BTreeMap<ReleaseId, Definition>,
        traffic: Option<&Traffic>,
        busy: &BTreeSet<HostId>,
        now: Time,
    ) -> Due {
        let mut due = Due::default();
        let mut later = |at: Time| due.next = Some(due.next.map_or(at, |next: Time| next.min(at)));
        for (id, host) in &fleet.hosts {
            if !busy.contains(id) && !self.looking.contains(id) {
                let looked = *self.looked.entry(id.clone()).or_insert(now);
                let misses = self.misses.get(id).copied().unwrap_or(0);
                let at = if self.hurried.contains(id) {
                    now
                } else {
                    looked + poll_interval::look_again_after(host, misses)
                };
                if at <= now {
                    due.looks.push(id.clone());
                } else {
                    later(at);
                }
            }
            if !host.is_reachable() {
                continue;
            }
            for (port, instance) in host
                .instances()
                .filter(|(_, instance)| instance.is_running())
            {
                let Some(definition) = definitions.get(&instance.release) else {
                    continue;
                };
                if self.asking.contains(&instance.name) {
                    continue;
                }
                let at = match self.asked.get(&instance.name) {
                    Some(asked) => {
                        *asked + poll_interval::ask_again_after(instance, &definition.readiness)
                    }
                    None => poll_interval::first_ask_at(instance, &definition.readiness),
                };
                if at <= now {
                    due.asks.push((
                        Slot {
                            host: id.clone(),
                            port,
                        },
                        instance.clone(),
                    ));
                } else {
                    later(at);
                }
            }
        }
        let balancers = traffic
            .map(|traffic| fleet.balancers_to_ask(traffic))
            .unwrap_or_default();
        for balancer in balancers
            .into_iter()
            .filter(|balancer| !self.viewing.contains(balancer))
        {
            let at = self
                .viewed
                .get(&balancer)
                .map_or(now, |viewed| *viewed + poll_interval::VIEW_AGAIN_AFTER);
            if at <= now {
                due.views.push(balancer);
            } else {
                later(at);
            }
        }
        self.viewing.extend(due.views.iter().cloned());
        self.asking
            .extend(due.asks.iter().map(|(_, instance)| instance.name.clone()));
        self.looking.extend(due.looks.iter().cloned());
        due
    }

    /// An instance has been asked.
    pub(super) fn asked(&mut self, instance: &InstanceId, now: Time) {
        self.asking.remove(instance);
        self.asked.insert(instance.clone(), now);
    }

    /// An instance that was asked already, before the watch began.
    pub(super) fn was_asked(&mut self, instance: &InstanceId, at: Time) {
        self.asked.insert(instance.clone(), at);
    }

    /// An instance has answered though nobody was known to listen: its host is looked at, then it
    /// is asked again.
    pub(super) fn look_before_asking(&mut self, host: &HostId, instance: &InstanceId) {
        self.unproven.insert(instance.clone());
        self.hurried.insert(host.clone());
    }

    /// A host has been looked at, or has shown its state at the end of an order; `seen` is what was
    /// found, if it was.
    pub(super) fn looked(&mut self, host: &HostId, seen: Option<&Host>, now: Time) {
        self.looking.remove(host);
        self.hurried.remove(host);
        self.looked.insert(host.clone(), now);
        if seen.is_some() {
            self.misses.remove(host);
            for (_, instance) in seen.into_iter().flat_map(Host::instances) {
                if self.unproven.remove(&instance.name) {
                    self.ask_now(&instance.name);
                }
            }
        } else {
            *self.misses.entry(host.clone()).or_default() += 1;
        }
    }

    /// An instance is to be asked at once.
    pub(super) fn ask_now(&mut self, instance: &InstanceId) {
        self.asked.insert(instance.clone(), Time(0));
    }

    /// A balancer has been looked at.
    pub(super) fn viewed(&mut self, balancer: &HostId, now: Time) {
        self.viewing.remove(balancer);
        self.viewed.insert(balancer.clone(), now);
    }

    /// A balancer is to be looked at at once.
    pub(super) fn view_now(&mut self, balancer: &HostId) {
        self.viewing.remove(balancer);
        self.viewed.remove(balancer);
    }

    /// A look came back out of date.
    pub(super) fn dismiss(&mut self, host: &HostId) {
        self.looking.remove(host);
    }

    /// A host is to be looked at at once.
    pub(super) fn look_now(&mut self, host: &HostId) {
        self.hurried.insert(host.clone());
    }
}
