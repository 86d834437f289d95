//! The response to a failure: the host counts as failed, the rollout rolls back, or it is held for
//! a person.

use crate::core::ids::HostId;
use crate::core::planner::decision::Next;
use crate::core::planner::situation::Situation;
use crate::core::planner::{singleton, task, traffic};
use crate::core::rollout::event::{FailureResponse, RevisionRef};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;
use crate::core::spec::OnFailure;

const NO_ROLLBACK_TARGET: &str = "no other revision has been proven healthy";

/// The next step after a failure.
pub(super) fn on_failure(s: &Situation<'_>, failure: Failure) -> Next {
    if may_fail_host(s, &failure) {
        return Next::FailHost(failure);
    }
    if s.is_rolling_back() {
        // Actions in flight end first, because no controller would see their results afterwards.
        if !s.rollout.orders.in_flight.is_empty() {
            return Next::AwaitInFlight;
        }
        return end(s, Outcome::RollbackFailed { failure });
    }
    let then = match rollback_blocked_by(s, &failure) {
        Some(why) => FailureResponse::Hold { why },
        None => FailureResponse::RollBack,
    };
    Next::Fail(failure, then)
}

/// Runs the tasks for this outcome, then ends the rollout.
pub(super) fn end(s: &Situation<'_>, outcome: Outcome) -> Next {
    match task::at_the_end(s, &outcome) {
        Some(run) => Next::Run(run),
        None => Next::Finish(outcome),
    }
}

/// Whether the failure concerns one host, and one more host may fail.
fn may_fail_host(s: &Situation<'_>, failure: &Failure) -> bool {
    // A task concerns all hosts, wherever it ran.
    if failure.kind.is_task_failure() {
        return false;
    }
    // The last host may not fail: no instance would serve, but all would seem to be in place.
    let is_failed_host = |host: &HostId| failure.host.as_ref() == Some(host);
    let has_others = s.usable_hosts().any(|host| !is_failed_host(host.id));
    if !has_others && s.budget.replicas > 0 {
        return false;
    }
    let failed_hosts = &s.rollout.attempt.failed_hosts;
    let may_fail =
        |count| u32::try_from(count).is_ok_and(|count: u32| count < s.spec.max_failed_hosts);
    let host = failure.host.as_ref();
    host.is_some_and(|host| {
        singleton::may_leave(s, host)
            && may_fail(failed_hosts.len())
            && !failed_hosts.contains_key(host)
    })
}

/// Why a failed rollout is held instead of rolling back.
fn rollback_blocked_by(s: &Situation<'_>, failure: &Failure) -> Option<String> {
    if task::has_contracted(s) {
        return Some(
            "a contract migration was started and may have removed what older versions need".into(),
        );
    }
    let rollback_target = s.rollout.rollback_target.as_ref();
    if failure.kind == FailureKind::Aborted {
        return rollback_target.is_none().then(|| NO_ROLLBACK_TARGET.into());
    }
    if s.rollout.scaling.is_some() {
        return Some("a change of the number of instances is not rolled back".into());
    }
    if traffic::lost_balancer(s).is_some() {
        return Some("a load balancer is unreachable, which would block the rollback too".into());
    }
    if s.spec.on_failure == OnFailure::Hold {
        return Some("on_failure = \"hold\"".into());
    }
    if let Some(why) = blocked_by_verb(s) {
        return Some(why.into());
    }
    match rollback_target {
        Some(rollback_target) => unhealthy_rollback_target(s, rollback_target),
        None => Some(NO_ROLLBACK_TARGET.into()),
    }
}

fn blocked_by_verb(s: &Situation<'_>) -> Option<&'static str> {
    match s.rollout.verb {
        Verb::Rollback => Some("a failed rollback is not rolled back"),
        Verb::Adopt | Verb::Restart | Verb::Scale | Verb::Migrate => {
            Some("the release has not changed, so there is nothing to roll back to")
        }
        // A release that was proven healthy is not the likely cause of a failure.
        Verb::Deploy if s.rollout.is_proven => {
            Some("this revision was proven healthy before, so it may not be the cause")
        }
        Verb::Deploy => None,
    }
}

/// Why a rollback would not help: instances of the rollback target fail, too. An instance that
/// turned unhealthy before ship stopped it still counts.
fn unhealthy_rollback_target(s: &Situation<'_>, rollback_target: &RevisionRef) -> Option<String> {
    let unhealthy = &s.rollout.evidence.rollback_target_turned_unhealthy;
    let mut instances = s.census.instances();
    let lost = instances.find(|(host, counted)| {
        !host.is_reachable() && counted.instance.release == rollback_target.release
    });
    let found = lost.or_else(|| {
        let mut instances = s.census.instances();
        instances.find(|(_, counted)| unhealthy.contains(&counted.instance.name))
    });
    let example = match found {
        Some((host, counted)) => counted.slot_on(host).to_string(),
        None => unhealthy.first()?.to_string(),
    };
    Some(format!(
        "instances of the old version {} fail too ({example}), so the new version may not be the \
         cause",
        rollback_target.version
    ))
}
