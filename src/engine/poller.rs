//! Schedules probes and observations. `core::fleet::poll_interval` decides the intervals.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::fleet::traffic::Traffic;
use crate::core::fleet::{Fleet, Host, Instance, poll_interval};
use crate::core::ids::{HostId, InstanceId, ReleaseId, Slot};
use crate::core::release::Definition;
use crate::core::time::Time;

/// When each instance, host and balancer was last probed or observed, and what is in progress.
#[derive(Debug, Default)]
pub(super) struct Poller {
    probing: BTreeSet<InstanceId>,
    probed: BTreeMap<InstanceId, Time>,
    observing: BTreeSet<HostId>,
    observed: BTreeMap<HostId, Time>,
    /// The number of failed observations in a row.
    failed_observations: BTreeMap<HostId, u32>,
    /// The number of actions in a row whose result is unknown.
    unknown_actions: BTreeMap<HostId, u32>,
    /// Hosts whose observation is due at once, regardless of their interval.
    urgent: BTreeSet<HostId>,
    observing_balancers: BTreeSet<HostId>,
    observed_balancers: BTreeMap<HostId, Time>,
    /// Instances that responded although no listener was known. They are probed again once their
    /// host has been observed.
    unproven: BTreeSet<InstanceId>,
}

/// The observations and probes that are due, and when the next one is.
#[derive(Debug, Default)]
pub(super) struct DuePolls {
    pub(super) probes: Vec<(Slot, Instance)>,
    pub(super) hosts: Vec<HostId>,
    pub(super) balancers: Vec<HostId>,
    /// When the next one is due.
    pub(super) next: Option<Time>,
}

impl DuePolls {
    /// Notes that something is due at `at`.
    fn wait_until(&mut self, at: Time) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Poller {
    /// Takes the observations and probes that are due and marks them as in progress. Hosts in
    /// `busy` are not observed, because the action in flight reports their state.
    pub(super) fn take_due(
        &mut self,
        fleet: &Fleet,
        definitions: &BTreeMap<ReleaseId, Definition>,
        traffic: Option<&Traffic>,
        busy: &BTreeSet<HostId>,
        now: Time,
    ) -> DuePolls {
        let mut due = DuePolls::default();
        for (id, host) in &fleet.hosts {
            if !busy.contains(id) && !self.observing.contains(id) {
                self.add_host(id, host, now, &mut due);
            }
            if host.is_reachable() {
                self.add_instances(id, host, definitions, now, &mut due);
            }
        }
        self.add_balancers(fleet, traffic, now, &mut due);
        self.observing_balancers
            .extend(due.balancers.iter().cloned());
        self.probing
            .extend(due.probes.iter().map(|(_, instance)| instance.name.clone()));
        self.observing.extend(due.hosts.iter().cloned());
        due
    }

    fn add_host(&mut self, id: &HostId, host: &Host, now: Time, due: &mut DuePolls) {
        let observed = *self.observed.entry(id.clone()).or_insert(now);
        let counts = [&self.failed_observations, &self.unknown_actions];
        let counts = counts.map(|counts| counts.get(id).copied().unwrap_or(0));
        let misses = counts.into_iter().max().unwrap_or(0);
        let at = if self.urgent.contains(id) {
            now
        } else {
            observed + poll_interval::observe_again_after(host, misses)
        };
        if at <= now {
            due.hosts.push(id.clone());
        } else {
            due.wait_until(at);
        }
    }

    fn add_instances(
        &self,
        id: &HostId,
        host: &Host,
        definitions: &BTreeMap<ReleaseId, Definition>,
        now: Time,
        due: &mut DuePolls,
    ) {
        let running = host
            .instances()
            .filter(|(_, instance)| instance.is_running());
        for (number, instance) in running {
            let Some(definition) = definitions.get(&instance.release) else {
                continue;
            };
            if self.probing.contains(&instance.name) {
                continue;
            }
            let readiness = &definition.readiness;
            let at = match self.probed.get(&instance.name) {
                Some(probed) => *probed + poll_interval::probe_again_after(instance, readiness),
                None => poll_interval::first_probe_at(instance, readiness),
            };
            if at <= now {
                let slot = Slot {
                    host: id.clone(),
                    number,
                };
                due.probes.push((slot, instance.clone()));
            } else {
                due.wait_until(at);
            }
        }
    }

    fn add_balancers(
        &self,
        fleet: &Fleet,
        traffic: Option<&Traffic>,
        now: Time,
        due: &mut DuePolls,
    ) {
        let balancers = traffic
            .map(|traffic| fleet.balancers_to_observe(traffic))
            .unwrap_or_default();
        for balancer in balancers
            .into_iter()
            .filter(|balancer| !self.observing_balancers.contains(balancer))
        {
            let at = self
                .observed_balancers
                .get(&balancer)
                .map_or(now, |observed| *observed + poll_interval::BALANCER_INTERVAL);
            if at <= now {
                due.balancers.push(balancer);
            } else {
                due.wait_until(at);
            }
        }
    }

    /// Notes that the probe of an instance has ended.
    pub(super) fn probed(&mut self, instance: &InstanceId, now: Time) {
        self.probing.remove(instance);
        self.probed.insert(instance.clone(), now);
    }

    /// Notes a probe from before this poller existed.
    pub(super) fn record_earlier_probe(&mut self, instance: &InstanceId, at: Time) {
        self.probed.insert(instance.clone(), at);
    }

    /// Makes the observation of an instance's host due before the next probe: the instance has
    /// responded, although no listener was known.
    pub(super) fn observe_before_probing(&mut self, host: &HostId, instance: &InstanceId) {
        self.unproven.insert(instance.clone());
        self.urgent.insert(host.clone());
    }

    /// Notes that the observation of a host has ended, or that an action has reported its state;
    /// `seen` is `None` if it could not be read.
    pub(super) fn host_observed(&mut self, host: &HostId, seen: Option<&Host>, now: Time) {
        self.observing.remove(host);
        self.urgent.remove(host);
        self.observed.insert(host.clone(), now);
        if seen.is_some() {
            self.failed_observations.remove(host);
            for (_, instance) in seen.into_iter().flat_map(Host::instances) {
                if self.unproven.remove(&instance.name) {
                    self.probe_now(&instance.name);
                }
            }
        } else {
            *self.failed_observations.entry(host.clone()).or_default() += 1;
        }
    }

    /// Makes the probe of an instance due at once.
    pub(super) fn probe_now(&mut self, instance: &InstanceId) {
        self.probed.insert(instance.clone(), Time(0));
    }

    /// Notes that the observation of a balancer has ended.
    pub(super) fn balancer_observed(&mut self, balancer: &HostId, now: Time) {
        self.observing_balancers.remove(balancer);
        self.observed_balancers.insert(balancer.clone(), now);
    }

    /// Makes the observation of a balancer due at once.
    pub(super) fn observe_balancer_now(&mut self, balancer: &HostId) {
        self.observing_balancers.remove(balancer);
        self.observed_balancers.remove(balancer);
    }

    /// Notes that an observation of a host was outdated.
    pub(super) fn dismiss_host(&mut self, host: &HostId) {
        self.observing.remove(host);
    }

    /// Makes the observation of a host due at once.
    pub(super) fn observe_host_now(&mut self, host: &HostId) {
        self.urgent.insert(host.clone());
    }

    /// Notes that the result of an action is unknown.
    pub(super) fn action_unknown(&mut self, host: &HostId) {
        let count = self.unknown_actions.entry(host.clone()).or_default();
        *count += 1;
        if poll_interval::observe_at_once_after(*count) {
            self.observe_host_now(host);
        }
    }

    /// Notes that the result of an action is known.
    pub(super) fn action_answered(&mut self, host: &HostId) {
        self.unknown_actions.remove(host);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::fleet::Observation;
    use crate::core::fleet::reach::Reach;

    #[test]
    fn host_whose_actions_stay_unknown_is_observed_with_growing_pauses() {
        let host = HostId::from("web1");
        let mut fleet = Fleet::default();
        let mut poller = Poller::default();
        let mut now = Time(100_000);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            fleet.observe(&host, Observation::default(), now);
            poller.host_observed(&host, fleet.hosts.get(&host), now);
            fleet.mark_unreachable(&host, now, "it has not answered");
            poller.host_observed(&host, None, now);
            poller.action_unknown(&host);
            let due = poller.take_due(&fleet, &BTreeMap::new(), None, &BTreeSet::new(), now);
            let at = if due.hosts.is_empty() {
                due.next
            } else {
                Some(now)
            };
            pauses.push(at.unwrap().since(now).as_secs());
            now = at.unwrap() + Duration::from_secs(1);
            assert!(matches!(fleet.hosts[&host].reach, Reach::Lost { .. }));
        }
        assert_eq!(pauses, [0, 2, 4, 8, 15, 15]);
        poller.action_answered(&host);
        poller.action_unknown(&host);
        let due = poller.take_due(&fleet, &BTreeMap::new(), None, &BTreeSet::new(), now);
        assert_eq!(due.hosts, [host]);
    }
}
