//! Readiness: from single probes to "ready" and "available".
//!
//! The rules are those of Kubernetes: thresholds count consecutive results, an instance starts as
//! not ready, and an error *of the prober* is not a failure of the instance. An instance that was
//! not ready in between soaks again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::Time;

/// The prefix of a probe's error if this machine cannot resolve the address.
pub const UNRESOLVED: &str = "cannot resolve ";

/// A part of a probe's error if the address is only valid on its own network link.
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
    /// The age from which a verdict no longer counts, because the current state is unknown.
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
    /// The probe passed. The first line of the answer, if it has one.
    Pass(String),
    /// The probe failed, with this answer.
    Fail(String),
    /// The prober itself failed, which says nothing about the instance.
    Error(String),
}

/// A change between ready and not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Ready,
    /// The instance was ready and no longer is.
    NotReady,
}

/// The results of the probes of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Consecutive passes.
    pub passes: u32,
    /// Consecutive failures.
    pub failures: u32,
    /// Since when the instance has been ready without interruption.
    pub ready_since: Option<Time>,
    /// The last verdict about the instance, and its time. Until there is a pass or a failure, the
    /// last error of the prober.
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
                // If the earlier verdicts are outdated, one failure is enough.
                let enough = self.failures >= thresholds.failure_threshold
                    || !self.is_ready(now, thresholds);
                (self.ready_since.is_some() && enough).then(|| {
                    self.ready_since = None;
                    Change::NotReady
                })
            }
            // The instance may be healthy. The previous verdict counts until it is outdated.
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

    /// Resets the counts of consecutive passes and failures, because ship may have missed a
    /// verdict.
    pub fn reset_counts(&mut self) {
        (self.passes, self.failures) = (0, 0);
    }

    /// Whether the instance is ready, and the last verdict is still valid.
    pub fn is_ready(&self, now: Time, thresholds: &Thresholds) -> bool {
        self.ready_since.is_some()
            && self
                .last
                .as_ref()
                .is_some_and(|(at, _)| now.since(*at) <= thresholds.stale_after)
    }

    /// Whether the instance has been ready for `min_ready` without interruption.
    pub fn is_available(&self, now: Time, min_ready: Duration, thresholds: &Thresholds) -> bool {
        self.is_ready(now, thresholds)
            && self
                .ready_since
                .is_some_and(|since| now.since(since) >= min_ready)
    }

    /// The answer to the last probe, or why there was none.
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
    fn instance_becomes_ready_after_consecutive_passes() {
        let mut health = Health::default();
        assert_eq!(
            feed(&mut health, &[pass(), fail(), pass(), pass()]),
            [None, None, None, Some(Change::Ready)]
        );
    }

    #[test]
    fn instance_becomes_not_ready_after_consecutive_failures() {
        let mut health = Health::default();
        feed(&mut health, &[pass(), pass()]);
        assert_eq!(
            feed(&mut health, &[fail(), fail(), pass(), fail(), fail()]),
            [None; 5]
        );
        assert_eq!(feed(&mut health, &[fail()]), [Some(Change::NotReady)]);
    }

    #[test]
    fn instance_soaks_again_after_it_was_not_ready() {
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
    fn failure_after_outdated_verdicts_makes_instance_not_ready() {
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
    fn failures_with_outdated_verdicts_between_them_are_not_consecutive() {
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
