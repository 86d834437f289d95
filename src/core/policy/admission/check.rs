//! The conditions under which a rollout may start.

use crate::core::planner::Plan;
use crate::core::policy::admission::refusal::AdmissionRefusal;
use crate::core::policy::admission::request::{AdmissionInput, AdmissionRequest};
use crate::core::policy::service_state::ServiceState;
use crate::core::policy::unattended::{self, RunMode};
use crate::core::spec::windows::DeployWindows;
use crate::core::time::Time;

/// Refuses a rollout that cannot work on the hosts in their current state.
pub(super) fn check_feasible(
    request: &AdmissionRequest<'_>,
    input: &AdmissionInput<'_>,
) -> Result<(), AdmissionRefusal> {
    check_hosts(input)?;
    if !input.unusable_balancers.is_empty() {
        return Err(AdmissionRefusal::UnusableBalancers {
            unusable: input.unusable_balancers.clone(),
            of: input.fleet.balancers.len(),
        });
    }
    // If every host is drained, a number of instances per host resolves to 0. Only an explicit
    // number may empty a fleet that serves.
    let would_empty = input.spec.hosts.is_empty() && input.fleet.instances().next().is_some();
    if would_empty && !input.are_replicas_set {
        return Err(AdmissionRefusal::AllHostsDrained);
    }
    if let Some(clash) = &input.server_clash {
        return Err(AdmissionRefusal::DuplicateServer(clash.clone()));
    }
    let obstacles = input.spec.obstacles(request.release, input.fleet);
    if obstacles.is_empty() {
        Ok(())
    } else {
        Err(AdmissionRefusal::Impossible(obstacles))
    }
}

fn check_hosts(input: &AdmissionInput<'_>) -> Result<(), AdmissionRefusal> {
    let (spec, unusable) = (&input.spec, &input.unusable_hosts);
    let all_are_unusable =
        !spec.hosts.is_empty() && spec.hosts.iter().all(|host| unusable.contains_key(host));
    let count = u32::try_from(unusable.len()).unwrap_or(u32::MAX);
    if all_are_unusable || count > spec.max_failed_hosts {
        return Err(AdmissionRefusal::UnusableHosts {
            unusable: unusable.clone(),
            of: input.fleet.hosts.len(),
        });
    }
    Ok(())
}

/// Refuses a new deploy while the fleet is frozen, or if no window is open for long enough to
/// replace one instance. The check uses no observation of the hosts, so it can run before the
/// artifact is fetched.
///
/// # Errors
/// If the fleet is frozen or no window is open. The error names who froze the fleet, or when the
/// next window opens.
pub fn check_open(
    service: &str,
    mode: RunMode,
    freeze: Option<&str>,
    windows: &DeployWindows,
    now: Time,
) -> Result<(), AdmissionRefusal> {
    if mode.force {
        return Ok(());
    }
    let frozen = freeze.map(|freeze| format!("service `{service}` is frozen by {freeze}"));
    match frozen.or_else(|| windows.refusal(now, windows.replacement_time_min)) {
        Some(why) => Err(AdmissionRefusal::Closed { why }),
        None => Ok(()),
    }
}

/// Refuses an unattended deploy of a new release on a fleet that lacks instances.
pub(super) fn check_healthy(
    request: &AdmissionRequest<'_>,
    input: &AdmissionInput<'_>,
    plan: &Plan,
) -> Result<(), AdmissionRefusal> {
    let history = input.history;
    let state = history.state();
    let is_repair = history
        .current()
        .is_some_and(|current| current.release == *request.release);
    if !request.mode.unattended
        || request.mode.force
        || state == ServiceState::New
        || state.is_between_revisions()
        || is_repair
    {
        return Ok(());
    }
    let last = history.newest_summary.as_ref();
    let wanted = last
        .map_or(0, |last| last.replicas)
        .min(input.amounts.replicas);
    match unattended::unhealthy(plan.progress.available, wanted) {
        Some(why) => Err(AdmissionRefusal::Unhealthy { why }),
        None => Ok(()),
    }
}
