//! The steps of a rollout: some instances first, then a time to watch them, then more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::spec::budget::Amount;

/// A gate in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The most instances of the new release in this step.
    pub instances: Amount,
    /// How long these must have served before the rollout continues.
    pub soak: Duration,
    /// Whether a person must then promote the rollout.
    pub pause: bool,
    /// The part of all requests that the new instances get, in percent; `None` for as much as the
    /// others.
    pub weight_percent: Option<u32>,
}

/// What happens at a gate that needs a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGate {
    /// Ship waits for `ship promote`.
    #[default]
    Wait,
    /// ship exits, and `ship promote` continues.
    Exit,
    /// The rollout continues without a person.
    Promote,
}

/// The weight of an instance for which none is set.
pub const FULL_WEIGHT_PERCENT: u32 = 100;

impl Step {
    /// Its instances of these replicas: at least one, at most all.
    pub fn count(&self, replicas: u32) -> u32 {
        self.instances
            .rounded_up(replicas)
            .clamp(1.min(replicas), replicas)
    }

    /// The weight of each new instance, in percent of an old one's, that gives the new ones
    /// together their part of all requests; `None` for the full weight.
    pub fn weight_of_each(&self, replicas: u32) -> Option<u32> {
        let part = self.weight_percent?.min(100);
        let new = self.count(replicas);
        let old = replicas - new;
        if old == 0 || part == 100 {
            return None;
        }
        let weight = (part * old * 100 + (100 - part) * new / 2) / ((100 - part) * new);
        // A weight of 0 is none at all, which no step means.
        (weight < FULL_WEIGHT_PERCENT).then_some(weight.max(1))
    }
}

/// The steps of an unattended rollout: one instance first, which is watched for this time.
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
    fn unattended_one_instance_comes_first() {
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
    fn a_step_is_at_least_one_instance_and_at_most_all() {
        assert_eq!(step("1", None).count(3), 1);
        assert_eq!(step("25%", None).count(3), 1);
        assert_eq!(step("25%", None).count(10), 3);
        assert_eq!(step("0", None).count(3), 1);
        assert_eq!(step("9", None).count(3), 3);
        assert_eq!(step("100%", None).count(0), 0);
    }

    #[test]
    fn weights_give_the_new_ones_their_part() {
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
