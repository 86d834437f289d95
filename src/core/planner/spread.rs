//! The spread of the instances: evenly over the zones, as far as their slots allow, and in each zone
//! evenly over its hosts. Without zones, the whole fleet is one zone.
//!
//! The spread also tells in which zones something is disturbed, because instances are replaced in one
//! zone at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::fleet::Occupant;
use crate::core::ids::{HostId, ReleaseId, SlotNumber};
use crate::core::planner::census::Census;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::rollout::Rollout;
use crate::core::spec::Spec;

/// The zones and their shares of the wanted instances.
pub(super) struct Spread<'a> {
    /// In the order of the census.
    zones: Vec<ZoneCount<'a>>,
    /// How many zones may have one instance more than `least`.
    with_one_more: u32,
}

#[derive(Clone, Default)]
struct ZoneCount<'a> {
    name: &'a str,
    /// The new instances on each usable host that is reachable. Only these hosts have a share.
    new_on_hosts: Vec<u32>,
    /// The most new instances on one of these hosts.
    most_on_host: u32,
    /// The slots of these hosts in which wanted instances may run.
    capacity: u32,
    /// Instances of a wanted release on these hosts.
    new: u32,
    /// Running instances that are not being stopped, on active hosts.
    staying: u32,
    /// Running instances that are to be replaced, on active hosts.
    old: u32,
    /// The share of the wanted instances, if no zone has one more.
    least: u32,
    /// Whether a missing instance can start in the zone, now or once an ended one is cleared away.
    has_free_slot: bool,
    is_disturbed: bool,
}

/// The new instances of each zone and host that are left while some are chosen to stop.
pub(super) struct NewCounts<'a> {
    in_zones: Vec<u32>,
    on_hosts: BTreeMap<&'a HostId, u32>,
}

/// A position in the order in which the zones are replaced: first the zone in which this has begun,
/// then the others in the inventory's order.
pub(super) type ZoneRank = (u8, usize);

impl<'a> Spread<'a> {
    pub(super) fn of(spec: &Spec, rollout: &Rollout, census: &Census<'a>) -> Self {
        let named = census.zones.iter().map(|name| ZoneCount {
            name,
            ..ZoneCount::default()
        });
        let mut zones: Vec<_> = named.collect();
        let slots = census.wanted_slots(spec);
        let missing: Vec<_> = census.missing().into_keys().collect();
        for host in &census.hosts {
            let zone = &mut zones[host.zone];
            zone.add_share(host, &slots);
            zone.add_state(host);
            zone.has_free_slot =
                zone.has_free_slot || is_counted(host) && can_start(spec, rollout, host, &missing);
        }
        let with_one_more = share_out(&mut zones, census.desired);
        let mut spread = Self {
            zones,
            with_one_more,
        };
        spread.mark_lacking_zones(census.desired);
        spread
    }

    /// Marks the zones in which a missing instance can start as disturbed.
    fn mark_lacking_zones(&mut self, desired: u32) {
        let staying: u32 = self.zones.iter().map(|zone| zone.staying).sum();
        let above = self.zones.iter().filter(|zone| zone.staying > zone.least);
        let may_have_one_more = count(above) < self.with_one_more;
        for zone in &mut self.zones {
            let lacks_one = zone.staying < zone.least
                || zone.staying == zone.least && zone.has_spare() && may_have_one_more;
            zone.is_disturbed |= lacks_one && zone.has_free_slot && staying < desired;
        }
    }

    /// The new instances of each zone and host.
    pub(super) fn new_counts(&self, census: &Census<'a>) -> NewCounts<'a> {
        let hosts = census.hosts.iter();
        NewCounts {
            in_zones: self.zones.iter().map(|zone| zone.new).collect(),
            on_hosts: hosts.map(|host| (host.id, host.new)).collect(),
        }
    }

    /// The number of new instances in the zone of a host.
    pub(super) fn new_in_zone(&self, host: &HostCount<'_>) -> u32 {
        self.zones[host.zone].new
    }

    /// When the zone of a host is replaced, relative to the others.
    pub(super) fn rank(&self, host: &HostCount<'_>) -> ZoneRank {
        self.rank_of(host.zone)
    }

    /// Whether the zone of a host is replaced next, or runs fewer instances than its share.
    pub(super) fn is_next(&self, host: &HostCount<'_>) -> bool {
        let zone = &self.zones[host.zone];
        let ranks = (0..self.zones.len()).map(|zone| self.rank_of(zone));
        zone.staying < zone.least || ranks.min() == Some(self.rank(host))
    }

    fn rank_of(&self, zone: usize) -> ZoneRank {
        let count = &self.zones[zone];
        let stage = match (count.old > 0, count.new > 0) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        (stage, zone)
    }

    /// Whether something is disturbed in the zone of a host.
    pub(super) fn is_disturbed(&self, host: &HostCount<'_>) -> bool {
        self.zones[host.zone].is_disturbed
    }

    /// The first zone in which something is disturbed, except that of a host.
    pub(super) fn other_disturbed(&self, host: &HostCount<'_>) -> Option<&'a str> {
        let mut zones = self.zones.iter().enumerate();
        let (_, zone) = zones.find(|(at, zone)| *at != host.zone && zone.is_disturbed)?;
        Some(zone.name)
    }

    /// Whether the shares of a zone and of its host have room for one more new instance, beside one on
    /// each of the hosts in `planned`.
    pub(super) fn has_room(&self, host: &HostCount<'_>, planned: &[&HostCount<'_>]) -> bool {
        let planned_in = |at: usize| planned.iter().filter(move |host| host.zone == at);
        let new_in = |at: usize| self.zones[at].new + count(planned_in(at));
        let above = (0..self.zones.len()).filter(|at| new_in(*at) > self.zones[*at].least);
        let zone = &self.zones[host.zone];
        let zone_has_room = match new_in(host.zone) {
            new if new < zone.least => true,
            new => new == zone.least && zone.has_spare() && count(above) < self.with_one_more,
        };
        let (least, with_one_more) = self.share_of_hosts(zone, new_in(host.zone));
        let planned_above = planned_in(host.zone).filter(|planned| planned.new == least);
        let hosts_above = zone.hosts_above(least) + count(planned_above);
        let host_has_room = host.new < least || host.new == least && hosts_above < with_one_more;
        zone_has_room && host_has_room
    }

    /// Keeps only the hosts that are below their share, and of each zone only as many as it lacks
    /// instances.
    pub(super) fn retain_below<'h>(&self, hosts: &mut Vec<&'h HostCount<'h>>) {
        let mut new_in: Vec<_> = self.zones.iter().map(|zone| zone.new).collect();
        let above = self.zones.iter().filter(|zone| zone.new > zone.least);
        let mut above = count(above);
        hosts.retain(|host| {
            let (zone, new) = (&self.zones[host.zone], &mut new_in[host.zone]);
            let (least, more) = self.share_of_hosts(zone, *new);
            let is_one_more = *new == zone.least && zone.has_spare() && above < self.with_one_more;
            let zone_has_room = *new < zone.least || is_one_more;
            if !zone_has_room || host.new >= least + u32::from(more > 0) {
                return false;
            }
            above += u32::from(is_one_more);
            *new += 1;
            true
        });
    }

    /// Whether the zone of a host, or the host within its zone, has fewer new instances than another,
    /// by more than one.
    pub(super) fn is_underloaded(&self, host: &HostCount<'_>) -> bool {
        let zone = &self.zones[host.zone];
        let most_in_zone = self.zones.iter().map(|zone| zone.new).max();
        zone.new + 1 < most_in_zone.unwrap_or_default() || host.new + 1 < zone.most_on_host
    }

    /// The instances per host of a zone if they are spread evenly, and how many of its hosts have one
    /// more. `new` is the number of new instances of the zone.
    fn share_of_hosts(&self, zone: &ZoneCount<'_>, new: u32) -> (u32, u32) {
        let may_have_one_more = self.with_one_more > 0 && zone.has_spare();
        let share = zone.least + u32::from(new >= zone.least && may_have_one_more);
        let hosts = count(zone.new_on_hosts.iter()).max(1);
        (share / hosts, share % hosts)
    }
}

impl NewCounts<'_> {
    /// The instances in the zone of a host, and on the host.
    pub(super) fn of(&self, host: &HostCount<'_>) -> (u32, u32) {
        let on_host = self.on_hosts.get(host.id).copied();
        (self.in_zones[host.zone], on_host.unwrap_or_default())
    }

    /// Takes an instance of a host away.
    pub(super) fn remove(&mut self, host: &HostCount<'_>) {
        let in_zone = &mut self.in_zones[host.zone];
        *in_zone = in_zone.saturating_sub(1);
        if let Some(on_host) = self.on_hosts.get_mut(host.id) {
            *on_host = on_host.saturating_sub(1);
        }
    }
}

impl ZoneCount<'_> {
    fn add_share(&mut self, host: &HostCount<'_>, slots: &BTreeSet<SlotNumber>) {
        if !is_counted(host) {
            return;
        }
        self.new += host.new;
        self.new_on_hosts.push(host.new);
        self.most_on_host = self.most_on_host.max(host.new);
        self.capacity += count(slots.iter().filter(|number| may_run_in(host, **number)));
    }

    fn add_state(&mut self, host: &HostCount<'_>) {
        if !host.is_active() {
            return;
        }
        self.staying += count(host.possibly_started.keys());
        self.is_disturbed |= !host.possibly_started.is_empty();
        for counted in &host.instances {
            self.staying += u32::from(counted.is_running && !counted.is_stopping);
            self.old += u32::from(counted.is_running && !counted.is_target);
            self.is_disturbed |= is_disturbed(counted);
        }
    }

    /// The number of hosts with more new instances than this.
    fn hosts_above(&self, new: u32) -> u32 {
        count(self.new_on_hosts.iter().filter(|on_host| **on_host > new))
    }

    /// Whether any host has a share.
    fn has_hosts(&self) -> bool {
        !self.new_on_hosts.is_empty()
    }

    /// Whether the zone has slots for more than its share.
    fn has_spare(&self) -> bool {
        self.capacity > self.least
    }
}

/// Whether a host has a share of the instances.
fn is_counted(host: &HostCount<'_>) -> bool {
    host.is_usable() && host.is_reachable()
}

/// Whether a slot is free, or becomes free when its instance is replaced.
fn may_run_in(host: &HostCount<'_>, number: SlotNumber) -> bool {
    match host.host.and_then(|seen| seen.slots.get(&number)) {
        None => true,
        Some(Occupant::Instance(instance)) => instance.lingering.is_none(),
        Some(Occupant::OtherProcess(_)) => false,
    }
}

/// Whether one of these releases can start on a host, now or once an ended instance is cleared away.
fn can_start(
    spec: &Spec,
    rollout: &Rollout,
    host: &HostCount<'_>,
    releases: &[&ReleaseId],
) -> bool {
    let has_ended =
        |counted: &JudgedInstance<'_>| !counted.is_running && counted.instance.lingering.is_none();
    let has_free_slot = |release: &&_| host.usable_slots(spec, rollout, release).next().is_some();
    host.instances.iter().any(has_ended) || releases.iter().any(has_free_slot)
}

/// Whether an instance does not serve, or may not much longer.
fn is_disturbed(counted: &JudgedInstance<'_>) -> bool {
    counted.is_running && !counted.is_available && counted.instance.lingering.is_none()
}

/// Sets the share of each zone, as far as its capacity allows, and returns how many zones have one
/// more. What exceeds all capacities is shared out, too.
fn share_out(zones: &mut [ZoneCount<'_>], desired: u32) -> u32 {
    let mut left = desired;
    loop {
        let fits = zones
            .iter()
            .any(|zone| zone.has_hosts() && zone.has_spare());
        let is_open = |zone: &&mut ZoneCount<'_>| zone.has_hosts() && zone.has_spare() == fits;
        let open: Vec<_> = zones.iter_mut().filter(is_open).collect();
        let by = count(open.iter());
        if by == 0 || left < by {
            return left;
        }
        let room = open
            .iter()
            .map(|zone| zone.capacity.saturating_sub(zone.least))
            .min();
        let room = room.filter(|_| fits).unwrap_or(u32::MAX);
        let each = room.min(left / by);
        for zone in open {
            zone.least += each;
        }
        left -= each * by;
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(capacities: &[u32], desired: u32) -> (Vec<u32>, u32) {
        let mut zones: Vec<_> = capacities
            .iter()
            .map(|capacity| ZoneCount {
                new_on_hosts: vec![0; *capacity as usize],
                capacity: *capacity,
                ..ZoneCount::default()
            })
            .collect();
        let with_one_more = share_out(&mut zones, desired);
        (zones.iter().map(|zone| zone.least).collect(), with_one_more)
    }

    #[test]
    fn zones_share_the_instances_evenly_as_far_as_their_slots_allow() {
        assert_eq!(shares(&[4, 4, 4], 7), (vec![2, 2, 2], 1));
        assert_eq!(shares(&[1, 4, 4], 7), (vec![1, 3, 3], 0));
        assert_eq!(shares(&[1, 4, 4], 8), (vec![1, 3, 3], 1));
        assert_eq!(shares(&[1, 2, 9], 12), (vec![1, 2, 9], 0));
        assert_eq!(shares(&[5], 4), (vec![4], 0));
        assert_eq!(shares(&[2, 2], 0), (vec![0, 0], 0));
    }

    #[test]
    fn more_instances_than_slots_are_shared_out_too() {
        assert_eq!(shares(&[2], 5), (vec![5], 0));
        assert_eq!(shares(&[1, 2], 7), (vec![3, 4], 0));
        assert_eq!(shares(&[0, 2], 2), (vec![0, 2], 0));
    }
}
