//! Readiness: from single probes to "ready" and "available".
//!
//! Kubernetes' rules: thresholds are consecutive, an instance starts as not ready, and an error *of
//! the prober* is not a failure of the instance. A flap restarts the soak.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::Time;

/// The prefix of a probe's error where this machine cannot resolve the address.
pub const UNRESOLVED: &str = "cannot resolve ";

/// Part of a probe's error where the address only has a meaning on its own network link.
pub const LINK_LOCAL: &str = "is a link-local address";

/// The prefix of a probe's error if no process listens on the port.
pub const REFUSED: &str = "connection refused";

/// How many verdicts in a row change the state, and how long a verdict is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Consecutive passes that make an instance ready.
    pub success_threshold: u32,
    /// Consecutive failures that make a ready instance not ready.
    pub failure_threshold: u32,
    /// An older verdict does not count, because the present state is not known.
    pub stale_after: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            success_threshold: 1,
            failure_threshold: 3,
            stale_after: Duration::from_secs(10),
        }
    }
}

/// The result of one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "answer")]
pub enum Verdict {
    /// It passed; the answer's first line, if it has one.
    Pass(String),
    /// It failed, with this answer.
    Fail(String),
    /// The prober itself failed, which says nothing about the instance.
    Error(String),
}

/// A change between ready and not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Ready,
    /// It was ready and is not any more.
    NotReady,
}

/// The results of one instance's probes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Consecutive passes.
    pub passes: u32,
    /// Consecutive failures.
    pub failures: u32,
    /// Since when it has been ready without interruption.
    pub ready_since: Option<Time>,
    /// The last verdict about the instance, and when it came; as long as there is none, why it
    /// could not be asked.
    pub last: Option<(Time, Verdict)>,
}

impl Health {
    /// Records one probe's verdict at `now`. If the verdict makes the instance ready, its readiness
    /// counts from `ready_from`: `now`, or the start of an instance that ran long before ship
    /// probed it.
    pub fn record(
        &mut self,
        verdict: Verdict,
        now: Time,
        ready_from: Time,
        thresholds: &Thresholds,
    ) -> Option<Change> {
        let is_valid = |at: Time| now.since(at) <= thresholds.stale_after;
        if !matches!(&verdict, Verdict::Error(_))
            && !self.last.as_ref().is_some_and(|(at, _)| is_valid(*at))
        {
            self.reset_counts();
        }
        let change = match &verdict {
            Verdict::Pass(_) => {
                self.passes = self.passes.saturating_add(1);
                self.failures = 0;
                (self.ready_since.is_none() && self.passes >= thresholds.success_threshold).then(
                    || {
                        self.ready_since = Some(ready_from);
                        Change::Ready
                    },
                )
            }
            Verdict::Fail(_) => {
                self.failures = self.failures.saturating_add(1);
                self.passes = 0;
                // After a long silence nothing speaks for it any more, and one failure is enough.
                let enough = self.failures >= thresholds.failure_threshold
                    || !self.is_ready(now, thresholds);
                (self.ready_since.is_some() && enough).then(|| {
                    self.ready_since = None;
                    Change::NotReady
                })
            }
            // The instance may be fine; the verdict before it goes stale by itself.
            Verdict::Error(_) => {
                if matches!(self.last, None | Some((_, Verdict::Error(_)))) {
                    self.last = Some((now, verdict));
                }
                return None;
            }
        };
        self.last = Some((now, verdict));
        change
    }

    /// Resets the counts of passes and failures in a row, because ship may have missed a verdict.
    /// The next verdict is then the first in a row.
    pub fn reset_counts(&mut self) {
        (self.passes, self.failures) = (0, 0);
    }

    /// Whether it is ready, by a verdict that is still valid.
    pub fn is_ready(&self, now: Time, thresholds: &Thresholds) -> bool {
        self.ready_since.is_some()
            && self
                .last
                .as_ref()
                .is_some_and(|(at, _)| now.since(*at) <= thresholds.stale_after)
    }

    /// Whether it has been ready for `min_ready` without interruption.
    pub fn is_available(&self, now: Time, min_ready: Duration, thresholds: &Thresholds) -> bool {
        self.is_ready(now, thresholds)
            && self
                .ready_since
                .is_some_and(|since| now.since(since) >= min_ready)
    }

    /// The last probe's answer, or why there was none, for a person.
    pub fn last_answer(&self) -> Option<&str> {
        self.last.as_ref().map(|(_, verdict)| match verdict {
            Verdict::Pass(text) | Verdict::Fail(text) | Verdict::Error(text) => text.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        success_threshold: 2,
        failure_threshold: 3,
        stale_after: Duration::from_secs(10),
    };

    fn pass() -> Verdict {
        Verdict::Pass("ok".into())
    }

    fn fail() -> Verdict {
        Verdict::Fail("connection refused".into())
    }

    /// Feeds one verdict a second and returns the changes.
    fn feed(health: &mut Health, verdicts: &[Verdict]) -> Vec<Option<Change>> {
        let from = health.last.as_ref().map_or(0, |(at, _)| at.0 / 1000);
        (from + 1..)
            .zip(verdicts)
            .map(|(s, verdict)| {
                health.record(verdict.clone(), Time(s * 1000), Time(s * 1000), &THRESHOLDS)
            })
            .collect()
    }

    #[test]
    fn only_passes_in_a_row_make_it_ready() {
        let mut health = Health::default();
        assert_eq!(
            feed(&mut health, &[pass(), fail(), pass(), pass()]),
            [None, None, None, Some(Change::Ready)]
        );
    }

    #[test]
    fn only_failures_in_a_row_make_it_unready() {
        let mut health = Health::default();
        feed(&mut health, &[pass(), pass()]);
        assert_eq!(
            feed(&mut health, &[fail(), fail(), pass(), fail(), fail()]),
            [None; 5]
        );
        assert_eq!(feed(&mut health, &[fail()]), [Some(Change::NotReady)]);
    }

    #[test]
    fn a_flap_restarts_the_soak() {
        let min_ready = Duration::from_secs(3);
        let mut health = Health::default();
        feed(&mut health, &[pass(), pass(), pass(), pass()]);
        assert!(!health.is_available(Time(4000), min_ready, &THRESHOLDS));
        assert!(health.is_available(Time(5000), min_ready, &THRESHOLDS));
        feed(&mut health, &[fail(), fail(), fail(), pass(), pass()]);
        assert!(
            !health.is_available(Time(11_000), min_ready, &THRESHOLDS),
            "ready again since 9 s only"
        );
        assert!(health.is_available(Time(12_000), min_ready, &THRESHOLDS));
    }

    #[test]
    fn a_failure_after_a_long_silence_does_not_make_it_ready_again() {
        let mut health = Health::default();
        feed(&mut health, &[pass(), pass()]);
        assert!(
            !health.is_ready(Time(13_000), &THRESHOLDS),
            "eleven seconds without a verdict"
        );
        assert_eq!(
            health.record(fail(), Time(13_000), Time(13_000), &THRESHOLDS),
            Some(Change::NotReady)
        );
        assert!(!health.is_ready(Time(13_000), &THRESHOLDS));
    }

    #[test]
    fn failures_with_a_long_silence_between_them_are_not_in_a_row() {
        let mut health = Health::default();
        feed(&mut health, &[fail(), fail()]);
        health.record(fail(), Time(13_000), Time(13_000), &THRESHOLDS);
        assert_eq!(health.failures, 1);
    }

    #[test]
    fn health_ignores_prober_error_until_last_verdict_expires() {
        let mut health = Health::default();
        feed(&mut health, &[pass(), pass()]);
        for s in 3..9 {
            health.record(
                Verdict::Error("no file descriptors".into()),
                Time(s * 1000),
                Time(s * 1000),
                &THRESHOLDS,
            );
        }
        assert!(health.is_ready(Time(12_000), &THRESHOLDS));
        assert!(
            !health.is_ready(Time(12_001), &THRESHOLDS),
            "ten seconds without a verdict"
        );
    }
}
