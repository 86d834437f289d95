//! The summary of a rollout: how it ended, in one line, and what to do next if it did not succeed.

use super::failure::labelled;
use super::phrases::{self, mix, named, serving};
use super::text;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::failure::{FailureKind, Outcome};
use crate::core::time::{Human, Time};

/// What to do about a rollout that has stopped.
const RESUME_OR_ABORT: &str = "run `ship resume` to continue, or `ship abort` to roll back";

/// How the rollout ended, and the lines with the details.
pub(super) fn summary(
    rollout: &RolloutView,
    outcome: &Outcome,
    status: &Status,
    now: Time,
) -> (String, Vec<String>) {
    let took = Human(now.since(rollout.began));
    let (line, lines) = if rollout.outcome_before_scaling() == Some(outcome) {
        scaled(rollout, outcome, status, took)
    } else {
        let line = headline(rollout, outcome, status, took);
        (line, details(rollout, outcome, status))
    };
    let lines = lines.iter().map(|line| text::clean(line));
    (text::clean(&line), lines.collect())
}

/// The summary of a `ship scale` in the middle of a rollout, which changes only the number of
/// instances.
fn scaled(
    rollout: &RolloutView,
    outcome: &Outcome,
    status: &Status,
    took: Human,
) -> (String, Vec<String>) {
    let line = format!(
        "{} scaled to {}: {} in {took}",
        rollout.start.service,
        text::count(rollout.replicas() as usize, "replica"),
        serving_by_version(rollout, status)
    );
    let state = format!("the rollout is still {}", outcome.word());
    (
        line,
        vec![labelled("state", &state), labelled("hint", RESUME_OR_ABORT)],
    )
}

/// How the rollout ended.
fn headline(rollout: &RolloutView, outcome: &Outcome, status: &Status, took: Human) -> String {
    let title = phrases::title(rollout);
    let serving = serving(rollout, status);
    let mixed = serving_by_version(rollout, status);
    let updated = format!(
        "{} of {} updated",
        status.replicas.updated,
        rollout.replicas()
    );
    match outcome {
        Outcome::Succeeded => format!("{title}: {serving} in {took}"),
        Outcome::RolledBack => {
            let target = rollout
                .rollback_target()
                .map(|target| format!(" to {}", named(target)));
            let target = target.unwrap_or_default();
            let reason = if was_aborted(rollout) {
                "was aborted"
            } else {
                "failed"
            };
            format!("{title} {reason} and was rolled back{target}: {serving} after {took}")
        }
        Outcome::Held { .. } => format!("{title} failed and is held: {mixed} after {took}"),
        Outcome::RollbackFailed { .. } => {
            format!("{title} failed, and the rollback failed too: {mixed} after {took}")
        }
        Outcome::Fenced { .. } => {
            format!("{title} was taken over by another ship process after {took}: {mixed}")
        }
        Outcome::Interrupted => {
            format!("{title} was interrupted after {took}: {updated}, {serving}")
        }
        Outcome::WindowClosed { .. } => {
            format!("{title} stopped after {took}, before it was complete: {updated}, {serving}")
        }
        Outcome::Paused { by, .. } => {
            format!("{title} was paused by {by} after {took}: {updated}, {serving}")
        }
    }
}

/// Why the rollout ended like this, the hosts that failed, and what to do next.
fn details(rollout: &RolloutView, outcome: &Outcome, status: &Status) -> Vec<String> {
    let cause = rollout.cause.iter();
    let causes = cause.map(|failure| labelled("reason", &failure.to_string()));
    let failed_hosts = status
        .failed_hosts
        .iter()
        .map(|failed| labelled("failed host", &failed.why));
    causes
        .chain(reason(outcome))
        .chain(failed_hosts)
        .chain(hint(rollout, outcome).map(|hint| labelled("hint", hint)))
        .collect()
}

/// The reason that the outcome itself contains.
fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Held { why } => Some(labelled("held", why)),
        Outcome::RollbackFailed { failure } => Some(labelled("rollback", &failure.to_string())),
        Outcome::Fenced { host, seen } => Some(labelled(
            "reason",
            &format!("{host} has accepted the newer epoch {seen}"),
        )),
        Outcome::WindowClosed { why } => Some(labelled("reason", why)),
        Outcome::Succeeded
        | Outcome::RolledBack
        | Outcome::Interrupted
        | Outcome::Paused { .. } => None,
    }
}

/// What the user can do next.
fn hint(rollout: &RolloutView, outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Succeeded => None,
        Outcome::RolledBack if was_aborted(rollout) => None,
        Outcome::RolledBack => Some("fix the problem and deploy again; see `ship report`"),
        Outcome::Held { .. } if rollout.rollback_target().is_some() => {
            Some("see `ship status`; run `ship resume` to try again, or `ship abort` to roll back")
        }
        Outcome::Held { .. } => Some("see `ship status`; fix the problem, then run `ship resume`"),
        Outcome::RollbackFailed { .. } => {
            Some("see `ship status`; fix the problem, then run `ship resume`")
        }
        Outcome::Fenced { .. } => {
            Some("see `ship status` and `ship history` for what the other process does")
        }
        Outcome::WindowClosed { .. } => {
            Some("the next deploy or `ship resume` continues; run `ship abort` to roll back")
        }
        Outcome::Interrupted | Outcome::Paused { .. } => Some(RESUME_OR_ABORT),
    }
}

fn was_aborted(rollout: &RolloutView) -> bool {
    let cause = rollout.cause.as_ref();
    cause.is_some_and(|failure| failure.kind == FailureKind::Aborted)
}

/// The available instances, and how many run each version.
fn serving_by_version(rollout: &RolloutView, status: &Status) -> String {
    let serving = serving(rollout, status);
    match mix(status) {
        mix if mix.is_empty() => serving,
        mix => format!("{serving} ({mix})"),
    }
}
