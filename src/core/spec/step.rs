//! The steps of a rollout. Each has a number of new instances and a gate.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::spec::budget::Amount;

/// A step of a rollout, with its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The most instances of the new release in this step.
    pub instances: Amount,
    /// How long these instances must have served before the rollout continues.
    pub soak: Duration,
    /// Whether a person must then promote the rollout.
    pub pause: bool,
    /// The share of all requests that the new instances get, in percent; `None` for the share that
    /// corresponds to their number.
    pub weight_percent: Option<u32>,
}

/// What happens at a gate that needs a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGate {
    /// ship waits for `ship promote`.
    #[default]
    Wait,
    /// ship exits, and `ship promote` continues.
    Exit,
    /// The rollout continues without a person.
    Promote,
}

/// The weight of an instance without a set weight.
pub const FULL_WEIGHT_PERCENT: u32 = 100;

impl Step {
    /// The number of new instances in this step, of `replicas`: at least one, at most all.
    pub fn count(&self, replicas: u32) -> u32 {
        self.instances
            .rounded_up(replicas)
            .clamp(1.min(replicas), replicas)
    }

    /// The weight of each new instance, in percent of the weight of an old one. It gives all new
    /// instances together their share of the requests. `None` for the full weight.
    pub fn weight_of_each(&self, replicas: u32) -> Option<u32> {
        let share = self.weight_percent?.min(100);
        let new = self.count(replicas);
        let old = replicas - new;
        if old == 0 || share == 100 {
            return None;
        }
        let weight = (share * old * 100 + (100 - share) * new / 2) / ((100 - share) * new);
        // With a weight of 0, the instance would get no requests.
        (weight < FULL_WEIGHT_PERCENT).then_some(weight.max(1))
    }
}

/// The steps of an unattended rollout: a first step with one instance and this soak time, unless
/// the first step has only one instance anyway.
pub fn one_first(steps: &[Step], soak: Duration, replicas: u32) -> Vec<Step> {
    let step = |instances, soak| Step {
        instances,
        soak,
        pause: false,
        weight_percent: None,
    };
    match steps {
        [first, ..] if first.count(replicas) <= 1 => steps.to_vec(),
        [] if replicas > 1 => vec![
            step(Amount::Count(1), soak),
            step(Amount::Percent(100), Duration::ZERO),
        ],
        _ => [&[step(Amount::Count(1), soak)], steps].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unattended_rollout_starts_with_one_instance() {
        let soak = Duration::from_mins(5);
        let counts = |steps: &[Step], replicas| -> Vec<_> {
            one_first(steps, soak, replicas)
                .iter()
                .map(|step| (step.count(replicas), step.soak))
                .collect()
        };
        assert_eq!(counts(&[], 3), [(1, soak), (3, Duration::ZERO)]);
        assert_eq!(counts(&[], 1), [(1, soak)]);
        assert_eq!(
            counts(&[step("50%", None)], 10),
            [(1, soak), (5, Duration::ZERO)]
        );
        assert_eq!(
            counts(&[step("1", None), step("100%", None)], 10),
            [(1, Duration::ZERO), (10, Duration::ZERO)]
        );
    }

    fn step(instances: &str, weight_percent: Option<u32>) -> Step {
        Step {
            instances: instances.parse().unwrap(),
            soak: Duration::ZERO,
            pause: false,
            weight_percent,
        }
    }

    #[test]
    fn step_has_at_least_one_instance_and_at_most_all() {
        assert_eq!(step("1", None).count(3), 1);
        assert_eq!(step("25%", None).count(3), 1);
        assert_eq!(step("25%", None).count(10), 3);
        assert_eq!(step("0", None).count(3), 1);
        assert_eq!(step("9", None).count(3), 3);
        assert_eq!(step("100%", None).count(0), 0);
    }

    #[test]
    fn weight_gives_new_instances_their_share_of_requests() {
        // 1 × 21 of 1 × 21 + 4 × 100 is 5 %.
        assert_eq!(step("1", Some(5)).weight_of_each(5), Some(21));
        assert_eq!(
            step("1", Some(50)).weight_of_each(2),
            None,
            "as much as the other"
        );
        assert_eq!(
            step("1", Some(90)).weight_of_each(3),
            None,
            "more than the full weight cannot be had"
        );
        assert_eq!(step("1", Some(1)).weight_of_each(2), Some(1));
        assert_eq!(step("100%", Some(5)).weight_of_each(4), None);
        assert_eq!(step("1", None).weight_of_each(4), None);
    }
}
