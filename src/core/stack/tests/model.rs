//! Model checking of the policy of a stack: a breadth-first search over everything that can happen
//! to small stacks.
//!
//! Every rollout ends in every possible way, the process dies between any two steps, and a user
//! aborts and resumes at any moment. The invariants check what the services really run and what
//! the store holds, not the phases of the policy.

mod application;
mod defects;
mod explorer;
mod invariants;
mod policy;
mod stack;
mod world;

use std::collections::BTreeSet;

use crate::core::stack::OnStackFailure;
use explorer::explore;
use policy::Correct;
use stack::Stack;

/// What the exploration must reach; otherwise it proves nothing about that case.
const MUST_REACH: [&str; 12] = [
    "a deployment that ends as Deployed",
    "a deployment that ends as RolledBack",
    "a deployment that ends as Held",
    "a deployment that ends as RollbackFailed",
    "a deployment that ends as Stopped",
    "a crash after a failure and before the new direction is saved",
    "a crash after some of the planned steps",
    "a rollout that reaches its goal although it was asked to roll back",
    "a request to roll back that reaches a rollout after its end",
    "an abort that is refused because a contract migration has begun",
    "a second rollout of a service that had rolled back",
    "a second rollout to take a service back",
];

/// Every order of this number of services. A service rolls out after others of earlier and later names.
fn orders(services: usize) -> Vec<Vec<(usize, usize)>> {
    let pairs: Vec<(usize, usize)> = (0..services)
        .flat_map(|one| (0..services).map(move |other| (one, other)))
        .filter(|(one, other)| one != other)
        .collect();
    let chosen = |bits: u32| {
        let pairs = pairs.iter().enumerate();
        let pairs = pairs.filter(move |(at, _)| bits & (1 << at) != 0);
        pairs.map(|(_, pair)| *pair).collect::<Vec<_>>()
    };
    (0..1 << pairs.len())
        .map(chosen)
        .filter(|order| is_free_of_cycles(services, order))
        .collect()
}

fn is_free_of_cycles(services: usize, order: &[(usize, usize)]) -> bool {
    let mut left: BTreeSet<usize> = (0..services).collect();
    while !left.is_empty() {
        let is_blocked = |service: &usize| {
            let mut edges = order.iter();
            edges.any(|(before, after)| after == service && left.contains(before))
        };
        let Some(free) = left.iter().copied().find(|service| !is_blocked(service)) else {
            return false;
        };
        left.remove(&free);
    }
    true
}

/// Stacks of one to three services in every order, and some of four.
fn stacks() -> Vec<Stack> {
    let mut stacks = Vec::new();
    for on_failure in [OnStackFailure::RollBack, OnStackFailure::Hold] {
        for services in 1..=3 {
            let masks = 0..1 << services;
            for order in orders(services) {
                let stack = Stack::new(services, &order, on_failure);
                let choices = masks
                    .clone()
                    .flat_map(|contracts| masks.clone().map(move |first| (contracts, first)));
                stacks.extend(choices.map(|(contracts, first)| {
                    let stack = stack.clone().with_contracts(contracts);
                    stack.without_earlier_revision(first)
                }));
            }
        }
        for order in orders_of_four() {
            let stack = Stack::new(4, &order, on_failure);
            stacks.push(stack.clone().with_contracts(0b1001));
            stacks.push(stack.without_earlier_revision(0b0010));
        }
    }
    stacks
}

/// A chain, a diamond, and two pairs.
fn orders_of_four() -> [Vec<(usize, usize)>; 3] {
    [
        vec![(0, 1), (1, 2), (2, 3)],
        vec![(0, 1), (0, 2), (1, 3), (2, 3)],
        vec![(2, 0), (3, 1)],
    ]
}

#[test]
fn policy_keeps_every_invariant_and_finishes_every_deployment() {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut states = 0;
    for stack in stacks() {
        let report = explore(&stack, &Correct).unwrap_or_else(|found| panic!("{}", found.path));
        states += report.states;
        reached.extend(report.reached);
    }
    for what in MUST_REACH {
        assert!(reached.contains(what), "never reached: {what}");
    }
    assert!(states >= 3_000_000, "explored only {states} states");
}
