//! The desired state, validated: whatever passes here can be reached.

pub mod budget;
pub mod impossible;
pub mod scaling;
pub mod step;
pub mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::analysis::Analysis;
use crate::core::fleet::health::Thresholds;
use crate::core::fleet::traffic::Traffic;
use crate::core::fleet::{Fleet, Occupant};
use crate::core::ids::{HostId, Port, ReleaseId, Slot};
use crate::core::release::waits::Waits;
use crate::core::rollout::Rollout;
use crate::core::rollout::task::Task;
use crate::core::spec::budget::{Amount, Budget};
use crate::core::spec::impossible::Impossible;
use crate::core::spec::step::{OnGate, Step};
use crate::core::spec::windows::DeployWindows;

/// The goal for the fleet, and the limits on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub service: String,
    /// The hosts that offer slots, in the inventory's order: of two equal places the earlier is
    /// taken. What runs on another that the fleet knows, as it is drained, has to go.
    pub hosts: Vec<HostId>,
    /// The ports of each host for a release that does not name its own.
    pub ports: Vec<Port>,
    /// The ports of each host for releases that name their own.
    pub release_ports: BTreeMap<ReleaseId, Vec<Port>>,
    /// The number of instances, and how many more or fewer there may be during a rollout.
    pub budget: Budget,
    /// The budget of a rollback; `None` where it is the same.
    pub rollback_budget: Option<Budget>,
    /// How long an instance must have been ready to count as available.
    pub min_ready: Duration,
    /// The longest time without progress before the rollout fails.
    pub progress_deadline: Duration,
    /// Failed hosts that a rollout tolerates.
    pub max_failed_hosts: u32,
    pub on_failure: OnFailure,
    /// Readiness of each known release's instances; a release not listed is judged by the default.
    pub thresholds: BTreeMap<ReleaseId, Thresholds>,
    /// The times that each known release's keys allow its instances.
    pub waits: BTreeMap<ReleaseId, Waits>,
    /// The steps in which the new version is rolled out; none for all at once.
    pub steps: Vec<Step>,
    /// What happens at a step that needs a person.
    pub on_gate: OnGate,
    pub hours: DeployWindows,
    /// The tasks: hooks that run once, and migrations.
    pub tasks: Vec<Task>,
    /// What is measured while new instances serve.
    pub analyses: Vec<Analysis>,
    /// The balancers; `None` where there are none.
    pub traffic: Option<Traffic>,
    /// Releases that stay on the hosts after the rollout, besides those that run.
    pub keep: BTreeSet<ReleaseId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Roll back to the newest revision proven healthy.
    RollBack,
    /// Hold, for a person to look.
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
    /// Resolves the amounts for a rollback on `hosts` hosts with `ports` ports each. It never
    /// fails: it reduces replicas that do not fit into the slots. If no instance may be unavailable
    /// and no slot is free for a surge, it allows one unavailable instance.
    pub fn resolve_rollback(self, hosts: usize, ports: usize) -> Budget {
        let slots = u32::try_from(hosts.saturating_mul(ports)).unwrap_or(u32::MAX);
        let replicas = self.replicas.min(slots);
        let fits = Self { replicas, ..self };
        fits.resolve(hosts, ports).unwrap_or(Budget {
            replicas,
            surge: 0,
            unavailable: 1.min(replicas),
        })
    }

    /// Resolves the amounts for a fleet of `hosts` hosts with `ports` ports each.
    ///
    /// # Errors
    /// Returns the first reason why no rollout can work with these amounts.
    pub fn resolve(self, hosts: usize, ports: usize) -> Result<Budget, Impossible> {
        let Self {
            replicas,
            max_surge,
            max_unavailable,
        } = self;
        if max_surge.is_zero() && max_unavailable.is_zero() {
            return Err(Impossible::NothingMayMove);
        }
        let slots = u32::try_from(hosts.saturating_mul(ports)).unwrap_or(u32::MAX);
        if replicas > slots {
            return Err(Impossible::TooFewSlots {
                replicas,
                hosts,
                ports,
            });
        }
        let mut budget = Budget::resolve(replicas, max_surge, max_unavailable);
        let spare = slots - replicas;
        if budget.unavailable == 0 && spare == 0 && replicas > 0 {
            return Err(Impossible::NoSlotForSurge {
                replicas,
                surge: budget.surge,
                hosts,
                ports,
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
        for host in &self.hosts {
            for port in self.ports_of(goal) {
                let slot = Slot {
                    host: host.clone(),
                    port: *port,
                };
                if let Some(Occupant::Stranger(who)) = fleet.occupant(&slot) {
                    found.push(Impossible::PortTaken {
                        who: who.clone(),
                        slot,
                    });
                }
            }
        }
        found
    }

    /// The ports of each host for a release.
    pub fn ports_of(&self, release: &ReleaseId) -> &[Port] {
        self.release_ports.get(release).unwrap_or(&self.ports)
    }

    /// The budget of a rollout in its present direction.
    pub fn budget_for(&self, rollout: &Rollout) -> Budget {
        // A change of numbers is the last word on them.
        self.rollback_budget
            .filter(|_| rollout.is_rolling_back() && rollout.scaling.is_none())
            .unwrap_or(self.budget)
    }

    pub fn step_count(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// The times that a release's keys allow its instances.
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

    /// The longest time that an order for an instance of any known release takes on its host.
    pub fn longest_order(&self) -> Duration {
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
    fn what_cannot_work_is_refused_with_the_arithmetic() {
        let refusal =
            |amounts: Amounts, hosts, ports| amounts.resolve(hosts, ports).unwrap_err().to_string();
        assert!(refusal(amounts(3, "0", "0%"), 4, 2).contains("leave no room"));
        assert!(
            refusal(amounts(9, "1", "0"), 4, 2)
                .starts_with("9 replicas need 9 slots, but the fleet offers 8 (4 hosts × 2 ports)")
        );
        assert!(refusal(amounts(3, "1", "0"), 3, 1).starts_with(
            "3 replicas + 1 surge need at least 4 slots, but the fleet offers 3 (3 hosts × 1 port)"
        ));
    }

    #[test]
    fn a_surge_without_a_place_is_cut_where_some_may_be_unavailable() {
        let budget = amounts(3, "2", "1").resolve(3, 1).unwrap();
        assert_eq!((budget.surge, budget.unavailable), (0, 1));
        let budget = amounts(3, "2", "0").resolve(4, 1).unwrap();
        assert_eq!((budget.surge, budget.unavailable), (1, 0));
    }

    #[test]
    fn a_service_scaled_to_nothing_is_possible() {
        assert!(amounts(0, "1", "0").resolve(3, 1).is_ok());
    }
}
