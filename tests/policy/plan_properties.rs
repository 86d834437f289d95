//! Properties of plans for fleets that are too large for the model checker: hundreds of hosts in any
//! state, and whole rollouts.

use std::collections::{BTreeMap, BTreeSet};

use crate::generators::{
    Condition, EPOCH, NOW, PORTS_MAX, PlanInput, amount, host_id, rollout, sketch, spec,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use ship::core::fleet::health::Verdict;
use ship::core::fleet::reach::Reach;
use ship::core::fleet::{Fleet, Host, Occupant};
use ship::core::ids::{HostId, SlotNumber};
use ship::core::planner::plan;
use ship::core::planner::preview::{Preview, preview};
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::Amounts;
use ship::core::spec::budget::Budget;
use ship::core::spec::zones::Zones;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

// ── one plan ─────────────────────────────────────────────────────────────────────────────────────

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn every_host_has_an_action_or_a_wait_reason_and_only_idle_hosts_get_actions(sketch in sketch()) {
        let input = sketch.build();
        let planned = plan(&input.spec, &input.rollout, &input.fleet, NOW);
        let mut hosts_with_actions = BTreeSet::new();
        for action in &planned.actions {
            let host = action.host();
            prop_assert!(hosts_with_actions.insert(host.clone()), "{host} gets two actions at a time");
            prop_assert!(!planned.wait_reasons.contains_key(host), "{host} has both an action and a wait reason");
            prop_assert!(input.fleet.hosts[host].is_reachable(), "{host} is unreachable and gets an action");
            prop_assert!(
                !input.rollout.orders.in_flight.values().any(|flight| flight.action.host() == host),
                "{host} has an action in flight and gets another"
            );
        }
        for host in &input.spec.hosts {
            prop_assert!(hosts_with_actions.contains(host) || planned.wait_reasons.contains_key(host), "{host} has no wait reason");
        }
    }

    #[test]
    fn plan_is_deterministic(sketch in sketch()) {
        let (one, other) = (sketch.build(), sketch.build());
        prop_assert_eq!(
            plan(&one.spec, &one.rollout, &one.fleet, NOW),
            plan(&other.spec, &other.rollout, &other.fleet, NOW)
        );
    }

    #[test]
    fn stops_keep_the_minimum_available(sketch in sketch()) {
        let input = sketch.build();
        let planned = plan(&input.spec, &input.rollout, &input.fleet, NOW);
        let (mut serving, mut unprobed) = (0, 0);
        for action in &planned.actions {
            let Action::Stop { slot, instance: name, .. } = action else { continue };
            let instance = input.fleet.instance(slot).expect("a stopped instance exists");
            prop_assert_eq!(&instance.name, name);
            prop_assert!(!input.is_being_stopped(instance), "{} is already being stopped", slot);
            let fresh = instance.health.last.as_ref().is_some_and(|(at, _)| *at == NOW);
            serving += usize::from(input.is_available(&input.fleet.hosts[&slot.host], instance));
            unprobed += usize::from(instance.is_running() && !fresh);
        }
        let min_available = input.spec.budget.min_available() as usize;
        if serving + unprobed > 0 {
            prop_assert!(
                input.available() >= min_available + serving,
                "{serving} of {} available instances are stopped (and {unprobed} unprobed ones): \
                 {min_available} must stay",
                input.available()
            );
        }
    }

    #[test]
    fn starts_keep_the_maximum_and_use_free_slots_with_the_release(sketch in sketch()) {
        let input = sketch.build();
        let planned = plan(&input.spec, &input.rollout, &input.fleet, NOW);
        let running = input.running();
        let target = input.rollout.target_release();
        let starts: Vec<_> = planned.actions.iter().filter(|action| matches!(action, Action::Start { .. })).collect();
        for action in &starts {
            let Action::Start { slot, release, .. } = action else { continue };
            prop_assert_eq!(release, target);
            prop_assert!(input.spec.slots.contains(&slot.number), "{} is not a slot of the service", slot);
            prop_assert!(input.fleet.occupant(slot).is_none(), "{} is taken", slot);
            prop_assert!(!running.contains_key(slot), "a start is pending in {}", slot);
            prop_assert!(input.fleet.hosts[&slot.host].releases.contains(release), "the release is not on {}", slot.host);
        }
        if !starts.is_empty() {
            let new = running.values().filter(|release| *release == target).count();
            prop_assert!(running.len() + starts.len() <= input.spec.budget.max_running() as usize);
            prop_assert!(new + starts.len() <= input.spec.budget.replicas as usize);
            prop_assert!(input.fleet.hosts.values().all(|host| host.epoch == EPOCH), "a host may accept a late command");
        }
    }

    #[test]
    fn healthy_old_instances_stop_after_unhealthy_ones(sketch in sketch()) {
        let input = sketch.build();
        let planned = plan(&input.spec, &input.rollout, &input.fleet, NOW);
        let replaced = |action: &&Action| matches!(action, Action::Stop { why: StopReason::Replaced, .. });
        if planned.actions.iter().any(|action| replaced(&action)) {
            let unhealthy = input.fleet.instances().filter(|(_, host, instance)| {
                let failing = matches!(instance.health.last, Some((NOW, Verdict::Fail(_)))) && instance.is_running();
                failing && host.is_reachable() && instance.release != *input.rollout.target_release()
            });
            for (slot, ..) in unhealthy {
                prop_assert!(
                    planned.actions.iter().any(|action| *action.host() == slot.host)
                        || input.rollout.orders.in_flight.values().any(|flight| *flight.action.host() == slot.host),
                    "{slot} is unhealthy and must stop before a healthy one"
                );
            }
        }
    }
}

#[test]
fn generated_fleets_lead_to_every_kind_of_action() {
    let mut runner = TestRunner::deterministic();
    let mut plans_with: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..300 {
        let input = sketch()
            .new_tree(&mut runner)
            .expect("a sketch")
            .current()
            .build();
        let planned = plan(&input.spec, &input.rollout, &input.fleet, NOW);
        let kinds: BTreeSet<String> = planned
            .actions
            .iter()
            .map(|action| match action {
                Action::Stop { why, .. } => format!("stop ({why})"),
                other => other.verb().to_owned(),
            })
            .collect();
        for kind in kinds {
            *plans_with.entry(kind).or_default() += 1;
        }
    }
    for kind in [
        "start",
        "stage",
        "claim",
        "stop (replaced)",
        "stop (unhealthy)",
        "stop (surplus)",
        "stop (exited)",
    ] {
        assert!(
            plans_with.get(kind).is_some_and(|plans| *plans >= 5),
            "too few plans with {kind}: {plans_with:?}"
        );
    }
    println!("{plans_with:?}");
}

// ── whole rollouts ───────────────────────────────────────────────────────────────────────────────

/// A fleet in which `replicas` (or fewer, or more) old instances serve in random slots.
#[derive(Clone, Debug)]
struct HealthyFleet {
    hosts: usize,
    slots_per_host: usize,
    budget: Budget,
    /// All slots in random order. The old instances are in the first `old` of them.
    order: Vec<usize>,
    old: usize,
    /// Whether the old instances can be reloaded.
    can_reload: bool,
    /// The number of the zone of each host.
    zones: Vec<usize>,
}

fn healthy_fleet() -> impl Strategy<Value = HealthyFleet> {
    (1..30_usize, 1..=PORTS_MAX)
        .prop_flat_map(|(hosts, slots_per_host)| {
            let slots = hosts * slots_per_host;
            let order = Just((0..slots).collect::<Vec<_>>()).prop_shuffle();
            (
                Just((hosts, slots_per_host)),
                0..=slots,
                amount(),
                amount(),
                order,
                prop_oneof![Just(None), (0..=slots).prop_map(Some)],
                any::<bool>(),
                prop_oneof![
                    Just(vec![0; hosts]),
                    prop::collection::vec(0..4_usize, hosts)
                ],
            )
        })
        .prop_filter_map(
            "an impossible budget is rejected",
            |(
                (hosts, slots_per_host),
                replicas,
                surge,
                unavailable,
                order,
                old,
                can_reload,
                zones,
            )| {
                let replicas = u32::try_from(replicas).ok()?;
                let amounts = Amounts {
                    replicas,
                    max_surge: surge,
                    max_unavailable: unavailable,
                };
                let budget = amounts.resolve(hosts, slots_per_host).ok()?;
                Some(HealthyFleet {
                    hosts,
                    slots_per_host,
                    budget,
                    order,
                    old: old.unwrap_or(replicas as usize),
                    can_reload,
                    zones,
                })
            },
        )
}

impl HealthyFleet {
    fn build(&self) -> PlanInput {
        let slots: Vec<SlotNumber> = (8081..).take(self.slots_per_host).collect();
        let mut spec = spec(
            (1..=self.hosts).map(host_id).collect(),
            slots.clone(),
            self.budget,
        );
        spec.zones = Zones::new((1..=self.hosts).map(|host| (host_id(host), self.zone_of(host))));
        if self.can_reload {
            spec.reload_groups = ["old", "new"]
                .map(|release| (release.into(), "the same".into()))
                .into();
        }
        let reachable = Host {
            reach: Reach::Reachable,
            ..Host::default()
        };
        let mut fleet = Fleet {
            hosts: spec
                .hosts
                .iter()
                .map(|id| (id.clone(), reachable.clone()))
                .collect(),
            ..Fleet::default()
        };
        for slot in &self.order[..self.old] {
            let (id, number) = (
                host_id(slot / self.slots_per_host + 1),
                slots[slot % self.slots_per_host],
            );
            let instance = Condition::Available.instance(&format!("{id}-{number}"), "old");
            let host = fleet.hosts.get_mut(&id).expect("the host is listed");
            host.releases.insert("old".into());
            host.slots.insert(number, Occupant::Instance(instance));
        }
        PlanInput {
            rollout: rollout(&spec),
            spec,
            fleet,
        }
    }

    fn succeeds_within_the_budget(&self) -> Result<(), TestCaseError> {
        let input = self.build();
        let preview = preview(&input.spec, &input.rollout, &input.fleet, NOW);
        prop_assert_eq!(
            &preview.outcome,
            &Some(Outcome::Succeeded),
            "{:#?}",
            preview.batches.last()
        );
        let old = u32::try_from(self.old).expect("a small fleet");
        let min_available = input.spec.budget.min_available().min(old);
        prop_assert!(
            preview.fewest_available >= min_available,
            "{} available, expected at least {min_available}",
            preview.fewest_available
        );
        let max_running = input.spec.budget.max_running().max(old);
        prop_assert!(
            preview.most_running <= max_running,
            "{} running, expected at most {max_running}",
            preview.most_running
        );
        Ok(())
    }

    /// The name of the zone of a host, which is counted from 1.
    fn zone_of(&self, host: usize) -> String {
        format!("zone-{}", self.zones[host - 1])
    }

    /// The hosts of a zone differ by at most one instance. Zones differ by more only if the one with
    /// fewer instances has no more slots.
    fn spreads_the_new_instances_evenly(&self) -> Result<(), TestCaseError> {
        let input = self.build();
        let by_host = new_instances_by_host(
            &input,
            &preview(&input.spec, &input.rollout, &input.fleet, NOW),
        );
        let mut zones: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for host in 1..=self.hosts {
            let count = by_host[&host_id(host)];
            zones.entry(self.zone_of(host)).or_default().push(count);
        }
        for hosts in zones.values() {
            let (fewest, most) = (hosts.iter().min(), hosts.iter().max());
            prop_assert!(
                most.zip(fewest)
                    .is_none_or(|(most, fewest)| most - fewest <= 1),
                "uneven spread over hosts: {by_host:?}"
            );
        }
        let most = zones.values().map(|hosts| hosts.iter().sum::<i64>()).max();
        for hosts in zones.values() {
            let (count, slots) = (hosts.iter().sum::<i64>(), hosts.len() * self.slots_per_host);
            prop_assert!(
                count + 1 >= most.unwrap_or_default() || count == i64::try_from(slots).unwrap(),
                "uneven spread over zones: {zones:?}"
            );
        }
        Ok(())
    }

    /// While serving instances are replaced in a zone, none changes in another one.
    fn replaces_in_one_zone_at_a_time(&self) -> Result<(), TestCaseError> {
        let input = self.build();
        let preview = preview(&input.spec, &input.rollout, &input.fleet, NOW);
        for batch in &preview.batches {
            let zones = |wanted: fn(&Action) -> bool| -> BTreeSet<&str> {
                let actions = batch.actions.iter().filter(|action| wanted(action));
                actions
                    .map(|action| input.spec.zones.of(action.host()))
                    .collect()
            };
            let changed =
                zones(|action| matches!(action, Action::Start { .. } | Action::Stop { .. }));
            let stopped =
                zones(|action| matches!(action, Action::Stop { .. }) || action.is_reload());
            prop_assert!(
                stopped.is_empty() || changed.len() == 1,
                "instances are replaced in {stopped:?} while {changed:?} change: {batch:#?}"
            );
        }
        Ok(())
    }

    fn repeats_no_action(&self) -> Result<(), TestCaseError> {
        let input = self.build();
        let preview = preview(&input.spec, &input.rollout, &input.fleet, NOW);
        let starts = new_instances_by_host(&input, &preview)
            .values()
            .sum::<i64>();
        prop_assert_eq!(starts, i64::from(input.spec.budget.replicas));
        let stops = preview.batches.iter().flat_map(|batch| &batch.actions);
        let is_replaced = |action: &&Action| {
            matches!(
                action,
                Action::Stop {
                    why: StopReason::Replaced,
                    ..
                }
            )
        };
        let reloads = preview.batches.iter().flat_map(|batch| &batch.actions);
        let reloads = reloads.filter(|action| action.is_reload());
        prop_assert_eq!(
            stops.filter(is_replaced).count() + reloads.count(),
            self.old
        );
        Ok(())
    }

    /// Whether each host has free slots for its share of the new instances.
    fn has_free_slots_everywhere(&self) -> bool {
        let share = (self.budget.replicas as usize).div_ceil(self.hosts);
        (0..self.hosts).all(|host| {
            let taken = self.order[..self.old]
                .iter()
                .filter(|slot| **slot / self.slots_per_host == host)
                .count();
            taken + share <= self.slots_per_host
        })
    }
}

fn new_instances_by_host(input: &PlanInput, preview: &Preview) -> BTreeMap<HostId, i64> {
    let mut by_host: BTreeMap<HostId, i64> =
        input.spec.hosts.iter().map(|id| (id.clone(), 0)).collect();
    for action in preview.batches.iter().flat_map(|batch| &batch.actions) {
        let change = match action {
            Action::Start { .. } => 1,
            Action::Stop {
                why: StopReason::Surplus,
                ..
            } => -1,
            _ => 0,
        };
        *by_host.entry(action.host().clone()).or_default() += change;
    }
    by_host
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn rollout_of_a_healthy_fleet_succeeds_within_the_budget(healthy_fleet in healthy_fleet()) {
        healthy_fleet.succeeds_within_the_budget()?;
    }

    #[test]
    fn new_instances_are_spread_evenly_if_slots_are_free(healthy_fleet in healthy_fleet()) {
        prop_assume!(healthy_fleet.has_free_slots_everywhere());
        healthy_fleet.spreads_the_new_instances_evenly()?;
    }

    #[test]
    fn rollout_of_a_healthy_fleet_replaces_in_one_zone_at_a_time(healthy_fleet in healthy_fleet()) {
        healthy_fleet.replaces_in_one_zone_at_a_time()?;
    }

    #[test]
    fn rollout_starts_and_stops_each_instance_once(healthy_fleet in healthy_fleet()) {
        healthy_fleet.repeats_no_action()?;
    }
}

/// A fleet on which the planner once failed: only one slot is free.
#[test]
fn rollout_of_a_full_fleet_with_one_free_slot_succeeds_within_the_budget() {
    let healthy_fleet = HealthyFleet {
        hosts: 7,
        slots_per_host: 3,
        budget: Budget {
            replicas: 20,
            surge: 1,
            unavailable: 0,
        },
        order: (0..21).collect(),
        old: 20,
        can_reload: false,
        zones: vec![0; 7],
    };
    for result in [
        healthy_fleet.succeeds_within_the_budget(),
        healthy_fleet.repeats_no_action(),
    ] {
        result.unwrap_or_else(|error| panic!("{error}"));
    }
}
