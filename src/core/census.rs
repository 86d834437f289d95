//! The fleet, counted from the point of view of one rollout. The plan decides on these numbers and nothing else.
//!
//! Whatever is not known counts against the rollout: an order in flight has already taken what it may take and not
//! yet given what it may give, and what is on a lost host runs but does not serve.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::event::Progress;
use super::fleet::{Fleet, Host, Instance};
use super::health::Verdict;
use super::names::{Epoch, HostId, Port, Slot};
use super::rollout::Rollout;
use super::spec::Spec;
use super::time::Time;

/// The counts.
#[derive(Debug)]
pub struct Census<'a> {
    /// Every host, in the inventory's order; then hosts that only the fleet knows.
    pub hosts: Vec<HostCount<'a>>,
    /// Instances of the target release: running, or ordered.
    pub new: u32,
    /// Of these, ready.
    pub new_ready: u32,
    /// Of these, available.
    pub new_available: u32,
    /// Instances of any release that run, or may.
    pub running: u32,
    /// Of these, available and not being stopped.
    pub available: u32,
    /// Of the running ones, being stopped.
    pub stopping: u32,
}

/// The counts of one host.
#[derive(Debug)]
pub struct HostCount<'a> {
    /// Its name.
    pub id: &'a HostId,
    /// What was last seen of it; `None` if nobody has looked.
    pub host: Option<&'a Host>,
    /// The order in flight for it: one at a time, as they would wait for the host's lock anyway.
    pub busy: Option<&'a Action>,
    /// Its instances that were seen.
    pub instances: Vec<Counted<'a>>,
    /// Instances of the target release, seen or ordered.
    pub new: u32,
    /// Instances of any release that run, or may.
    pub running: u32,
    /// Whether an order that nobody saw the end of may still be at work there.
    pub is_unsettled: bool,
    /// Slots in which an order that nobody saw the end of may have started something.
    pub doubtful: BTreeSet<Port>,
    /// Whether the inventory lists it.
    pub listed: bool,
}

/// One instance, judged.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct Counted<'a> {
    /// Its port.
    pub port: Port,
    /// What was seen.
    pub instance: &'a Instance,
    /// Whether it is of the target release.
    pub is_new: bool,
    /// Whether its process runs, or may.
    pub is_running: bool,
    /// Whether it is ready by a fresh verdict, on a host in reach.
    pub is_ready: bool,
    /// Whether it may be counted on: available, and not being stopped.
    pub is_available: bool,
    /// Whether nobody knows how it is: it runs, and no fresh verdict says whether it serves. It counts neither as
    /// available nor as unhealthy.
    pub is_in_doubt: bool,
    /// Whether an order to stop it is in flight, or may have been carried out.
    pub is_stopping: bool,
}

/// The orders of one host whose end is not known yet, or not at all.
#[derive(Default)]
struct Orders<'a> {
    all: Vec<&'a Action>,
    in_flight: Option<&'a Action>,
    is_unsettled: bool,
}

impl<'a> Orders<'a> {
    fn by_host(rollout: &'a Rollout) -> BTreeMap<&'a HostId, Self> {
        let mut by_host: BTreeMap<_, Self> = BTreeMap::new();
        for action in rollout.in_flight.values().map(|in_flight| &in_flight.action) {
            let orders = by_host.entry(action.host()).or_default();
            orders.all.push(action);
            orders.in_flight = Some(action);
        }
        for action in &rollout.unknown {
            let orders = by_host.entry(action.host()).or_default();
            orders.all.push(action);
            orders.is_unsettled = true;
        }
        by_host
    }
}

impl<'a> Census<'a> {
    /// Counts.
    pub fn take(spec: &'a Spec, rollout: &'a Rollout, fleet: &'a Fleet, now: Time) -> Self {
        let orders = Orders::by_host(rollout);
        let mut census = Self {
            hosts: Vec::with_capacity(spec.hosts.len()),
            new: 0,
            new_ready: 0,
            new_available: 0,
            running: 0,
            available: 0,
            stopping: 0,
        };
        let mut add = |id, host, listed| {
            let count = HostCount::take(spec, rollout, id, host, orders.get(id), listed, now);
            census.add(&count);
            census.hosts.push(count);
        };
        let mut found = 0;
        for id in &spec.hosts {
            let host = fleet.hosts.get(id);
            found += usize::from(host.is_some());
            add(id, host, true);
        }
        // Mostly the inventory lists every host that the fleet knows, and nothing is left to search for.
        if found < fleet.hosts.len() {
            let listed: BTreeSet<&HostId> = spec.hosts.iter().collect();
            fleet.hosts.iter().filter(|(id, _)| !listed.contains(id)).for_each(|(id, host)| add(id, Some(host), false));
        }
        census
    }

    fn add(&mut self, host: &HostCount<'_>) {
        self.new += host.new;
        self.running += host.running;
        for counted in &host.instances {
            self.new_ready += u32::from(counted.is_new && counted.is_ready);
            self.new_available += u32::from(counted.is_new && counted.is_available);
            self.available += u32::from(counted.is_available);
            self.stopping += u32::from(counted.is_running && counted.is_stopping);
        }
    }

    /// The counts as Kubernetes names them.
    pub fn progress(&self, spec: &Spec) -> Progress {
        Progress {
            desired: spec.budget.replicas,
            updated: self.new,
            updated_ready: self.new_ready,
            updated_available: self.new_available,
            available: self.available,
            total: self.running,
        }
    }

    /// All instances, by host in the inventory's order and by port.
    pub fn instances(&self) -> impl Iterator<Item = (&HostCount<'a>, &Counted<'a>)> {
        self.hosts.iter().flat_map(|host| host.instances.iter().map(move |counted| (host, counted)))
    }
}

impl<'a> HostCount<'a> {
    fn take(
        spec: &Spec,
        rollout: &'a Rollout,
        id: &'a HostId,
        host: Option<&'a Host>,
        orders: Option<&Orders<'a>>,
        listed: bool,
        now: Time,
    ) -> Self {
        let target = rollout.target_release();
        let mut count = Self {
            id,
            host,
            busy: orders.and_then(|orders| orders.in_flight),
            instances: Vec::new(),
            new: 0,
            running: 0,
            is_unsettled: orders.is_some_and(|orders| orders.is_unsettled),
            doubtful: BTreeSet::new(),
            listed,
        };
        let orders = orders.map_or(&[][..], |orders| &orders.all);
        let stopped: BTreeSet<_> = orders
            .iter()
            .filter_map(|action| match action {
                Action::Stop { instance, .. } => Some(instance),
                _ => None,
            })
            .collect();
        let reachable = host.is_some_and(Host::is_reachable);
        for (port, instance) in host.into_iter().flat_map(Host::instances) {
            let thresholds = spec.thresholds_of(&instance.release);
            let is_stopping = stopped.contains(&instance.name);
            let is_running = instance.is_running() || !reachable;
            let is_ready = reachable && instance.is_running() && instance.health.is_ready(now, &thresholds);
            let is_available =
                is_ready && !is_stopping && instance.health.is_available(now, spec.min_ready, &thresholds);
            let fails = matches!(&instance.health.last, Some((at, Verdict::Fail(_))) if now.since(*at) <= thresholds.stale_after);
            let is_in_doubt = is_running && !is_ready && !(reachable && fails);
            // Where the playbook no longer offers the port, the right release is in the wrong place.
            let is_new = instance.release == *target && spec.ports.contains(&port);
            count.new += u32::from(is_new && is_running);
            count.running += u32::from(is_running);
            count.instances.push(Counted {
                port,
                instance,
                is_new,
                is_running,
                is_ready,
                is_available,
                is_in_doubt,
                is_stopping,
            });
        }
        for action in orders {
            if let Action::Start { slot, release } = action
                && !count.instances.iter().any(|counted| counted.port == slot.port && counted.is_running)
                && count.doubtful.insert(slot.port)
            {
                count.new += u32::from(release == target);
                count.running += 1;
            }
        }
        count
    }

    /// Whether it answered last time.
    pub fn is_reachable(&self) -> bool {
        self.host.is_some_and(Host::is_reachable)
    }

    /// The newest epoch that it has seen.
    pub fn epoch(&self) -> Epoch {
        self.host.map(|host| host.epoch).unwrap_or_default()
    }

    /// Whether a new order may be given to it.
    pub fn is_idle(&self) -> bool {
        self.is_reachable() && self.busy.is_none() && !self.is_unsettled
    }

    /// The first slot in which an instance could be started, if there is one.
    pub fn free_slot(&self, spec: &Spec, rollout: &Rollout) -> Option<Slot> {
        let host = self.host?;
        let exhausted = |slot: &Slot| rollout.attempts.get(slot).is_some_and(|tried| *tried >= MAX_ATTEMPTS);
        let refused = |slot: &Slot| rollout.failed.iter().any(|failed| failed.action.slot() == Some(slot));
        spec.ports
            .iter()
            .filter(|port| self.listed && !host.slots.contains_key(port) && !self.doubtful.contains(port))
            .map(|port| Slot { host: self.id.clone(), port: *port })
            .find(|slot| !exhausted(slot) && !refused(slot))
    }
}

/// How often a start is tried in one slot.
const MAX_ATTEMPTS: u32 = 3;
