//! Analyses: measurements of a new version during its rollout, and when they make the rollout fail.

pub mod compare;

use std::time::Duration;

use self::compare::Tolerance;
use crate::core::analysis::measurement::{Bound, Finding, Record};
use crate::core::fleet::Fleet;
use crate::core::fleet::traffic::{Traffic, TrafficState};
use crate::core::rollout::verb::Verb;
use crate::core::rollout::{Direction, Rollout};
use crate::core::time::Time;

/// A number that is measured repeatedly while new instances serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    pub name: String,
    pub method: MeasurementMethod,
    /// The time from the start of one measurement to the start of the next.
    pub interval: Duration,
    /// How long one measurement may take.
    pub timeout: Duration,
    /// The number of failed measurements that a rollout tolerates.
    pub failure_limit: u32,
    /// The number of consecutive errors that a rollout tolerates.
    pub consecutive_error_limit: u32,
    /// What follows an inconclusive measurement.
    pub on_inconclusive: OnInconclusive,
    /// Whether results are only reported.
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasurementMethod {
    /// A value of a JSON document.
    Http {
        url: String,
        /// The JSON pointer to the value: `/errors/rate`. Empty for the whole document.
        pointer: String,
        success: Bound,
    },
    /// A query to Prometheus, for a scalar or a vector of one element.
    Prometheus {
        /// The base URL: `http://prometheus:9090`.
        address: String,
        query: String,
        success: Bound,
    },
    /// A command on the control machine.
    Command {
        /// The program and its arguments.
        words: Vec<String>,
        /// The bound on the number that the command prints; without a bound, the exit status
        /// counts.
        success: Option<Bound>,
    },
    /// A comparison of the new instances with the old ones.
    Compare(Tolerance),
}

/// What follows an inconclusive measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInconclusive {
    /// The rollout continues.
    #[default]
    Pass,
    /// No step passes until a measurement is conclusive.
    Hold,
    /// The measurement counts as failed.
    Fail,
}

impl Analysis {
    /// Why the analysis fails the rollout, if it does.
    pub fn breach(&self, record: &Record) -> Option<String> {
        if self.dry_run {
            return None;
        }
        let describe = |count: u32, limit: u32, what: &str| {
            let count = if limit == 0 {
                String::new()
            } else {
                format!(" ({count} {what}, limit {limit})")
            };
            format!("{}: {}{count}", self.name, record.detail)
        };
        if record.errors_in_a_row > self.consecutive_error_limit {
            return Some(describe(
                record.errors_in_a_row,
                self.consecutive_error_limit,
                "consecutive errors",
            ));
        }
        let counts_inconclusive = self.on_inconclusive == OnInconclusive::Fail;
        let failures = record.failures
            + if counts_inconclusive {
                record.inconclusive
            } else {
                0
            };
        // The detail is that of the last measurement, which exceeded the limit.
        (failures > self.failure_limit).then(|| describe(failures, self.failure_limit, "failed"))
    }

    /// Why the rollout must wait at a step that was reached at `reached`: it needs a conclusive
    /// measurement since then.
    pub fn wait_reason(&self, record: Option<&Record>, reached: Time) -> Option<String> {
        if self.dry_run {
            return None;
        }
        let Some(record) = record.filter(|record| record.last >= reached) else {
            return Some(format!("{} has not been measured yet", self.name));
        };
        let is_conclusive = match record.finding {
            // If there are too many failures, `breach` fails the rollout.
            Finding::Success | Finding::Failure => true,
            Finding::Inconclusive => self.on_inconclusive != OnInconclusive::Hold,
            Finding::Error => false,
        };
        (!is_conclusive).then(|| format!("{}: {}", self.name, record.detail))
    }
}

/// Whether analyses run now: the rollout moves forward, and an instance of the new version gets
/// requests.
pub fn is_measured(rollout: &Rollout, fleet: &Fleet, traffic: Option<&Traffic>) -> bool {
    let is_moving_forward = rollout.verb == Verb::Deploy
        && rollout.scaling.is_none()
        && rollout.direction == Direction::Forward
        && rollout.outcome.is_none()
        && rollout.requests.aborted.is_none()
        && rollout.requests.paused.is_none()
        && !rollout.requests.interrupted;
    is_moving_forward
        && fleet.instances().any(|(slot, host, instance)| {
            instance.release == rollout.goal.release
                && host.is_reachable()
                && instance.is_running()
                && instance.health.ready_since.is_some()
                && matches!(
                    fleet.traffic_state(traffic, &slot),
                    TrafficState::Direct | TrafficState::Open
                )
        })
}

pub mod measurement;
#[cfg(test)]
mod tests;
