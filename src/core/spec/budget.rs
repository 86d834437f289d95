//! The budget of a rollout: `maxSurge` and `maxUnavailable` as in Kubernetes.
//!
//! The rules are those of `pkg/controller/deployment/util` in Kubernetes: a surge in percent rounds
//! **up**, an unavailability in percent rounds **down**, and if both *resolve* to 0 the
//! unavailability becomes 1. Two literal zeros are refused (`Spec::new`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A count (`2`) or a share of the replicas (`25%`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    Count(u32),
    /// A percentage of the replicas, 0 to 100.
    Percent(u32),
}

impl Amount {
    /// Whether the amount is a literal zero, `0` or `0%`.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Count(0) | Amount::Percent(0))
    }

    /// The number for this many replicas; a percentage is rounded up.
    pub fn rounded_up(self, replicas: u32) -> u32 {
        match self {
            Amount::Count(count) => count,
            Amount::Percent(percent) => share(replicas, percent, 99),
        }
    }

    fn rounded_down(self, replicas: u32) -> u32 {
        match self {
            Amount::Count(count) => count,
            Amount::Percent(percent) => share(replicas, percent, 0),
        }
    }
}

fn share(replicas: u32, percent: u32, round: u64) -> u32 {
    let exact = u64::from(replicas) * u64::from(percent) + round;
    u32::try_from(exact / 100).unwrap_or(u32::MAX)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Count(count) => write!(f, "{count}"),
            Amount::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is neither a count such as 2 nor a percentage such as \"25%\"");
        match text.strip_suffix('%') {
            None => text.parse().map(Amount::Count).map_err(|_| wrong()),
            Some(number) => match number.parse() {
                Ok(percent @ 0..=100) => Ok(Amount::Percent(percent)),
                Ok(percent) => Err(format!("{percent}% is more than 100%")),
                Err(_) => Err(wrong()),
            },
        }
    }
}

/// The numbers of instances within which a rollout must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The number of instances wanted.
    pub replicas: u32,
    /// Additional instances that may run during a rollout.
    pub surge: u32,
    /// Instances that may be unavailable during a rollout.
    pub unavailable: u32,
}

impl Budget {
    /// Resolves the two amounts for a number of replicas.
    pub fn resolve(replicas: u32, max_surge: Amount, max_unavailable: Amount) -> Self {
        let surge = max_surge.rounded_up(replicas);
        let unavailable = max_unavailable.rounded_down(replicas).min(replicas);
        // Both percentages may resolve to zero. A rollout that can neither add nor remove an
        // instance would never finish.
        let unavailable = if surge == 0 && unavailable == 0 {
            1.min(replicas)
        } else {
            unavailable
        };
        Self {
            replicas,
            surge,
            unavailable,
        }
    }

    /// The fewest instances that must be available.
    pub fn min_available(&self) -> u32 {
        self.replicas - self.unavailable
    }

    /// The most instances that may run.
    pub fn max_running(&self) -> u32 {
        self.replicas.saturating_add(self.surge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of Kubernetes' own `TestResolveFenceposts`, and more.
    #[test]
    fn budget_resolves_as_kubernetes_does() {
        let cases = [
            ("0%", "0%", 10, 0, 1),
            ("39%", "39%", 10, 4, 3),
            ("50%", "50%", 10, 5, 5),
            ("100%", "100%", 10, 10, 10),
            ("25%", "25%", 3, 1, 0),
            ("25%", "25%", 1, 1, 0),
            ("0", "25%", 3, 0, 1),
            ("1", "0", 3, 1, 0),
            ("2", "7", 3, 2, 3),
            ("1%", "1%", 500, 5, 5),
            ("25%", "25%", 0, 0, 0),
        ];
        for (surge, unavailable, replicas, expect_surge, expect_unavailable) in cases {
            let budget = Budget::resolve(
                replicas,
                surge.parse().unwrap(),
                unavailable.parse().unwrap(),
            );
            assert_eq!(
                (budget.surge, budget.unavailable),
                (expect_surge, expect_unavailable),
                "surge {surge}, unavailable {unavailable}, replicas {replicas}"
            );
        }
    }

    #[test]
    fn amount_rejects_invalid_text() {
        assert_eq!(
            "101%".parse::<Amount>().unwrap_err(),
            "101% is more than 100%"
        );
        for text in ["", "%", "-1", "1.5", "25 %", "many"] {
            assert!(
                text.parse::<Amount>()
                    .unwrap_err()
                    .contains("neither a count"),
                "{text}"
            );
        }
    }
}
