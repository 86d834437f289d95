//! Tasks: when each one is due, and on which host.

use std::time::Duration;

use crate::core::fleet::reach::Reach;
use crate::core::ids::HostId;
use crate::core::planner::host_count::HostCount;
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::release::hook::HookSite;
use crate::core::release::migration::MigrationKind;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::task::{Due, Task, TaskOutcome, TaskRun};
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// The most attempts to run a task whose result stays unknown.
const ATTEMPTS_MAX: u32 = 3;
/// The time after its timeout in which a task is ended and its result reported.
const END_MARGIN: Duration = Duration::from_secs(30);

/// The next step of the rollout's tasks.
pub(super) enum TaskStep {
    /// A task must run now.
    Run(TaskRun),
    /// A contract migration waits until its soak time is over.
    Soak(Time),
    /// A task waits for a host. If all its hosts are unreachable, it waits until this time.
    AwaitHost(Option<Time>),
    Fail(Failure),
}

/// The next task before the first instance starts.
pub(super) fn before(s: &Situation<'_>) -> Option<TaskStep> {
    if s.is_rolling_back() {
        None
    } else {
        next_of(s, |due| due == Due::Before)
    }
}

/// The next task after the goal is reached; a contract migration waits for its soak.
pub(super) fn after(s: &Situation<'_>) -> Option<TaskStep> {
    if s.is_rolling_back() {
        return None;
    }
    if let Some(failure) = failed(s) {
        return Some(TaskStep::Fail(failure));
    }
    if let Some(step) = next_of(s, |due| due == Due::After) {
        return Some(step);
    }
    // If no instance serves, the soak proves nothing, and the contract would break older versions.
    if s.census.new_available == 0 {
        return None;
    }
    let complete_since = s.rollout.timings.complete_since;
    let since = complete_since.unwrap_or(s.rollout.attempt.last_progress);
    let soaked_at = |due| match due {
        Due::Soaked(soak) => Some(since + soak),
        _ => None,
    };
    let left = tasks(s).filter(|task| !is_over(s, task));
    let next = left.filter_map(|task| soaked_at(task.due)).min()?;
    if s.now < next {
        return Some(TaskStep::Soak(next));
    }
    next_of(s, |due| soaked_at(due).is_some_and(|at| at <= s.now))
}

/// The next task after a rollout with this outcome. It runs on the control machine.
pub(super) fn at_the_end(s: &Situation<'_>, outcome: &Outcome) -> Option<TaskRun> {
    let due = Due::at_the_end(outcome)?;
    let task = tasks(s).find(|task| task.due == due && !is_over(s, task))?;
    Some(TaskRun {
        task: task.name.clone(),
        host: None,
        outcome: Some(outcome.word()),
    })
}

/// Stages the release on one host for a task, if no host has it: a service may have no instances.
pub(super) fn stage_for_task(s: &Situation<'_>, plan: &mut PlanBuilder) {
    let is_due =
        |task: &Task| task.site == HookSite::Host && task.due.fails_rollout() && !is_over(s, task);
    if s.is_rolling_back() || !tasks(s).any(is_due) {
        return;
    }
    let usable = || s.usable_hosts().filter(|host| host.is_reachable());
    if usable().any(|host| s.has_goal_release(host)) {
        return;
    }
    if let Some(host) = usable().find(|host| host.is_idle() && !s.has_failed_on(host.id)) {
        plan.order(Action::Stage {
            host: host.id.clone(),
            release: s.rollout.goal.release.clone(),
        });
    }
}

/// The tasks of the rollout. A rollout that only changes the number of instances has none.
fn tasks<'a>(s: &Situation<'a>) -> impl Iterator<Item = &'a Task> + use<'a> {
    let are_due = s.rollout.verb != Verb::Scale && s.rollout.scaling.is_none();
    s.spec.tasks.iter().filter(move |_| are_due)
}

fn next_of(s: &Situation<'_>, is_due: impl Fn(Due) -> bool) -> Option<TaskStep> {
    let task = tasks(s).find(|task| is_due(task.due) && !is_over(s, task))?;
    let host = match task.site {
        HookSite::Control => None,
        HookSite::Host => match hosts_for(s, task).find(|host| host.is_idle()) {
            Some(host) => Some(host.id.clone()),
            None => return Some(await_host(s, task)),
        },
    };
    Some(TaskStep::Run(TaskRun {
        task: task.name.clone(),
        host,
        outcome: None,
    }))
}

/// The host where a task was started, or else all hosts with the release.
fn hosts_for<'a>(s: &Situation<'a>, task: &Task) -> impl Iterator<Item = &'a HostCount<'a>> {
    let state = s.rollout.tasks.get(&task.name);
    let started_on: Option<&HostId> = state.and_then(|state| state.host.as_ref());
    s.usable_hosts()
        .filter(|host| s.has_goal_release(host))
        .filter(move |host| started_on.is_none_or(|started_on| started_on == host.id))
}

/// Waits for a host on which a task can run; fails if every such host has been unreachable for too
/// long.
fn await_host(s: &Situation<'_>, task: &Task) -> TaskStep {
    let lost: Option<Vec<_>> = hosts_for(s, task)
        .map(|host| match &host.host?.reach {
            Reach::Lost { since, why } => Some((*since, host.id, why)),
            Reach::Reachable | Reach::NotSeen => None,
        })
        .collect();
    let Some((since, host, why)) = lost.and_then(|lost| lost.into_iter().max()) else {
        return TaskStep::AwaitHost(None);
    };
    let deadline = since + s.progress_deadline();
    if s.now < deadline {
        return TaskStep::AwaitHost(Some(deadline));
    }
    TaskStep::Fail(Failure {
        kind: FailureKind::HostLost,
        host: Some(host.clone()),
        slot: None,
        detail: why.clone(),
        waited: s.now.since(since),
    })
}

/// Whether the task is done or has failed.
fn is_over(s: &Situation<'_>, task: &Task) -> bool {
    let state = s.rollout.tasks.get(&task.name);
    let end = state.and_then(|state| state.end.as_ref());
    matches!(end, Some(TaskOutcome::Done | TaskOutcome::DoneBefore)) || error_of(s, task).is_some()
}

/// The error of a task that failed for good.
fn error_of<'a>(s: &Situation<'a>, task: &Task) -> Option<&'a str> {
    let state = s.rollout.tasks.get(&task.name)?;
    match &state.end {
        Some(TaskOutcome::Failed { error }) => Some(error),
        Some(TaskOutcome::Unknown { why }) if state.attempts >= ATTEMPTS_MAX => Some(why),
        _ => None,
    }
}

/// The failure of a task on which the rollout depends.
pub(super) fn failed(s: &Situation<'_>) -> Option<Failure> {
    let mut needed = tasks(s).filter(|task| task.due.fails_rollout());
    needed.find_map(|task| {
        let error = error_of(s, task)?;
        let state = s.rollout.tasks.get(&task.name)?;
        let kind = match task.migration {
            None => FailureKind::Hook,
            Some((MigrationKind::Expand, _)) => FailureKind::Migration,
            Some((MigrationKind::Contract, _)) => FailureKind::Contract,
        };
        Some(Failure {
            kind,
            host: state.host.clone(),
            slot: None,
            detail: format!("{}: {error}", task.name),
            waited: s.now.since(state.since),
        })
    })
}

/// Whether a contract migration was started in this rollout, which then cannot roll back.
pub(super) fn has_contracted(s: &Situation<'_>) -> bool {
    let is_contract = |task: &&Task| matches!(task.migration, Some((MigrationKind::Contract, _)));
    let mut contracts = s.spec.tasks.iter().filter(is_contract);
    contracts.any(|task| s.rollout.tasks.get(&task.name).is_some())
}

/// The time by which the running task must have ended.
pub(super) fn ends_at(s: &Situation<'_>) -> Option<Time> {
    let tasks = s.rollout.tasks.iter();
    let under_way = tasks.filter(|(_, state)| state.end.is_none());
    let ends = under_way.map(|(name, state)| {
        let task = s.spec.tasks.iter().find(|task| task.name == *name);
        let timeout = task.map(|task| task.timeout).unwrap_or_default();
        state.since + timeout + END_MARGIN
    });
    ends.max()
}
