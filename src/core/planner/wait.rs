//! How long ship waits: for an order, for progress, and before a start is tried again.

use std::time::Duration;

use crate::core::ids::Slot;
use crate::core::planner::host_count::HostCount;
use crate::core::planner::situation::Situation;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::planner::{arming, task, traffic, windows};
use crate::core::rollout::action::Action;
use crate::core::rollout::attempt::StartAttempts;
use crate::core::time::Time;

/// How much longer an order may take than the keys of its release allow: to be given, carried out
/// and reported.
const ORDER_MARGIN: Duration = Duration::from_secs(30);

/// The time to cut a drain after its deadline, and to report it.
const DRAIN_MARGIN: Duration = Duration::from_secs(15);

/// The longest time between two plans, even if nothing happens.
const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// When there must have been progress. An order that takes the time that the user's keys allow it
/// is no lack of progress: until then the deadline waits for it.
pub(super) fn deadline(s: &Situation<'_>) -> Time {
    let usual = s.rollout.attempt.last_progress + s.patience();
    let in_flight = s.rollout.orders.in_flight.values();
    let orders = in_flight.filter_map(|order| Some(order.since + allowed(s, &order.action)?));
    task::ends_at(s)
        .into_iter()
        .chain(orders)
        .chain(lock_held_until(s))
        .fold(usual, Time::max)
}

/// How long an order may take by the keys of the release that it is about; `None` where none of
/// them speaks of it.
fn allowed(s: &Situation<'_>, action: &Action) -> Option<Duration> {
    match action {
        Action::Drain { .. } => s
            .spec
            .traffic
            .as_ref()
            .map(|traffic| traffic.drain_timeout + DRAIN_MARGIN),
        Action::Stop { slot, instance, .. } => {
            let seen = s.fleet.instance(slot).filter(|seen| seen.name == *instance);
            let stop = seen.map(|seen| s.spec.waits_of(&seen.release).stop);
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

/// Until when an earlier order may still hold the lock of a host that answers, and keep every other
/// order waiting.
fn lock_held_until(s: &Situation<'_>) -> Option<Time> {
    let answers = s.census.hosts.iter().filter(|host| host.is_reachable());
    let since = answers
        .filter_map(|host| s.rollout.orders.unsettled_since.get(host.id))
        .max()?;
    Some(*since + s.spec.longest_order() + ORDER_MARGIN)
}

/// The next moment at which the plan may change without an event.
pub(super) fn wake_at(s: &Situation<'_>) -> Time {
    let soaked = s.census.instances().filter_map(|(_, counted)| {
        let soaking = counted.is_ready && !counted.is_available && !counted.is_stopping;
        let ready_since = counted.instance.health.ready_since.filter(|_| soaking);
        ready_since.map(|since| since + s.spec.min_ready)
    });
    let armed = s.rollout.attempt.armed.values();
    let decided = armed.map(|fires| arming::must_decide_by(*fires));
    let hosts = s.census.hosts.iter();
    let paused = hosts.filter_map(|host| host.retry(s.spec, s.rollout, s.now));
    let retried = paused.map(|(_, attempts)| attempts.next_at());
    let given_up = traffic::balancer_lost_since(s).map(|since| since + s.patience());
    let all = soaked
        .chain(decided)
        .chain(retried)
        .chain(given_up)
        .chain(windows::changes_at(s));
    // What is past changes nothing by itself any more.
    let to_come = all.chain([deadline(s)]).filter(|at| *at > s.now);
    to_come.min().unwrap_or(s.now + LOOK_AGAIN_AFTER)
}

/// Why a host waits before another attempt to start an instance.
pub(super) fn retry_reason(s: &Situation<'_>, host: &HostCount<'_>) -> Option<WaitReason> {
    if s.census.missing().is_empty() {
        return None;
    }
    let (slot, attempts) = host.retry(s.spec, s.rollout, s.now)?;
    let why = last_attempt(s, &slot, attempts).unwrap_or_else(|| "it did not stay".to_owned());
    Some(WaitReason::WaitsToRetry {
        port: slot.port,
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
