//! The fleet, counted from the point of view of one rollout. The plan decides on these numbers and
//! nothing else.
//!
//! Whatever is not known counts against the rollout: an order in flight has already taken what it
//! may take and not yet given what it may give, and what is on a lost host runs but does not serve.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::fleet::health::Verdict;
use crate::core::fleet::traffic::Stream;
use crate::core::fleet::{Fleet, Host, Instance, Listener};
use crate::core::ids::{Epoch, HostId, Port, ReleaseId, Slot};
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::attempt::StartAttempts;
use crate::core::rollout::event::Progress;
use crate::core::rollout::failure::FailureKind;
use crate::core::spec::Spec;
use crate::core::time::Time;

/// The counts.
#[derive(Debug)]
pub struct Census<'a> {
    /// Every host, in the inventory's order; then hosts that only the fleet knows.
    pub hosts: Vec<HostCount<'a>>,
    /// Instances to be had: the replicas, or what the hosts that are not left behind have slots
    /// for.
    pub desired: u32,
    /// Of these, by release.
    pub wanted: BTreeMap<&'a ReleaseId, u32>,
    /// Instances of a wanted release: running, or ordered.
    pub new: u32,
    /// Of these, by release.
    pub new_by_release: BTreeMap<&'a ReleaseId, u32>,
    /// Of these, ready.
    pub new_ready: u32,
    /// Of these, available.
    pub new_available: u32,
    /// Instances of any release that run, or may, but for those that are written off with their
    /// host.
    pub running: u32,
    /// Of these, available and not being stopped.
    pub available: u32,
    /// Of the running ones, being stopped.
    pub stopping: u32,
    /// Of the available ones, confirmed: see [`Census::is_confirmed`].
    pub confirmed: u32,
    /// When the newest of the available ones became so.
    pub available_from: Time,
    now: Time,
}

/// A host's part in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It takes part.
    Takes,
    /// It is left behind: it offers no slots.
    LeftBehind,
    /// It is left behind, and either out of reach or open to the late orders of an earlier
    /// controller: nothing on it counts.
    WrittenOff,
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
    /// Instances of a wanted release, seen or ordered.
    pub new: u32,
    /// Instances of any release that run, or may.
    pub running: u32,
    /// Its part in the rollout.
    pub part: Part,
    /// Whether an order that nobody saw the end of may still be at work there.
    pub is_unsettled: bool,
    /// Slots in which an order that nobody saw the end of may have started an instance of this
    /// release.
    pub doubtful: BTreeMap<Port, &'a ReleaseId>,
    /// Whether instances may be on it: the inventory lists it, and it is not drained.
    pub offers_slots: bool,
}

/// One instance, judged.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question of its own"
)]
pub struct Counted<'a> {
    /// Its port.
    pub port: Port,
    /// What the balancers do with it.
    pub stream: Stream,
    /// What was seen.
    pub instance: &'a Instance,
    /// Whether it is of a wanted release, in a place where it may stay.
    pub is_new: bool,
    /// Whether its process runs, or may.
    pub is_running: bool,
    /// Whether it is ready by a fresh verdict, on a host in reach.
    pub is_ready: bool,
    /// Whether it may be counted on: available, and not being stopped.
    pub is_available: bool,
    /// Whether it may serve though it is not counted on: it runs, it may get requests, and too few
    /// fresh verdicts say that it fails. It was not asked lately, or it is ready and soaks. It
    /// counts neither as available nor as unhealthy.
    pub is_in_doubt: bool,
    /// Whether it gets no requests, and has none left.
    pub is_drained: bool,
    /// Whether an order to drain or stop it is in flight, or may have been carried out.
    pub is_stopping: bool,
}

/// What all hosts are counted by.
struct Frame<'a, 'w> {
    spec: &'a Spec,
    rollout: &'a Rollout,
    fleet: &'a Fleet,
    wanted: &'w BTreeMap<&'a ReleaseId, u32>,
    now: Time,
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
            orders.is_unsettled = true;
        }
        by_host
    }
}

impl<'a> Census<'a> {
    /// Counts.
    pub fn take(spec: &'a Spec, rollout: &'a Rollout, fleet: &'a Fleet, now: Time) -> Self {
        let orders = Orders::by_host(rollout);
        let replicas = spec.budget_for(rollout).replicas;
        let mut census = Self {
            hosts: Vec::with_capacity(spec.hosts.len()),
            desired: replicas,
            wanted: rollout.wanted(replicas),
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
        let wanted = rollout.wanted(replicas);
        let frame = Frame {
            spec,
            rollout,
            fleet,
            wanted: &wanted,
            now,
        };
        let mut add = |id, host, offers_slots| {
            let count = HostCount::take(&frame, id, host, orders.get(id), offers_slots);
            census.add(&count);
            census.hosts.push(count);
        };
        let mut found = 0;
        for id in &spec.hosts {
            let host = fleet.hosts.get(id);
            found += usize::from(host.is_some());
            add(id, host, true);
        }
        // Mostly every host that the fleet knows offers slots, and nothing is left to search for.
        if found < fleet.hosts.len() {
            let offering: BTreeSet<&HostId> = spec.hosts.iter().collect();
            fleet
                .hosts
                .iter()
                .filter(|(id, _)| !offering.contains(id))
                .for_each(|(id, host)| add(id, Some(host), false));
        }
        let available = census
            .instances()
            .map(|(_, counted)| counted)
            .filter(|counted| counted.is_available);
        let newest = available
            .filter_map(|counted| counted.instance.available_from(spec.min_ready))
            .max();
        census.available_from = newest.unwrap_or_default();
        let confirmed = census
            .instances()
            .filter(|(_, counted)| census.is_confirmed(counted))
            .count();
        census.confirmed = u32::try_from(confirmed).unwrap_or(u32::MAX);
        if !rollout.attempt.failed_hosts.is_empty() {
            let usable = census.hosts.iter().filter(|host| host.may_carry()).count();
            let ports: BTreeSet<Port> = census
                .wanted
                .keys()
                .flat_map(|release| spec.ports_of(release))
                .copied()
                .collect();
            let slots = u32::try_from(usable.saturating_mul(ports.len())).unwrap_or(u32::MAX);
            census.desired = census.desired.min(slots);
        }
        census
    }

    fn add(&mut self, host: &HostCount<'a>) {
        self.new += host.new;
        if !host.is_written_off() {
            self.running += host.running;
        }
        let doubtful = host
            .doubtful
            .values()
            .filter(|release| host.may_carry() && self.wanted.contains_key(**release));
        let running = host
            .instances
            .iter()
            .filter(|counted| counted.is_new && counted.is_running);
        for release in doubtful
            .copied()
            .chain(running.map(|counted| &counted.instance.release))
        {
            *self.new_by_release.entry(release).or_default() += 1;
        }
        for counted in &host.instances {
            self.new_ready += u32::from(counted.is_new && counted.is_ready);
            self.new_available += u32::from(counted.is_new && counted.is_available);
            self.available += u32::from(counted.is_available);
            self.stopping +=
                u32::from(counted.is_running && counted.is_stopping && !host.is_written_off());
        }
    }

    /// The counts as Kubernetes names them.
    pub fn progress(&self, spec: &Spec, rollout: &Rollout) -> Progress {
        let target = rollout.target_release();
        let updated =
            |counted: &&Counted<'_>| counted.is_new && counted.instance.release == *target;
        let count = |wanted: fn(&Counted<'_>) -> bool| {
            let updated = self.instances().map(|(_, counted)| counted).filter(updated);
            u32::try_from(updated.filter(|counted| wanted(counted)).count()).unwrap_or(u32::MAX)
        };
        // Mostly one release is wanted, and all is counted already.
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

    /// Instances that are still to be started, by release.
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

    /// Instances of wanted releases that are too many, by release. What was only ordered yet makes
    /// none too many.
    pub fn surplus(&self) -> BTreeMap<&'a ReleaseId, u32> {
        let mut ordered: BTreeMap<&ReleaseId, u32> = BTreeMap::new();
        for release in self
            .hosts
            .iter()
            .filter(|host| host.may_carry())
            .flat_map(|host| host.doubtful.values())
        {
            *ordered.entry(release).or_default() += 1;
        }
        let allowed = |release| {
            let wanted = self
                .wanted
                .get(release)
                .copied()
                .unwrap_or(0)
                .min(self.desired);
            wanted + ordered.get(release).copied().unwrap_or(0)
        };
        let too_many = self
            .new_by_release
            .iter()
            .map(|(release, count)| (*release, count.saturating_sub(allowed(release))));
        too_many.filter(|(_, count)| *count > 0).collect()
    }

    /// Whether an available instance may be relied on for a stop. Where it listens, its answers
    /// come from its process. Where nobody listens, an answer proves nothing about the process, and
    /// its host must have been looked at.
    pub fn is_confirmed(&self, counted: &Counted<'_>) -> bool {
        counted.is_available
            && (matches!(counted.instance.listener, Listener::Own { .. }) || self.was_seen(counted))
    }

    /// Whether a look that began after the newest available instance became so, and not long ago,
    /// found the instance's process running.
    pub fn was_seen(&self, counted: &Counted<'_>) -> bool {
        let seen = counted.instance.sighting.at;
        seen >= self.available_from && self.now.since(seen) <= SIGHTING_LASTS
    }

    /// All instances, by host in the inventory's order and by port.
    pub fn instances(&self) -> impl Iterator<Item = (&HostCount<'a>, &Counted<'a>)> {
        self.hosts
            .iter()
            .flat_map(|host| host.instances.iter().map(move |counted| (host, counted)))
    }
}

impl<'a> HostCount<'a> {
    fn take(
        frame: &Frame<'a, '_>,
        id: &'a HostId,
        host: Option<&'a Host>,
        orders: Option<&Orders<'a>>,
        offers_slots: bool,
    ) -> Self {
        let Frame {
            spec,
            rollout,
            fleet,
            now,
            ..
        } = *frame;
        let reachable = host.is_some_and(Host::is_reachable);
        let is_claimed = host.is_some_and(|host| host.epoch >= rollout.epoch);
        let part = match rollout.attempt.failed_hosts.get(id) {
            None => Part::Takes,
            // One that was only out of reach, and is back, is put right.
            Some(failure) if reachable && failure.kind == FailureKind::HostLost => Part::Takes,
            Some(_) if reachable && is_claimed => Part::LeftBehind,
            Some(_) => Part::WrittenOff,
        };
        let mut count = Self {
            id,
            host,
            busy: orders.and_then(|orders| orders.in_flight),
            instances: Vec::new(),
            new: 0,
            running: 0,
            part,
            is_unsettled: orders.is_some_and(|orders| orders.is_unsettled),
            doubtful: BTreeMap::new(),
            offers_slots,
        };
        let orders = orders.map_or(&[][..], |orders| &orders.all);
        let stopped: BTreeSet<_> = orders
            .iter()
            .filter_map(|action| match action {
                Action::Drain { instance, .. } | Action::Stop { instance, .. } => Some(instance),
                _ => None,
            })
            .collect();
        for (port, instance) in host.into_iter().flat_map(Host::instances) {
            let thresholds = spec.thresholds_of(&instance.release);
            let is_stopping = stopped.contains(&instance.name);
            let is_running = instance.is_running() || !reachable;
            let is_ready =
                reachable && instance.is_running() && instance.health.is_ready(now, &thresholds);
            let is_known = is_ready && !count.is_written_off();
            let stream = match &spec.traffic {
                Some(traffic) => fleet.stream(
                    Some(traffic),
                    &Slot {
                        host: id.clone(),
                        port,
                    },
                ),
                None => Stream::Direct,
            };
            let is_available = is_known
                && !is_stopping
                && matches!(stream, Stream::Direct | Stream::Open)
                && instance.is_available(now, spec.min_ready, &thresholds);
            let is_fresh = |at: Time| now.since(at) <= thresholds.stale_after;
            let fails = reachable
                && instance.health.failures >= thresholds.failures
                && matches!(&instance.health.last, Some((at, Verdict::Fail(_))) if is_fresh(*at));
            let is_in_doubt = is_running && !is_available && !fails && stream != Stream::Closed;
            // On a port that its release no longer has, or on a drained host, the right release is
            // in the wrong place.
            let is_new = count.may_carry()
                && frame.wanted.contains_key(&instance.release)
                && rollout.is_fresh(instance.revision)
                && spec.ports_of(&instance.release).contains(&port);
            count.new += u32::from(is_new && is_running);
            count.running += u32::from(is_running);
            count.instances.push(Counted {
                port,
                stream,
                instance,
                is_new,
                is_running,
                is_ready,
                is_available,
                is_in_doubt,
                is_drained: stream == Stream::Closed
                    && rollout.traffic.drained.contains(&instance.name),
                is_stopping,
            });
        }
        // Out of sight the host may have brought back by itself what it was armed with.
        let restored = |port: &&Port| {
            !count
                .instances
                .iter()
                .any(|counted| counted.port == **port && counted.is_running)
        };
        let armed = host
            .into_iter()
            .filter(|_| !reachable)
            .flat_map(|host| &host.armed);
        count.running += u32::try_from(armed.filter(restored).count()).unwrap_or(u32::MAX);
        for action in orders {
            if let Action::Start { slot, release } = action
                && !count
                    .instances
                    .iter()
                    .any(|counted| counted.port == slot.port && counted.is_running)
                && count.doubtful.insert(slot.port, release).is_none()
            {
                count.new += u32::from(count.may_carry() && frame.wanted.contains_key(release));
                count.running += 1;
            }
        }
        count
    }

    /// Whether a wanted instance serves in a slot.
    pub fn serves_anew(&self, port: Port) -> bool {
        self.instances
            .iter()
            .any(|counted| counted.port == port && counted.is_new && counted.is_available)
    }

    /// Whether a wanted instance serves on it, in whatever slot.
    pub fn serves_anywhere(&self) -> bool {
        self.instances
            .iter()
            .any(|counted| counted.is_new && counted.is_available)
    }

    /// Whether it takes part: it is not left behind.
    pub fn takes_part(&self) -> bool {
        self.part == Part::Takes
    }

    /// Whether instances may be on it when the rollout is done.
    pub fn may_carry(&self) -> bool {
        self.offers_slots && self.takes_part()
    }

    /// Whether nothing on it counts any more.
    pub fn is_written_off(&self) -> bool {
        self.part == Part::WrittenOff
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

    /// The first slot in which an instance of a release could be started now, if there is one.
    pub fn free_slot(
        &self,
        spec: &Spec,
        rollout: &Rollout,
        release: &ReleaseId,
        now: Time,
    ) -> Option<Slot> {
        let is_due = |slot: &Slot| {
            rollout
                .attempt
                .starts
                .get(slot)
                .is_none_or(|attempts| attempts.next_at() <= now)
        };
        self.usable_slots(spec, rollout, release).find(is_due)
    }

    /// The slot in which an instance of the target is to be started next, after a pause, and the
    /// attempts so far.
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

    /// The empty slots of a release, but for those in which an order has failed that is not tried
    /// again.
    fn usable_slots(
        &self,
        spec: &Spec,
        rollout: &Rollout,
        release: &ReleaseId,
    ) -> impl Iterator<Item = Slot> {
        let refused = |slot: &Slot| {
            let mut in_slot = rollout
                .attempt
                .failed
                .iter()
                .filter(|failed| failed.action.slot() == Some(slot));
            in_slot.any(|failed| !rollout.tries_again(&failed.action))
        };
        let is_empty = |port: &Port| {
            let taken = |host: &Host| host.slots.contains_key(port);
            self.may_carry()
                && self.host.is_some_and(|host| !taken(host))
                && !self.doubtful.contains_key(port)
        };
        let empty = spec
            .ports_of(release)
            .iter()
            .filter(move |port| is_empty(port));
        empty
            .map(|port| Slot {
                host: self.id.clone(),
                port: *port,
            })
            .filter(move |slot| !refused(slot))
    }
}

/// How long a look at a host says something about the processes there.
pub const SIGHTING_LASTS: Duration = Duration::from_secs(10);
