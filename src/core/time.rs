//! Time for the policy: callers pass it in, because the policy reads no clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The duration since `earlier`; zero if `earlier` is later, because a clock was set back.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, duration: Duration) -> Time {
        Time(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// Rounds up to whole seconds, at least 1. Some programs accept only whole seconds, and for some of
/// them 0 means no limit.
pub fn whole_seconds(duration: Duration) -> u64 {
    let rest = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(rest).max(1)
}

/// A duration for display: `350ms`, `4.2s`, `3m10s`, `2h5m`, `4d3h` (never more than two units).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let s = self.0.as_secs();
        let pair =
            |f: &mut fmt::Formatter<'_>, whole: u64, unit: char, rest: u64, rest_unit: char| {
                if rest == 0 {
                    write!(f, "{whole}{unit}")
                } else {
                    write!(f, "{whole}{unit}{rest}{rest_unit}")
                }
            };
        match s {
            0 => write!(f, "{ms}ms"),
            1..=9 if !ms.is_multiple_of(1000) => write!(f, "{s}.{}s", (ms % 1000) / 100),
            1..=59 => write!(f, "{s}s"),
            60..=3599 => pair(f, s / 60, 'm', s % 60, 's'),
            3600..=86_399 => pair(f, s / 3600, 'h', s % 3600 / 60, 'm'),
            _ => pair(f, s / 86_400, 'd', s % 86_400 / 3600, 'h'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        let human = |ms| Human(Duration::from_millis(ms)).to_string();
        assert_eq!(human(0), "0ms");
        assert_eq!(human(350), "350ms");
        assert_eq!(human(1000), "1s");
        assert_eq!(human(4250), "4.2s");
        assert_eq!(human(12_900), "12s");
        assert_eq!(human(190_000), "3m10s");
        assert_eq!(human(600_000), "10m");
        assert_eq!(human(7_500_000), "2h5m");
        assert_eq!(human(356_400_000), "4d3h");
    }

    #[test]
    fn time_since_a_later_time_is_zero() {
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
        assert_eq!(Time(u64::MAX) + Duration::from_secs(1), Time(u64::MAX));
    }
}
