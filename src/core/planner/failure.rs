//! The failures of a rollout, except for a missed progress deadline.

use crate::core::availability::grouped;
use crate::core::fleet::Process;
use crate::core::ids::HostId;
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::task;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::{Failure, FailureKind};
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// The failure of a rollout in the forward direction. A failure that may have caused failed
/// requests takes precedence over them.
pub(super) fn cause(s: &Situation<'_>) -> Option<Failure> {
    failed_action(s, |_| true)
        .or_else(|| task::failed(s))
        .or_else(|| exited_instance(s))
        .or_else(|| failed_requests(s))
        .or_else(|| breached_analysis(s))
}

/// A user requested a rollback. The request counts even if every instance is in place by now.
pub(super) fn aborted(s: &Situation<'_>) -> Option<Failure> {
    let by = s.rollout.requests.aborted.as_ref();
    by.filter(|_| !s.is_rolling_back())
        .map(|by| fleet_failure(FailureKind::Aborted, by.clone()))
}

/// A failure that concerns no single host.
fn fleet_failure(kind: FailureKind, detail: String) -> Failure {
    Failure {
        kind,
        host: None,
        slot: None,
        detail,
        waited: std::time::Duration::ZERO,
    }
}

/// More requests failed than allowed. In a rollback they only count, because the rollback is the
/// remedy.
pub(super) fn failed_requests(s: &Situation<'_>) -> Option<Failure> {
    let report = s.rollout.evidence.availability.as_ref();
    let report = report.filter(|report| report.is_breached())?;
    if s.is_rolling_back() || s.rollout.verb == Verb::Rollback {
        return None;
    }
    let (requests, failed) = (grouped(report.requests), grouped(report.failed));
    let first = report.failures.first();
    let why = first
        .map(|first| format!("; first failure: {}", first.why))
        .unwrap_or_default();
    let detail = format!(
        "{failed} of {requests} requests failed (limit {}){why}",
        report.max_failed_requests
    );
    let waited = first
        .zip(report.counted_from)
        .map(|(first, from)| first.at.since(from))
        .unwrap_or_default();
    Some(Failure {
        waited,
        ..fleet_failure(FailureKind::RequestsFailed, detail)
    })
}

/// An analysis that the new version has failed.
fn breached_analysis(s: &Situation<'_>) -> Option<Failure> {
    let analyses = s.spec.analyses.iter();
    let mut breaches = analyses.filter_map(|analysis| {
        let record = s.rollout.evidence.analyses.get(&analysis.name)?;
        Some((analysis.breach(record)?, record))
    });
    breaches.next().map(|(detail, record)| Failure {
        waited: s.now.since(record.since),
        ..fleet_failure(FailureKind::Analysis, detail)
    })
}

/// The failure of a rollback in which actions have failed and nothing is left to try or to wait
/// for.
pub(super) fn unrecoverable_failure(s: &Situation<'_>, plan: &PlanBuilder) -> Option<Failure> {
    let census = s.census;
    let waits = census.new > census.new_available
        || !s.rollout.orders.in_flight.is_empty()
        || !plan.is_empty();
    if !s.is_rolling_back() || waits || census.new >= census.desired {
        return None;
    }
    failed_action(s, |action| !matches!(action, Action::Start { .. }))
}

/// The kind of failure if an action fails; `None` if that fails nothing.
pub(super) fn kind_of(action: &Action) -> Option<FailureKind> {
    match action {
        Action::Claim { .. } | Action::Stage { .. } => Some(FailureKind::Stage),
        Action::Start {
            reloads: Some(_), ..
        } => Some(FailureKind::Reload),
        Action::Start { .. } => Some(FailureKind::Start),
        Action::Admit { .. } | Action::Drain { .. } => Some(FailureKind::Traffic),
        Action::Stop { .. } => Some(FailureKind::Stop),
        Action::Prune { .. } | Action::Disarm { .. } => None,
    }
}

/// An action that has failed for good, on a host that does not count as failed.
pub(super) fn failed_action(
    s: &Situation<'_>,
    is_relevant: fn(&Action) -> bool,
) -> Option<Failure> {
    let is_failed_host = |host: &HostId| {
        let mut hosts = s.census.hosts.iter();
        hosts.any(|count| !count.is_active() && count.id == host)
    };
    let failed = s.rollout.attempt.failed.iter();
    let mut failed = failed.filter(|failed| !is_failed_host(failed.action.host()));
    failed.find_map(|failed| {
        // Releases that were not pruned do no harm, and a disarm is tried again.
        let kind = kind_of(&failed.action)?;
        is_relevant(&failed.action).then(|| Failure {
            kind,
            host: Some(failed.action.host().clone()),
            slot: failed.action.slot().cloned(),
            detail: failed.error.clone(),
            waited: failed.after,
        })
    })
}

/// An instance that this rollout started and that exited. A single restart counts even if the
/// instance is ready again: a healthy instance does not exit within minutes of its start.
pub(super) fn exited_instance(s: &Situation<'_>) -> Option<Failure> {
    s.census.instances().find_map(|(host, counted)| {
        let instance = counted.instance;
        let is_own = counted.is_target && s.was_started(counted) && !counted.is_stopping;
        let has_ended = !instance.is_running() || instance.restarts > 0;
        if !is_own || !host.is_reachable() || !has_ended {
            return None;
        }
        let failed_liveness = &instance.sighting.failed_liveness;
        let (kind, detail) = if failed_liveness.is_empty() {
            (FailureKind::Exited, exit_description(counted))
        } else {
            (FailureKind::Liveness, failed_liveness.clone())
        };
        Some(failure_at(s, kind, host, counted, detail, instance.started))
    })
}

fn exit_description(counted: &JudgedInstance<'_>) -> String {
    let restarted = match (&counted.instance.process, counted.instance.restarts) {
        (Process::Ended { how }, _) => return how.clone(),
        (Process::Running, 1) => "systemd restarted it once".to_owned(),
        (Process::Running, restarts) => format!("systemd restarted it {restarts} times"),
    };
    match counted.instance.sighting.last_exit.as_str() {
        "" => restarted,
        how => format!("{how}; {restarted}"),
    }
}

/// A failure of an instance. `since` is when ship began to wait for the instance.
pub(super) fn failure_at(
    s: &Situation<'_>,
    kind: FailureKind,
    host: &HostCount<'_>,
    counted: &JudgedInstance<'_>,
    detail: String,
    since: Time,
) -> Failure {
    Failure {
        kind,
        host: Some(host.id.clone()),
        slot: Some(counted.slot_on(host)),
        detail,
        waited: s.now.since(since),
    }
}
