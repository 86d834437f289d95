//! The missed progress deadline, and its cause.

use crate::core::fleet::health::REFUSED;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::TrafficState;
use crate::core::fleet::{Instance, Listener, Process};
use crate::core::ids::{HostId, Slot};
use crate::core::planner::host_count::{HostCount, JudgedInstance};
use crate::core::planner::situation::Situation;
use crate::core::planner::{failure, lingering, steps, traffic, wait};
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::{Failure, FailureKind};
use crate::core::time::{Human, Time};

/// The failure, if the rollout has missed its progress deadline.
pub(super) fn overdue(s: &Situation<'_>) -> Option<Failure> {
    let since = overdue_since(s)?;
    lost_balancer(s, since)
        .or_else(|| unavailable_instance(s))
        .or_else(|| unanswered_action(s))
        .or_else(|| lost_host(s))
        .or_else(|| failed_starts(s))
        .or_else(|| failure::failed_action(s, |_| true))
        .or_else(|| Some(stuck(s)))
}

/// Since when there was no progress, if the deadline has passed.
fn overdue_since(s: &Situation<'_>) -> Option<Time> {
    let was_complete = s.rollout.timings.complete_since.is_some();
    if was_complete && !s.census.progress(s.spec, s.rollout).is_complete() {
        // An instance was lost after all were in place: the deadline starts now.
        return None;
    }
    // At a gate, the deadline does not apply, except while a balancer is unreachable: the rollout
    // would never pass the gate.
    let since = if steps::is_at_gate(s) {
        traffic::balancer_lost_since(s)?
    } else {
        s.rollout.attempt.last_progress
    };
    let deadline = wait::deadline(s).max(since + s.progress_deadline());
    (s.now >= deadline).then_some(since)
}

fn lost_balancer(s: &Situation<'_>, since: Time) -> Option<Failure> {
    let lost = traffic::lost_balancer(s)?;
    Some(Failure {
        kind: FailureKind::Traffic,
        host: None,
        slot: None,
        detail: lost.to_string(),
        waited: s.now.since(since),
    })
}

/// A wanted instance that is not available, on a reachable host.
fn unavailable_instance(s: &Situation<'_>) -> Option<Failure> {
    let mut instances = s.census.instances();
    let (host, counted) = instances
        .find(|(_, counted)| counted.is_target && !counted.is_available)
        .filter(|(host, _)| host.is_reachable())?;
    if let Process::Ended { how } = &counted.instance.process {
        let (kind, since) = (FailureKind::Exited, counted.instance.started);
        let exited = || failure::failure_at(s, kind, host, counted, how.clone(), since);
        return Some(failed_starts(s).unwrap_or_else(exited));
    }
    let last_progress = s.rollout.attempt.last_progress;
    let since = counted.instance.started.max(last_progress);
    let (kind, answer) = (FailureKind::NotReady, last_answer(host, counted));
    Some(failure::failure_at(s, kind, host, counted, answer, since))
}

/// The last answer of an instance that is not available, or the balancer's check that fails.
fn last_answer(host: &HostCount<'_>, counted: &JudgedInstance<'_>) -> String {
    let instance = counted.instance;
    let answer = instance.health.last_answer();
    let answer = answer.unwrap_or("none: the instance was not probed");
    let is_being_admitted =
        matches!(host.busy, Some(Action::Admit { instance: it, .. }) if *it == instance.name);
    match counted.traffic {
        _ if is_being_admitted => {
            "the instance is ready, but the load balancer's check has not passed yet".to_owned()
        }
        TrafficState::CheckFailing => {
            "the instance is ready, but the load balancer's check fails".to_owned()
        }
        // The instance listens on another address or port than the probe connects to.
        _ if answer.starts_with(REFUSED) && instance.listens() => {
            format!("{answer}; the instance listens on {}", endpoints(instance))
        }
        _ => answer.to_owned(),
    }
}

/// Where the instance itself listens: `127.0.0.1:8081, 127.0.0.1:9081`
fn endpoints(instance: &Instance) -> String {
    let own = instance.listeners.iter().filter_map(|(port, listener)| {
        let Listener::Own { address } = listener else {
            return None;
        };
        Some(if address.contains(':') {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        })
    });
    own.collect::<Vec<_>>().join(", ")
}

/// The oldest action in flight, on a host that has not failed.
fn unanswered_action(s: &Situation<'_>) -> Option<Failure> {
    let is_failed_host = |host: &HostId| s.rollout.attempt.failed_hosts.contains_key(host);
    let in_flight = s.rollout.orders.in_flight.values();
    let in_flight = in_flight
        .filter(|in_flight| !is_failed_host(in_flight.action.host()))
        .min_by_key(|in_flight| in_flight.since)?;
    Some(Failure {
        kind: failure::kind_of(&in_flight.action).unwrap_or(FailureKind::Stage),
        host: Some(in_flight.action.host().clone()),
        slot: in_flight.action.slot().cloned(),
        detail: "the host has not answered yet".to_owned(),
        waited: s.now.since(in_flight.since),
    })
}

fn lost_host(s: &Situation<'_>) -> Option<Failure> {
    let mut active = s.census.hosts.iter().filter(|host| host.is_active());
    active.find_map(|host| match &host.host?.reach {
        Reach::Lost { since, why } => Some(Failure {
            kind: FailureKind::HostLost,
            host: Some(host.id.clone()),
            slot: None,
            detail: why.clone(),
            waited: s.now.since(*since),
        }),
        Reach::Reachable | Reach::NotSeen => None,
    })
}

/// An instance whose start has failed repeatedly in a rollback.
fn failed_starts(s: &Situation<'_>) -> Option<Failure> {
    let is_down = |slot: &Slot| {
        let instance = s.fleet.instance(slot);
        instance.is_none_or(|instance| !instance.is_running())
    };
    let starts = s.rollout.attempt.starts.iter();
    let mut tried = starts.filter(|(slot, attempts)| attempts.count > 1 && is_down(slot));
    let (slot, attempts) = tried.next().filter(|_| s.is_rolling_back())?;
    let why = wait::last_attempt(s, slot, attempts)?;
    Some(Failure {
        kind: FailureKind::Start,
        host: Some(slot.host.clone()),
        slot: Some(slot.clone()),
        detail: format!("{} attempts failed; last attempt: {why}", attempts.count),
        waited: s.now.since(s.rollout.attempt.last_progress),
    })
}

/// The failure if no single cause is known, with the counts and the budget.
fn stuck(s: &Situation<'_>) -> Failure {
    let (census, budget) = (s.census, &s.budget);
    let lingers = lingering::first_in_fleet(s).filter(|_| !census.missing().is_empty());
    let lingers = lingers.map(|(slot, lingering)| {
        let rest = Human(lingering.remaining(s.now));
        format!("; no slot is free: the instance at {slot} lingers for up to another {rest}")
    });
    let detail = format!(
        "{} of {} replicas updated, {} available (minimum {}), {} running (maximum {}){}",
        census.new,
        budget.replicas,
        census.available,
        budget.min_available(),
        census.running,
        budget.max_running(),
        lingers.unwrap_or_default()
    );
    Failure {
        kind: FailureKind::Stuck,
        host: None,
        slot: None,
        detail,
        waited: s.now.since(s.rollout.attempt.last_progress),
    }
}
