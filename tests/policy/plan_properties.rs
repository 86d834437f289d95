//! What holds for fleets too large to explore: hundreds of hosts in any state, and rollouts played
//! through to the end.

use std::collections::{BTreeMap, BTreeSet};

use crate::generators::{
    Condition, Drawn, EPOCH, MOST_PORTS, NOW, amount, host_id, rollout, sketch, spec,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use ship::core::fleet::health::Verdict;
use ship::core::fleet::reach::Reach;
use ship::core::fleet::{Fleet, Host, Occupant};
use ship::core::ids::{HostId, Port};
use ship::core::planner::plan;
use ship::core::planner::preview::{Preview, preview};
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::Amounts;
use ship::core::spec::budget::Budget;

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
    fn every_host_has_one_order_or_a_hold_and_only_idle_hosts_are_ordered(sketch in sketch()) {
        let it = sketch.draw();
        let made = plan(&it.spec, &it.rollout, &it.fleet, NOW);
        let mut ordered = BTreeSet::new();
        for action in &made.actions {
            let host = action.host();
            prop_assert!(ordered.insert(host.clone()), "{host} should get one order at a time");
            prop_assert!(!made.holds.contains_key(host), "{host} should not have both an order \
                                                          and a hold");
            prop_assert!(it.fleet.hosts[host].is_reachable(), "{host} is out of reach and should \
                                                               get no order");
            prop_assert!(
                !it.rollout.orders.in_flight.values().any(|flight| flight.action.host() == host),
                "{host} has an order in flight and should get no other"
            );
        }
        for host in &it.spec.hosts {
            prop_assert!(ordered.contains(host) || made.holds.contains_key(host), "{host} should \
                                                                                   have a hold");
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_plan(sketch in sketch()) {
        let (one, other) = (sketch.draw(), sketch.draw());
        prop_assert_eq!(
            plan(&one.spec, &one.rollout, &one.fleet, NOW),
            plan(&other.spec, &other.rollout, &other.fleet, NOW)
        );
    }

    #[test]
    fn stops_never_go_below_the_floor(sketch in sketch()) {
        let it = sketch.draw();
        let made = plan(&it.spec, &it.rollout, &it.fleet, NOW);
        let (mut serving, mut in_doubt) = (0, 0);
        for action in &made.actions {
            let Action::Stop { slot, instance: name, .. } = action else { continue };
            let instance = it.fleet.instance(slot).expect("only what is there is stopped");
            prop_assert_eq!(&instance.name, name);
            prop_assert!(!it.is_doomed(instance), "{} is being stopped already", slot);
            let fresh = instance.health.last.as_ref().is_some_and(|(at, _)| *at == NOW);
            serving += usize::from(it.is_available(&it.fleet.hosts[&slot.host], instance));
            in_doubt += usize::from(instance.is_running() && !fresh);
        }
        let floor = it.spec.budget.min_available() as usize;
        if serving + in_doubt > 0 {
            prop_assert!(
                it.available() >= floor + serving,
                "of {} available instances {serving} should not be stopped (and {in_doubt} in \
                 doubt): {floor} must stay",
                it.available()
            );
        }
    }

    #[test]
    fn starts_never_go_above_the_ceiling_and_only_into_free_slots_with_the_release(sketch in sketch()) {
        let it = sketch.draw();
        let made = plan(&it.spec, &it.rollout, &it.fleet, NOW);
        let running = it.running();
        let target = it.rollout.target_release();
        let starts: Vec<_> = made.actions.iter().filter(|action| matches!(action, Action::Start { .. })).collect();
        for action in &starts {
            let Action::Start { slot, release } = action else { continue };
            prop_assert_eq!(release, target);
            prop_assert!(it.spec.ports.contains(&slot.port), "{} is not a slot of the service", slot);
            prop_assert!(it.fleet.occupant(slot).is_none(), "{} is taken", slot);
            prop_assert!(!running.contains_key(slot), "a start is under way in {}", slot);
            prop_assert!(it.fleet.hosts[&slot.host].releases.contains(release), "the release is \
                                                                                 not on {}", slot.host);
        }
        if !starts.is_empty() {
            let new = running.values().filter(|release| *release == target).count();
            prop_assert!(running.len() + starts.len() <= it.spec.budget.max_running() as usize);
            prop_assert!(new + starts.len() <= it.spec.budget.replicas as usize);
            prop_assert!(it.fleet.hosts.values().all(|host| host.epoch == EPOCH), "a host may \
                                                                                   obey a late \
                                                                                   command");
        }
    }

    #[test]
    fn old_instances_that_serve_stay_as_long_as_unhealthy_ones_could_go(sketch in sketch()) {
        let it = sketch.draw();
        let made = plan(&it.spec, &it.rollout, &it.fleet, NOW);
        let replaced = |action: &&Action| matches!(action, Action::Stop { why: StopReason::Replaced, .. });
        if made.actions.iter().any(|action| replaced(&action)) {
            let unhealthy = it.fleet.instances().filter(|(_, host, instance)| {
                let failing = matches!(instance.health.last, Some((NOW, Verdict::Fail(_)))) && instance.is_running();
                failing && host.is_reachable() && instance.release != *it.rollout.target_release()
            });
            for (slot, ..) in unhealthy {
                prop_assert!(
                    made.actions.iter().any(|action| *action.host() == slot.host)
                        || it.rollout.orders.in_flight.values().any(|flight| *flight.action.host() == slot.host),
                    "{slot} is unhealthy and should go before one that serves"
                );
            }
        }
    }
}

#[test]
fn the_fleets_drawn_here_make_the_planner_give_orders_of_every_kind() {
    let mut runner = TestRunner::deterministic();
    let mut plans_with: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..300 {
        let it = sketch()
            .new_tree(&mut runner)
            .expect("a sketch")
            .current()
            .draw();
        let made = plan(&it.spec, &it.rollout, &it.fleet, NOW);
        let kinds: BTreeSet<String> = made
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
        "stop (old and unhealthy)",
        "stop (surplus)",
        "stop (dead)",
    ] {
        assert!(
            plans_with.get(kind).is_some_and(|plans| *plans >= 5),
            "too few plans with {kind}: {plans_with:?}"
        );
    }
    println!("{plans_with:?}");
}

// ── played through ───────────────────────────────────────────────────────────────────────────────

/// A fleet in which `replicas` (or fewer, or more) old instances serve, spread as chance has it.
#[derive(Clone, Debug)]
struct Healthy {
    hosts: usize,
    ports: usize,
    budget: Budget,
    /// The slots in the order in which the old instances took them, and how many did.
    order: Vec<usize>,
    old: usize,
}

fn healthy() -> impl Strategy<Value = Healthy> {
    (1..30_usize, 1..=MOST_PORTS)
        .prop_flat_map(|(hosts, ports)| {
            let slots = hosts * ports;
            let order = Just((0..slots).collect::<Vec<_>>()).prop_shuffle();
            (
                Just((hosts, ports)),
                0..=slots,
                amount(),
                amount(),
                order,
                prop_oneof![Just(None), (0..=slots).prop_map(Some)],
            )
        })
        .prop_filter_map(
            "a plan that cannot work is refused",
            |((hosts, ports), replicas, surge, unavailable, order, old)| {
                let replicas = u32::try_from(replicas).ok()?;
                let amounts = Amounts {
                    replicas,
                    max_surge: surge,
                    max_unavailable: unavailable,
                };
                let budget = amounts.resolve(hosts, ports).ok()?;
                Some(Healthy {
                    hosts,
                    ports,
                    budget,
                    order,
                    old: old.unwrap_or(replicas as usize),
                })
            },
        )
}

impl Healthy {
    fn draw(&self) -> Drawn {
        let ports: Vec<Port> = (8081..).take(self.ports).collect();
        let spec = spec(
            (1..=self.hosts).map(host_id).collect(),
            ports.clone(),
            self.budget,
        );
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
            let (id, port) = (host_id(slot / self.ports + 1), ports[slot % self.ports]);
            let instance = Condition::Available.instance(&format!("{id}-{port}"), "old");
            let host = fleet.hosts.get_mut(&id).expect("it is listed");
            host.releases.insert("old".into());
            host.slots.insert(port, Occupant::Instance(instance));
        }
        Drawn {
            rollout: rollout(&spec),
            spec,
            fleet,
        }
    }

    fn reaches_the_goal_within_the_budget(&self) -> Result<(), TestCaseError> {
        let it = self.draw();
        let played = preview(&it.spec, &it.rollout, &it.fleet, NOW);
        prop_assert_eq!(
            &played.outcome,
            &Some(Outcome::Succeeded),
            "{:#?}",
            played.batches.last()
        );
        let old = u32::try_from(self.old).expect("a small fleet");
        let floor = it.spec.budget.min_available().min(old);
        prop_assert!(
            played.worst_available >= floor,
            "{} available, at least {floor} must be",
            played.worst_available
        );
        let ceiling = it.spec.budget.max_running().max(old);
        prop_assert!(
            played.most_running <= ceiling,
            "{} running, at most {ceiling} may",
            played.most_running
        );
        Ok(())
    }

    fn spreads_the_new_instances_evenly(&self) -> Result<(), TestCaseError> {
        let it = self.draw();
        let by_host = new_instances_by_host(&it, &preview(&it.spec, &it.rollout, &it.fleet, NOW));
        let (fewest, most) = (by_host.values().min(), by_host.values().max());
        prop_assert!(
            most.zip(fewest)
                .is_none_or(|(most, fewest)| most - fewest <= 1),
            "spread unevenly: {by_host:?}"
        );
        Ok(())
    }

    fn orders_nothing_twice(&self) -> Result<(), TestCaseError> {
        let it = self.draw();
        let played = preview(&it.spec, &it.rollout, &it.fleet, NOW);
        let starts = new_instances_by_host(&it, &played).values().sum::<i64>();
        prop_assert_eq!(starts, i64::from(it.spec.budget.replicas));
        let stops = played.batches.iter().flat_map(|batch| &batch.actions);
        let is_replaced = |action: &&Action| {
            matches!(
                action,
                Action::Stop {
                    why: StopReason::Replaced,
                    ..
                }
            )
        };
        prop_assert_eq!(stops.filter(is_replaced).count(), self.old);
        Ok(())
    }

    /// Whether each host has room for its share beside what runs on it.
    fn has_room_everywhere(&self) -> bool {
        let share = (self.budget.replicas as usize).div_ceil(self.hosts);
        (0..self.hosts).all(|host| {
            let taken = self.order[..self.old]
                .iter()
                .filter(|slot| **slot / self.ports == host)
                .count();
            taken + share <= self.ports
        })
    }
}

fn new_instances_by_host(it: &Drawn, played: &Preview) -> BTreeMap<HostId, i64> {
    let mut by_host: BTreeMap<HostId, i64> =
        it.spec.hosts.iter().map(|id| (id.clone(), 0)).collect();
    for action in played.batches.iter().flat_map(|batch| &batch.actions) {
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
    fn from_any_healthy_fleet_the_goal_is_reached_within_the_budget(healthy in healthy()) {
        healthy.reaches_the_goal_within_the_budget()?;
    }

    #[test]
    fn the_new_instances_are_spread_evenly_where_there_is_room(healthy in healthy()) {
        prop_assume!(healthy.has_room_everywhere());
        healthy.spreads_the_new_instances_evenly()?;
    }

    #[test]
    fn nothing_is_ordered_twice_and_nothing_after_the_end(healthy in healthy()) {
        healthy.orders_nothing_twice()?;
    }
}

/// A fleet on which a planner once failed: all slots but one are taken, and the one that is left is
/// all the room there is.
#[test]
fn full_fleet_with_one_slot_left_reaches_the_goal_within_the_budget() {
    let healthy = Healthy {
        hosts: 7,
        ports: 3,
        budget: Budget {
            replicas: 20,
            surge: 1,
            unavailable: 0,
        },
        order: (0..21).collect(),
        old: 20,
    };
    for proven in [
        healthy.reaches_the_goal_within_the_budget(),
        healthy.orders_nothing_twice(),
    ] {
        proven.unwrap_or_else(|error| panic!("{error}"));
    }
}
