//! The counts of one host from the point of view of one rollout, and the state of its instances.

use std::collections::BTreeMap;

use crate::core::fleet::health::Verdict;
use crate::core::fleet::traffic::TrafficState;
use crate::core::fleet::{Fleet, Host, Instance};
use crate::core::ids::{Epoch, HostId, InstanceId, ReleaseId, Slot, SlotNumber};
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::attempt::StartAttempts;
use crate::core::rollout::failure::FailureKind;
use crate::core::spec::Spec;
use crate::core::time::Time;

/// How a host takes part in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Participation {
    Active,
    /// The host has failed, and offers no slots.
    Failed,
    /// The host has failed, and is unreachable or would accept late actions of an earlier
    /// controller. Its instances do not count.
    Untrusted,
}

impl Participation {
    fn of(id: &HostId, host: Option<&Host>, rollout: &Rollout) -> Self {
        let reachable = host.is_some_and(Host::is_reachable);
        let is_claimed = host.is_some_and(|host| host.epoch >= rollout.epoch);
        match rollout.attempt.failed_hosts.get(id) {
            None => Self::Active,
            // A host that was only unreachable takes part again once it is reachable.
            Some(failure) if reachable && failure.kind == FailureKind::HostLost => Self::Active,
            Some(_) if reachable && is_claimed => Self::Failed,
            Some(_) => Self::Untrusted,
        }
    }
}

#[derive(Debug)]
pub struct HostCount<'a> {
    pub id: &'a HostId,
    /// The last observation; `None` if there was none.
    pub host: Option<&'a Host>,
    /// The position of its zone in the census.
    pub(super) zone: usize,
    /// The action in flight. A host gets one action at a time, because others would wait for its
    /// lock.
    pub busy: Option<&'a Action>,
    pub instances: Vec<JudgedInstance<'a>>,
    /// Instances of a wanted release, running or starting.
    pub new: u32,
    /// Instances of any release that run or may run.
    pub running: u32,
    pub participation: Participation,
    /// Whether an action with an unknown result may still run on the host.
    pub has_unknown_order: bool,
    /// Slots in which an action with an unknown result may have started an instance of this
    /// release.
    pub possibly_started: BTreeMap<SlotNumber, &'a ReleaseId>,
    /// Whether the host may have instances: it is in the inventory and not drained.
    pub offers_slots: bool,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent property"
)]
pub struct JudgedInstance<'a> {
    pub number: SlotNumber,
    /// What the balancers do with the slot.
    pub traffic: TrafficState,
    pub instance: &'a Instance,
    /// Whether the instance runs a wanted release in a slot where it may stay.
    pub is_target: bool,
    /// Whether the process runs, or may run.
    pub is_running: bool,
    /// Whether the instance is ready by a valid verdict, on a reachable host.
    pub is_ready: bool,
    /// Whether the instance counts as available: ready for `min_ready`, and not stopping.
    pub is_available: bool,
    /// Whether the instance may serve but is not known to be available: it runs, it may get
    /// requests, and recent probes have not failed often enough to call it unhealthy.
    pub is_unprobed: bool,
    /// Whether the instance gets no requests and has no open ones.
    pub is_drained: bool,
    /// Whether a drain or stop of the instance is in flight, or may have been carried out.
    pub is_stopping: bool,
}

/// The input of a count.
pub(super) struct Frame<'a, 'w> {
    pub(super) spec: &'a Spec,
    pub(super) rollout: &'a Rollout,
    pub(super) fleet: &'a Fleet,
    pub(super) wanted: &'w BTreeMap<&'a ReleaseId, u32>,
    pub(super) now: Time,
}

/// The actions of one host that are in flight or have an unknown result.
#[derive(Default)]
pub(super) struct HostOrders<'a> {
    /// In flight or with an unknown result.
    all: Vec<&'a Action>,
    in_flight: Option<&'a Action>,
    is_any_unknown: bool,
}

impl<'a> HostOrders<'a> {
    pub(super) fn by_host(rollout: &'a Rollout) -> BTreeMap<&'a HostId, Self> {
        let mut by_host: BTreeMap<_, Self> = BTreeMap::new();
        for action in rollout
            .orders
            .in_flight
            .values()
            .map(|in_flight| &in_flight.action)
        {
            let orders = by_host.entry(action.host()).or_default();
            orders.all.push(action);
            orders.in_flight = Some(action);
        }
        for action in &rollout.orders.unknown {
            let orders = by_host.entry(action.host()).or_default();
            orders.all.push(action);
            orders.is_any_unknown = true;
        }
        by_host
    }

    /// Whether a drain, stop or reload of an instance is in flight, or may have been carried out.
    fn may_stop(&self, name: &InstanceId) -> bool {
        self.all.iter().any(|action| {
            action.ends() == Some(name)
                || matches!(action, Action::Drain { instance, .. } if instance == name)
        })
    }
}

impl JudgedInstance<'_> {
    pub(super) fn slot_on(&self, host: &HostCount<'_>) -> Slot {
        Slot {
            host: host.id.clone(),
            number: self.number,
        }
    }
}

impl<'a> HostCount<'a> {
    /// Counts the instances of a host.
    pub(super) fn take(
        frame: &Frame<'a, '_>,
        (id, host): (&'a HostId, Option<&'a Host>),
        zone: usize,
        orders: &HostOrders<'a>,
        offers_slots: bool,
    ) -> Self {
        let mut count = Self {
            id,
            host,
            zone,
            busy: orders.in_flight,
            instances: Vec::new(),
            new: 0,
            running: 0,
            participation: Participation::of(id, host, frame.rollout),
            has_unknown_order: orders.is_any_unknown,
            possibly_started: BTreeMap::new(),
            offers_slots,
        };
        for (number, instance) in host.into_iter().flat_map(Host::instances) {
            let judged = count.judge(frame, number, instance, orders);
            count.new += u32::from(judged.is_target && judged.is_running);
            count.running += u32::from(judged.is_running);
            count.instances.push(judged);
        }
        count.count_restored();
        count.count_ordered(frame, orders);
        count
    }

    fn judge(
        &self,
        frame: &Frame<'a, '_>,
        number: SlotNumber,
        instance: &'a Instance,
        orders: &HostOrders<'_>,
    ) -> JudgedInstance<'a> {
        let Frame {
            spec, rollout, now, ..
        } = *frame;
        let (reachable, thresholds) = (self.is_reachable(), spec.thresholds_of(&instance.release));
        let is_stopping = orders.may_stop(&instance.name);
        let is_running = instance.is_running() || !reachable && instance.lingering.is_none();
        let is_ready =
            reachable && instance.is_running() && instance.health.is_ready(now, &thresholds);
        let slot = || Slot {
            host: self.id.clone(),
            number,
        };
        let traffic = match &spec.traffic {
            Some(traffic) => frame.fleet.traffic_state(Some(traffic), &slot()),
            None => TrafficState::Direct,
        };
        let is_available = is_ready
            && !self.is_untrusted()
            && !is_stopping
            && matches!(traffic, TrafficState::Direct | TrafficState::Open)
            && instance.is_available(now, spec.min_ready, &thresholds);
        let is_fresh = |at: Time| now.since(at) <= thresholds.stale_after;
        let fails = reachable
            && instance.health.failures >= thresholds.failure_threshold
            && matches!(&instance.health.last, Some((at, Verdict::Fail(_))) if is_fresh(*at));
        // An instance on a drained host, or in a slot that its release does not have, must go, and
        // one that lingers ends on its own.
        let is_target = self.is_usable()
            && instance.lingering.is_none()
            && frame.wanted.contains_key(&instance.release)
            && rollout.may_keep_instances_of(instance.revision)
            && spec.slots_of(&instance.release).contains(&number);
        JudgedInstance {
            number,
            traffic,
            instance,
            is_target,
            is_running,
            is_ready,
            is_available,
            is_unprobed: is_running && !is_available && !fails && traffic != TrafficState::Closed,
            is_drained: traffic == TrafficState::Closed
                && rollout.traffic.drained.contains(&instance.name),
            is_stopping,
        }
    }

    fn has_running_at(&self, number: SlotNumber) -> bool {
        let mut instances = self.instances.iter();
        instances.any(|counted| counted.number == number && counted.is_running)
    }

    /// Whether this instance is in the slot.
    fn has_instance_at(&self, number: SlotNumber, name: Option<&InstanceId>) -> bool {
        let mut instances = self.instances.iter();
        instances.any(|counted| counted.number == number && Some(&counted.instance.name) == name)
    }

    /// Counts instances that the host may have restarted while it was unreachable.
    fn count_restored(&mut self) {
        let lost = self.host.filter(|host| !host.is_reachable());
        let armed = lost.into_iter().flat_map(|host| &host.armed);
        let restored = armed
            .filter(|number| !self.has_running_at(**number))
            .count();
        self.running += u32::try_from(restored).unwrap_or(u32::MAX);
    }

    /// Counts a start in flight as a running instance of its release.
    fn count_ordered(&mut self, frame: &Frame<'a, '_>, orders: &HostOrders<'a>) {
        for action in &orders.all {
            let Action::Start {
                slot,
                release,
                reloads,
            } = action
            else {
                continue;
            };
            // The process of a reloaded instance continues, and counts already.
            let is_counted = self.has_running_at(slot.number);
            if is_counted && !self.has_instance_at(slot.number, reloads.as_ref()) {
                continue;
            }
            if self.possibly_started.insert(slot.number, release).is_none() {
                self.new += u32::from(self.is_usable() && frame.wanted.contains_key(release));
                self.running += u32::from(!is_counted);
            }
        }
    }

    /// Whether an available instance of the target release runs in the slot.
    pub fn serves_target(&self, number: SlotNumber) -> bool {
        self.instances
            .iter()
            .any(|counted| counted.number == number && counted.is_target && counted.is_available)
    }

    /// Whether a wanted instance serves in any slot of the host.
    pub fn serves_anywhere(&self) -> bool {
        self.instances
            .iter()
            .any(|counted| counted.is_target && counted.is_available)
    }

    /// Whether the host has not failed.
    pub fn is_active(&self) -> bool {
        self.participation == Participation::Active
    }

    /// Whether the host may have instances at the end of the rollout: it offers slots and has not
    /// failed.
    pub fn is_usable(&self) -> bool {
        self.offers_slots && self.is_active()
    }

    /// Whether the host's instances do not count.
    pub fn is_untrusted(&self) -> bool {
        self.participation == Participation::Untrusted
    }

    /// Whether the host answered the last command.
    pub fn is_reachable(&self) -> bool {
        self.host.is_some_and(Host::is_reachable)
    }

    /// The newest epoch that the host has seen.
    pub fn epoch(&self) -> Epoch {
        self.host.map(|host| host.epoch).unwrap_or_default()
    }

    /// Whether the host can get a new action now.
    pub fn is_idle(&self) -> bool {
        self.is_reachable() && self.busy.is_none() && !self.has_unknown_order
    }

    /// The slot in which ship next retries to start an instance of the target, and the attempts so
    /// far.
    pub fn retry<'r>(
        &self,
        spec: &Spec,
        rollout: &'r Rollout,
        now: Time,
    ) -> Option<(Slot, &'r StartAttempts)> {
        let slots = self.usable_slots(spec, rollout, rollout.target_release());
        let tried = slots.filter_map(|slot| Some((rollout.attempt.starts.get(&slot)?, slot)));
        let waiting = tried.filter(|(attempts, _)| attempts.next_at() > now);
        waiting
            .min_by_key(|(attempts, _)| attempts.next_at())
            .map(|(attempts, slot)| (slot, attempts))
    }

    /// Whether an instance in another slot has, or may have, a port of this slot.
    fn has_port_of(&self, spec: &Spec, release: &ReleaseId, number: SlotNumber) -> bool {
        let running = self.host.into_iter().flat_map(Host::instances);
        let running = running.map(|(other, instance)| (other, &instance.release));
        let starting = self.possibly_started.iter();
        let starting = starting.map(|(other, release)| (*other, *release));
        running
            .chain(starting)
            .any(|(other, of)| other != number && spec.share_port((release, number), (of, other)))
    }

    /// The empty slots of a release, except those with a failed action that is not retried. A reload
    /// that failed is over when the slot is empty.
    pub(super) fn usable_slots(
        &self,
        spec: &Spec,
        rollout: &Rollout,
        release: &ReleaseId,
    ) -> impl Iterator<Item = Slot> {
        let has_failed = |slot: &Slot| {
            let mut in_slot = rollout
                .attempt
                .failed
                .iter()
                .filter(|failed| failed.action.slot() == Some(slot));
            in_slot.any(|failed| !rollout.is_retried(&failed.action) && !failed.action.is_reload())
        };
        let is_empty = |number: &SlotNumber| {
            let is_taken = |host: &Host| host.slots.contains_key(number);
            self.is_usable()
                && self.host.is_some_and(|host| !is_taken(host))
                && !self.possibly_started.contains_key(number)
                && !self.has_port_of(spec, release, *number)
        };
        let empty = spec
            .slots_of(release)
            .iter()
            .filter(move |number| is_empty(number));
        empty
            .map(|number| Slot {
                host: self.id.clone(),
                number: *number,
            })
            .filter(move |slot| !has_failed(slot))
    }
}
