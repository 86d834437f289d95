//! How long ship waits: for an action, for progress, and before another attempt to start.

use std::time::Duration;

use crate::core::ids::Slot;
use crate::core::planner::host_count::HostCount;
use crate::core::planner::situation::Situation;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::planner::{arming, task, traffic, windows};
use crate::core::rollout::action::Action;
use crate::core::rollout::attempt::StartAttempts;
use crate::core::time::Time;

/// The time that an action may take in addition to the timeouts of its release, for the SSH round
/// trip and the script on the host.
const ORDER_MARGIN: Duration = Duration::from_secs(30);

/// The time to close connections after the drain timeout, and to report that.
const DRAIN_MARGIN: Duration = Duration::from_secs(15);

/// The longest time between two plans, even if nothing happens.
const PLAN_INTERVAL_MAX: Duration = Duration::from_mins(1);

/// The progress deadline. It is later if the timeouts of an action in flight, of a task or of a
/// lock allow more time.
pub(super) fn deadline(s: &Situation<'_>) -> Time {
    let usual = s.rollout.attempt.last_progress + s.progress_deadline();
    let in_flight = s.rollout.orders.in_flight.values();
    let orders = in_flight.filter_map(|order| Some(order.since + allowed(s, &order.action)?));
    task::ends_at(s)
        .into_iter()
        .chain(orders)
        .chain(lock_held_until(s))
        .fold(usual, Time::max)
}

/// How long an action may take by the timeouts of its release; `None` if none applies.
fn allowed(s: &Situation<'_>, action: &Action) -> Option<Duration> {
    match action {
        Action::Drain { .. } => s
            .spec
            .traffic
            .as_ref()
            .map(|traffic| traffic.drain_timeout + DRAIN_MARGIN),
        Action::Stop { slot, instance, .. } => {
            let known = s
                .fleet
                .instance(slot)
                .filter(|known| known.name == *instance);
            let stop = known.map(|known| s.spec.waits_of(&known.release).stop);
            Some(stop.unwrap_or_else(|| s.spec.longest_stop()) + ORDER_MARGIN)
        }
        Action::Start { release, .. } => {
            let start = s.spec.waits_of(release).start;
            (!start.is_zero()).then(|| start + ORDER_MARGIN)
        }
        Action::Claim { .. }
        | Action::Stage { .. }
        | Action::Admit { .. }
        | Action::Disarm { .. }
        | Action::Prune { .. } => None,
    }
}

/// The time until which an earlier action may still hold the lock of a reachable host and block
/// every other action there.
fn lock_held_until(s: &Situation<'_>) -> Option<Time> {
    let answers = s.census.hosts.iter().filter(|host| host.is_reachable());
    let since = answers
        .filter_map(|host| s.rollout.orders.unsettled_since.get(host.id))
        .max()?;
    Some(*since + s.spec.longest_action() + ORDER_MARGIN)
}

/// The next time at which the plan may change without an event.
pub(super) fn wake_at(s: &Situation<'_>) -> Time {
    let soaked = s.census.instances().filter_map(|(_, counted)| {
        let soaking = counted.is_ready && !counted.is_available && !counted.is_stopping;
        let ready_since = counted.instance.health.ready_since.filter(|_| soaking);
        ready_since.map(|since| since + s.spec.min_ready)
    });
    let armed = s.rollout.attempt.armed.values();
    let decided = armed.map(|fires| arming::must_decide_by(*fires));
    let hosts = s.census.hosts.iter();
    let retries = hosts.filter_map(|host| host.retry(s.spec, s.rollout, s.now));
    let retry_times = retries.map(|(_, attempts)| attempts.next_at());
    let balancer_deadline =
        traffic::balancer_lost_since(s).map(|since| since + s.progress_deadline());
    let all = soaked
        .chain(decided)
        .chain(retry_times)
        .chain(balancer_deadline)
        .chain(windows::changes_at(s));
    // Times in the past no longer change the plan.
    let to_come = all.chain([deadline(s)]).filter(|at| *at > s.now);
    to_come.min().unwrap_or(s.now + PLAN_INTERVAL_MAX)
}

/// Why a host waits before another attempt to start an instance.
pub(super) fn retry_reason(s: &Situation<'_>, host: &HostCount<'_>) -> Option<WaitReason> {
    if s.census.missing().is_empty() {
        return None;
    }
    let (slot, attempts) = host.retry(s.spec, s.rollout, s.now)?;
    let why = last_attempt(s, &slot, attempts).unwrap_or_else(|| "the instance exited".to_owned());
    Some(WaitReason::WaitsToRetry {
        number: slot.number,
        attempt: attempts.count + 1,
        until: attempts.next_at(),
        why,
    })
}

/// How the last attempt to start an instance in a slot failed.
pub(super) fn last_attempt(
    s: &Situation<'_>,
    slot: &Slot,
    attempts: &StartAttempts,
) -> Option<String> {
    let mut failed = s.rollout.attempt.failed.iter();
    let refused = failed.find(|failed| failed.action.slot() == Some(slot));
    refused
        .map(|failed| failed.error.clone())
        .or_else(|| attempts.ended.clone())
}
