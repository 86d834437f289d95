//! The counts of the fleet from the point of view of one rollout. The planner decides by these
//! numbers alone.
//!
//! What is unknown counts against the rollout: a start in flight counts as running but not as
//! available, a stop in flight as no longer available, and an instance on an unreachable host as
//! running but not available.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, ReleaseId, SlotNumber};
use crate::core::planner::host_count::{Frame, HostCount, HostOrders, JudgedInstance};
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Progress;
use crate::core::spec::Spec;
use crate::core::time::Time;

#[derive(Debug)]
pub struct Census<'a> {
    /// The hosts in the inventory's order, then observed hosts that offer no slots.
    pub hosts: Vec<HostCount<'a>>,
    /// The zones in the order of their first hosts.
    pub(super) zones: Vec<&'a str>,
    /// The desired instances: the replicas, or fewer if the active hosts have fewer slots.
    pub desired: u32,
    /// Desired instances by release.
    pub wanted: BTreeMap<&'a ReleaseId, u32>,
    /// Instances of a wanted release: running or starting.
    pub new: u32,
    /// The new instances by release.
    pub new_by_release: BTreeMap<&'a ReleaseId, u32>,
    pub new_ready: u32,
    pub new_available: u32,
    /// Running instances of any release, except on untrusted hosts.
    pub running: u32,
    /// The running instances that are available and not stopping.
    pub available: u32,
    /// Running instances that are being stopped.
    pub stopping: u32,
    /// The available instances that are confirmed: see [`Census::is_confirmed`].
    pub confirmed: u32,
    /// When the newest available instance became available.
    pub available_from: Time,
    now: Time,
}

impl<'a> Census<'a> {
    pub fn take(spec: &'a Spec, rollout: &'a Rollout, fleet: &'a Fleet, now: Time) -> Self {
        let replicas = spec.budget_for(rollout).replicas;
        let wanted = rollout.wanted(replicas);
        let (hosts, zones) = count_hosts(&Frame {
            spec,
            rollout,
            fleet,
            wanted: &wanted,
            now,
        });
        let mut census = Self {
            hosts: Vec::new(),
            zones,
            desired: replicas,
            wanted,
            new: 0,
            new_by_release: BTreeMap::new(),
            new_ready: 0,
            new_available: 0,
            running: 0,
            available: 0,
            stopping: 0,
            confirmed: 0,
            available_from: Time::default(),
            now,
        };
        for host in &hosts {
            census.add(host, spec.is_singleton);
        }
        census.hosts = hosts;
        census.confirm(spec.min_ready);
        if !rollout.attempt.failed_hosts.is_empty() {
            census.desired = census.desired.min(census.usable_slots(spec));
        }
        census
    }

    /// Finds the confirmed instances, and when the newest available one became available.
    fn confirm(&mut self, min_ready: Duration) {
        let available = self.instances().map(|(_, counted)| counted);
        let available = available.filter(|counted| counted.is_available);
        let newest = available
            .filter_map(|counted| counted.instance.available_from(min_ready))
            .max();
        self.available_from = newest.unwrap_or_default();
        let confirmed = self
            .instances()
            .filter(|(_, counted)| self.is_confirmed(counted))
            .count();
        self.confirmed = u32::try_from(confirmed).unwrap_or(u32::MAX);
    }

    /// The number of slots on active hosts.
    fn usable_slots(&self, spec: &Spec) -> u32 {
        let usable = self.hosts.iter().filter(|host| host.is_usable()).count();
        let slots = self.wanted_slots(spec).len();
        u32::try_from(usable.saturating_mul(slots)).unwrap_or(u32::MAX)
    }

    /// The slots of each host for the wanted releases.
    pub(super) fn wanted_slots(&self, spec: &Spec) -> BTreeSet<SlotNumber> {
        let releases = self.wanted.keys();
        let slots = releases.flat_map(|release| spec.slots_of(release));
        slots.copied().collect()
    }

    fn add(&mut self, host: &HostCount<'a>, is_singleton: bool) {
        self.new += host.new;
        // An instance of a singleton counts wherever it may be alive.
        if !host.is_untrusted() || is_singleton {
            self.running += host.running;
        }
        let possibly_started = host
            .possibly_started
            .values()
            .filter(|release| host.is_usable() && self.wanted.contains_key(**release));
        let running = host
            .instances
            .iter()
            .filter(|counted| counted.is_target && counted.is_running);
        for release in possibly_started
            .copied()
            .chain(running.map(|counted| &counted.instance.release))
        {
            *self.new_by_release.entry(release).or_default() += 1;
        }
        for counted in &host.instances {
            self.new_ready += u32::from(counted.is_target && counted.is_ready);
            self.new_available += u32::from(counted.is_target && counted.is_available);
            self.available += u32::from(counted.is_available);
            self.stopping +=
                u32::from(counted.is_running && counted.is_stopping && !host.is_untrusted());
        }
    }

    /// The counts under their names in Kubernetes.
    pub fn progress(&self, spec: &Spec, rollout: &Rollout) -> Progress {
        let target = rollout.target_release();
        let is_updated = |counted: &&JudgedInstance<'_>| {
            counted.is_target && counted.instance.release == *target
        };
        let count = |wanted: fn(&JudgedInstance<'_>) -> bool| {
            let updated = self
                .instances()
                .map(|(_, counted)| counted)
                .filter(is_updated);
            u32::try_from(updated.filter(|counted| wanted(counted)).count()).unwrap_or(u32::MAX)
        };
        // Usually only one release is wanted, which is counted already.
        let (updated, updated_ready, updated_available) = if rollout.scaling.is_none() {
            (self.new, self.new_ready, self.new_available)
        } else {
            let of_target = self.new_by_release.get(target).copied().unwrap_or(0);
            (
                of_target,
                count(|counted| counted.is_ready),
                count(|counted| counted.is_available),
            )
        };
        Progress {
            desired: spec.budget_for(rollout).replicas,
            updated,
            updated_ready,
            updated_available,
            available: self.available,
            total: self.running,
        }
    }

    /// The instances that still have to be started, by release.
    pub fn missing(&self) -> BTreeMap<&'a ReleaseId, u32> {
        let of = |release| self.new_by_release.get(release).copied().unwrap_or(0);
        let mut room = self.desired.saturating_sub(self.new);
        let mut missing = BTreeMap::new();
        for (release, wanted) in &self.wanted {
            let count = wanted.saturating_sub(of(*release)).min(room);
            room -= count;
            if count > 0 {
                missing.insert(*release, count);
            }
        }
        missing
    }

    /// Surplus instances of wanted releases, by release. Instances that are still starting do not
    /// make others surplus.
    pub fn surplus(&self) -> BTreeMap<&'a ReleaseId, u32> {
        let mut starting: BTreeMap<&ReleaseId, u32> = BTreeMap::new();
        for release in self
            .hosts
            .iter()
            .filter(|host| host.is_usable())
            .flat_map(|host| host.possibly_started.values())
        {
            *starting.entry(release).or_default() += 1;
        }
        let allowed = |release| {
            let wanted = self
                .wanted
                .get(release)
                .copied()
                .unwrap_or(0)
                .min(self.desired);
            wanted + starting.get(release).copied().unwrap_or(0)
        };
        let too_many = self
            .new_by_release
            .iter()
            .map(|(release, count)| (*release, count.saturating_sub(allowed(release))));
        too_many.filter(|(_, count)| *count > 0).collect()
    }

    /// Whether a stop of another instance may rely on this available one. If the instance itself
    /// listens on a port, it gave the answers to the probes. Otherwise, an answer proves nothing
    /// about the process, and a recent observation of the host must have found it running; with the
    /// driver `link`, an observation must have found `current` on its release.
    pub fn is_confirmed(&self, counted: &JudgedInstance<'_>) -> bool {
        counted.is_available && (counted.instance.listens() || self.was_observed(counted))
    }

    /// Whether a recent observation, begun after the newest available instance became available,
    /// found the process of this instance running.
    pub fn was_observed(&self, counted: &JudgedInstance<'_>) -> bool {
        let observed_at = counted.instance.sighting.at;
        observed_at >= self.available_from && self.now.since(observed_at) <= SIGHTING_VALID_FOR
    }

    /// All instances, by host in the inventory's order and by slot.
    pub fn instances(&self) -> impl Iterator<Item = (&HostCount<'a>, &JudgedInstance<'a>)> {
        self.hosts
            .iter()
            .flat_map(|host| host.instances.iter().map(move |counted| (host, counted)))
    }
}

/// Counts the hosts in the inventory's order, then observed hosts that offer no slots. Returns the
/// zones in the order of their first hosts, too.
fn count_hosts<'a>(frame: &Frame<'a, '_>) -> (Vec<HostCount<'a>>, Vec<&'a str>) {
    let Frame { spec, fleet, .. } = *frame;
    let (orders, none) = (HostOrders::by_host(frame.rollout), HostOrders::default());
    let mut zones = Vec::new();
    let mut count = |id: &'a HostId, host, offers_slots| {
        let zone = position(&mut zones, spec.zones.of(id));
        let orders = orders.get(id).unwrap_or(&none);
        HostCount::take(frame, (id, host), zone, orders, offers_slots)
    };
    let listed = spec.hosts.iter();
    let mut hosts: Vec<_> = listed
        .map(|id| count(id, fleet.hosts.get(id), true))
        .collect();
    let found = hosts.iter().filter(|count| count.host.is_some()).count();
    // Usually every known host offers slots, so the search can be skipped.
    if found < fleet.hosts.len() {
        let listed: BTreeSet<&HostId> = spec.hosts.iter().collect();
        let others = fleet.hosts.iter().filter(|(id, _)| !listed.contains(id));
        hosts.extend(others.map(|(id, host)| count(id, Some(host), false)));
    }
    (hosts, zones)
}

/// The position of a zone, which is added if it is new.
fn position<'a>(zones: &mut Vec<&'a str>, zone: &'a str) -> usize {
    let known = zones.iter().position(|known| *known == zone);
    known.unwrap_or_else(|| {
        zones.push(zone);
        zones.len() - 1
    })
}

/// How long an observation of a host proves that its processes run.
pub const SIGHTING_VALID_FOR: Duration = Duration::from_secs(10);
