//! The desired state of a fleet. It is validated, so that it can be reached.

pub mod budget;
pub mod impossible;
pub mod scaling;
pub mod step;
pub mod windows;
pub mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::analysis::Analysis;
use crate::core::fleet::health::Thresholds;
use crate::core::fleet::traffic::Traffic;
use crate::core::fleet::{Fleet, Occupant};
use crate::core::ids::{HostId, Port, ReleaseId, Slot, SlotNumber};
use crate::core::release::waits::Waits;
use crate::core::rollout::Rollout;
use crate::core::rollout::task::Task;
use crate::core::spec::budget::{Amount, Budget};
use crate::core::spec::impossible::Impossible;
use crate::core::spec::step::{OnGate, Step};
use crate::core::spec::windows::DeployWindows;
use crate::core::spec::zones::Zones;

/// The desired state of the fleet, and the limits of the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub service: String,
    /// The hosts that offer slots, in the inventory's order. If two hosts suit equally well, the
    /// first gets the instance. Instances on other hosts, which are drained, must stop.
    pub hosts: Vec<HostId>,
    /// The zones over which the instances spread, and of which one is disturbed at a time.
    pub zones: Zones,
    /// The slots of each host for a release that does not name its own.
    pub slots: Vec<SlotNumber>,
    /// The slots of each host for releases that name their own.
    pub release_slots: BTreeMap<ReleaseId, Vec<SlotNumber>>,
    /// The releases whose instances do not listen.
    pub without_ports: BTreeSet<ReleaseId>,
    /// The ports of each slot, for releases with several ports in a slot.
    pub slot_ports: BTreeMap<ReleaseId, BTreeMap<SlotNumber, Vec<Port>>>,
    /// Whether two instances must never run at once.
    pub is_singleton: bool,
    /// For each release that can be reloaded, what it has in common with those that differ only in
    /// their files.
    pub reload_groups: BTreeMap<ReleaseId, String>,
    /// The number of instances, and its limits during a rollout.
    pub budget: Budget,
    /// The budget of a rollback; `None` if it is the same.
    pub rollback_budget: Option<Budget>,
    /// How long an instance must have been ready to count as available.
    pub min_ready: Duration,
    /// The longest time without progress before the rollout fails.
    pub progress_deadline: Duration,
    /// Failed hosts that a rollout tolerates.
    pub max_failed_hosts: u32,
    pub on_failure: OnFailure,
    /// The readiness thresholds of each known release. The default applies to others.
    pub thresholds: BTreeMap<ReleaseId, Thresholds>,
    /// The times that the settings of each known release allow its instances.
    pub waits: BTreeMap<ReleaseId, Waits>,
    /// The steps of the rollout; empty for a rollout without steps.
    pub steps: Vec<Step>,
    /// What happens at a gate that needs a person.
    pub on_gate: OnGate,
    pub deploy_windows: DeployWindows,
    /// The tasks: hooks that run once, and migrations.
    pub tasks: Vec<Task>,
    /// The analyses while new instances serve.
    pub analyses: Vec<Analysis>,
    /// The balancers; `None` if there are none.
    pub traffic: Option<Traffic>,
    /// Releases that stay on the hosts after the rollout, in addition to running ones.
    pub keep: BTreeSet<ReleaseId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Roll back to the newest revision proven healthy.
    RollBack,
    /// Leave the fleet as it is, for a person to decide.
    Hold,
}

/// The amounts as the user wrote them, to show the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    pub replicas: u32,
    pub max_surge: Amount,
    pub max_unavailable: Amount,
}

impl Amounts {
    /// Resolves the amounts for a rollback on `hosts` hosts with `slots_per_host` slots each.
    ///
    /// A rollback is always possible: the number of replicas is reduced if they do not fit into the
    /// slots. If no instance may be unavailable and no slot is free for a surge, one instance may
    /// be unavailable.
    pub fn resolve_rollback(self, hosts: usize, slots_per_host: usize) -> Budget {
        let slots = u32::try_from(hosts.saturating_mul(slots_per_host)).unwrap_or(u32::MAX);
        let replicas = self.replicas.min(slots);
        let fits = Self { replicas, ..self };
        fits.resolve(hosts, slots_per_host).unwrap_or(Budget {
            replicas,
            surge: 0,
            unavailable: 1.min(replicas),
        })
    }

    /// Resolves the amounts for a fleet of `hosts` hosts with `slots_per_host` slots each.
    ///
    /// # Errors
    /// Returns the first reason why no rollout can work with these amounts.
    pub fn resolve(self, hosts: usize, slots_per_host: usize) -> Result<Budget, Impossible> {
        let Self {
            replicas,
            max_surge,
            max_unavailable,
        } = self;
        if max_surge.is_zero() && max_unavailable.is_zero() {
            return Err(Impossible::NoRoomForRollout);
        }
        let slots = u32::try_from(hosts.saturating_mul(slots_per_host)).unwrap_or(u32::MAX);
        if replicas > slots {
            return Err(Impossible::TooFewSlots {
                replicas,
                hosts,
                slots_per_host,
            });
        }
        let mut budget = Budget::resolve(replicas, max_surge, max_unavailable);
        let spare = slots - replicas;
        if budget.unavailable == 0 && spare == 0 && replicas > 0 {
            return Err(Impossible::NoSlotForSurge {
                replicas,
                surge: budget.surge,
                hosts,
                slots_per_host,
            });
        }
        // A surge cannot exceed the free slots. If instances may be unavailable, the rollout
        // replaces them in place.
        budget.surge = budget.surge.min(spare);
        Ok(budget)
    }
}

impl Spec {
    /// The reasons why a rollout of a release cannot work on the current fleet. ship checks them
    /// before it changes anything.
    pub fn obstacles(&self, goal: &ReleaseId, fleet: &Fleet) -> Vec<Impossible> {
        let waits = self.waits_of(goal);
        let mut found: Vec<_> =
            Impossible::available_too_late(waits, self.min_ready, self.progress_deadline)
                .into_iter()
                .collect();
        found.extend(self.lingers_too_long(goal));
        let replicas = self.budget.replicas;
        if self.is_singleton && replicas > 1 {
            found.push(Impossible::SeveralSingletons { replicas });
        }
        for host in &self.hosts {
            for number in self.slots_of(goal) {
                let slot = Slot {
                    host: host.clone(),
                    number: *number,
                };
                if let Some(Occupant::OtherProcess(who)) = fleet.occupant(&slot) {
                    found.push(Impossible::SlotTaken {
                        who: who.clone(),
                        slot,
                    });
                }
            }
        }
        found
    }

    /// Whether replaced instances may keep needed slots for longer than the progress deadline. Old
    /// instances are taken to linger for as long as those of the goal.
    fn lingers_too_long(&self, goal: &ReleaseId) -> Option<Impossible> {
        let (linger, replicas) = (self.waits_of(goal).linger, self.budget.replicas);
        let (hosts, slots_per_host) = (self.hosts.len(), self.slots_of(goal).len());
        let has_room = hosts * slots_per_host >= replicas as usize * 2;
        (linger >= self.progress_deadline && !has_room).then_some(Impossible::LingersTooLong {
            replicas,
            hosts,
            slots_per_host,
            linger,
            progress_deadline: self.progress_deadline,
        })
    }

    /// Whether an instance of the first release can be reloaded with the files of the second.
    pub fn may_reload(&self, old: &ReleaseId, new: &ReleaseId) -> bool {
        let group = |release| self.reload_groups.get(release);
        old != new && group(old).is_some() && group(old) == group(new)
    }

    /// The slots of each host for a release.
    pub fn slots_of(&self, release: &ReleaseId) -> &[SlotNumber] {
        self.release_slots.get(release).unwrap_or(&self.slots)
    }

    /// Whether instances of two releases in two slots of a host would have a port in common.
    pub fn share_port(
        &self,
        one: (&ReleaseId, SlotNumber),
        other: (&ReleaseId, SlotNumber),
    ) -> bool {
        let ports = self.ports_in(other.0, other.1);
        self.ports_in(one.0, one.1)
            .iter()
            .any(|port| ports.contains(port))
    }

    fn ports_in(&self, release: &ReleaseId, slot: SlotNumber) -> Vec<Port> {
        if self.without_ports.contains(release) {
            return Vec::new();
        }
        let slots = self.slot_ports.get(release);
        let ports = slots.and_then(|slots| slots.get(&slot));
        ports.cloned().unwrap_or_else(|| vec![slot])
    }

    /// The budget of a rollout in its current direction.
    pub fn budget_for(&self, rollout: &Rollout) -> Budget {
        // A scaling sets the number for both directions.
        self.rollback_budget
            .filter(|_| rollout.is_rolling_back() && rollout.scaling.is_none())
            .unwrap_or(self.budget)
    }

    pub fn step_count(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// The times that the settings of a release allow its instances.
    pub fn waits_of(&self, release: &ReleaseId) -> Waits {
        self.waits.get(release).copied().unwrap_or_default()
    }

    /// The longest stop of an instance of any known release.
    pub fn longest_stop(&self) -> Duration {
        self.waits
            .values()
            .map(|waits| waits.stop)
            .max()
            .unwrap_or_default()
    }

    /// The longest start or stop of an instance of any known release.
    pub fn longest_action(&self) -> Duration {
        self.waits
            .values()
            .map(|waits| waits.stop.max(waits.start))
            .max()
            .unwrap_or_default()
    }

    /// The thresholds for the instances of a release.
    pub fn thresholds_of(&self, release: &ReleaseId) -> Thresholds {
        self.thresholds.get(release).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(replicas: u32, surge: &str, unavailable: &str) -> Amounts {
        Amounts {
            replicas,
            max_surge: surge.parse().unwrap(),
            max_unavailable: unavailable.parse().unwrap(),
        }
    }

    #[test]
    fn impossible_amounts_are_refused_with_the_arithmetic() {
        let refusal =
            |amounts: Amounts, hosts, slots| amounts.resolve(hosts, slots).unwrap_err().to_string();
        assert!(refusal(amounts(3, "0", "0%"), 4, 2).contains("leave no room"));
        assert!(
            refusal(amounts(9, "1", "0"), 4, 2)
                .starts_with("9 replicas need 9 slots, but the fleet offers 8 (4 hosts × 2 slots)")
        );
        assert!(refusal(amounts(3, "1", "0"), 3, 1).starts_with(
            "3 replicas + 1 surge need at least 4 slots, but the fleet offers 3 (3 hosts × 1 slot)"
        ));
    }

    #[test]
    fn surge_is_limited_to_free_slots_if_instances_may_be_unavailable() {
        let budget = amounts(3, "2", "1").resolve(3, 1).unwrap();
        assert_eq!((budget.surge, budget.unavailable), (0, 1));
        let budget = amounts(3, "2", "0").resolve(4, 1).unwrap();
        assert_eq!((budget.surge, budget.unavailable), (1, 0));
    }

    #[test]
    fn amounts_allow_zero_replicas() {
        assert!(amounts(0, "1", "0").resolve(3, 1).is_ok());
    }
}
