//! The summary of a rollout: how it ended, in one line, and how to go on where it did not succeed.

use super::failure::labelled;
use super::phrases::{self, mix, named, serving};
use super::text;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::failure::{FailureKind, Outcome};
use crate::core::time::{Human, Time};

/// What can be done about a rollout that has stopped.
const GO_ON: &str = "`ship resume` goes on from here, `ship abort` goes back";

/// The one line, and the lines below it.
pub(super) fn summary(
    rollout: &RolloutView,
    outcome: &Outcome,
    status: &Status,
    now: Time,
) -> (String, Vec<String>) {
    let took = Human(now.since(rollout.began));
    let (line, lines) = if rollout.stood() == Some(outcome) {
        scaled(rollout, outcome, status, took)
    } else {
        let line = headline(rollout, outcome, status, took);
        (line, details(rollout, outcome, status))
    };
    let lines = lines.iter().map(|line| text::clean(line));
    (text::clean(&line), lines.collect())
}

/// After a change of the number of instances alone.
fn scaled(
    rollout: &RolloutView,
    outcome: &Outcome,
    status: &Status,
    took: Human,
) -> (String, Vec<String>) {
    let line = format!(
        "{} is scaled to {}: {} in {took}",
        rollout.start.service,
        text::count(rollout.replicas() as usize, "replica"),
        serving_by_version(rollout, status)
    );
    let stands = format!("the rollout stands as before ({}); {GO_ON}", outcome.word());
    (line, vec![labelled("next", &stands)])
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
            let back = rollout
                .fallback()
                .map(|back| format!(" to {}", named(back)));
            let back = back.unwrap_or_default();
            let why = if was_aborted(rollout) {
                "was aborted"
            } else {
                "failed"
            };
            format!("{title} {why} and was rolled back{back}: {serving} after {took}")
        }
        Outcome::Held { .. } => format!("{title} failed and is held: {mixed} after {took}"),
        Outcome::RollbackFailed { .. } => {
            format!("{title} failed, and so did the way back: {mixed} after {took}")
        }
        Outcome::Fenced { .. } => {
            format!("{title} was taken over by another ship after {took}: {mixed}")
        }
        Outcome::Interrupted => {
            format!("{title} was interrupted after {took}: {updated}, {serving}")
        }
        Outcome::WindowClosed { .. } => {
            format!("{title} has stopped after {took}, as its time is over: {updated}, {serving}")
        }
        Outcome::Paused { by, .. } => {
            format!("{title} is paused by {by} after {took}: {updated}, {serving}")
        }
    }
}

/// Why it ended like this, what to do next, and the hosts that it gave up.
fn details(rollout: &RolloutView, outcome: &Outcome, status: &Status) -> Vec<String> {
    let cause = rollout.cause.iter();
    let causes = cause.map(|failure| labelled("why", &failure.to_string()));
    let debt = status
        .failed_hosts
        .iter()
        .map(|held| labelled("failed_hosts", &format!("left behind: {}", held.why)));
    causes
        .chain(reason(outcome))
        .chain(next(rollout, outcome).map(|next| labelled("next", next)))
        .chain(debt)
        .collect()
}

/// What the outcome itself says of its reason.
fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Held { why } => Some(labelled("held", why)),
        Outcome::RollbackFailed { failure } => Some(labelled("back", &failure.to_string())),
        Outcome::Fenced { host, seen } => Some(labelled(
            "why",
            &format!("{host} has seen epoch {seen}, newer than this rollout's"),
        )),
        Outcome::WindowClosed { why } => Some(labelled("why", why)),
        Outcome::Succeeded
        | Outcome::RolledBack
        | Outcome::Interrupted
        | Outcome::Paused { .. } => None,
    }
}

/// What a person can do next.
fn next(rollout: &RolloutView, outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Succeeded => None,
        Outcome::RolledBack if was_aborted(rollout) => None,
        Outcome::RolledBack => Some("mend it and deploy again; `ship history` lists what happened"),
        Outcome::Held { .. } if rollout.fallback().is_some() => Some(
            "`ship status` shows where it stands; `ship resume` tries again, `ship abort` goes back",
        ),
        Outcome::Held { .. } => {
            Some("`ship status` shows where it stands; mend it, then `ship resume` tries again")
        }
        Outcome::RollbackFailed { .. } => {
            Some("`ship status` shows where it stands; once mended, `ship resume` tries again")
        }
        Outcome::Fenced { .. } => {
            Some("`ship status` and `ship history` show what the other one does")
        }
        Outcome::WindowClosed { .. } => {
            Some("the next deploy goes on from here, as does `ship resume`; `ship abort` goes back")
        }
        Outcome::Interrupted | Outcome::Paused { .. } => Some(GO_ON),
    }
}

fn was_aborted(rollout: &RolloutView) -> bool {
    let cause = rollout.cause.as_ref();
    cause.is_some_and(|failure| failure.kind == FailureKind::Aborted)
}

/// How many serve, and how many run which version.
fn serving_by_version(rollout: &RolloutView, status: &Status) -> String {
    let serving = serving(rollout, status);
    match mix(status) {
        mix if mix.is_empty() => serving,
        mix => format!("{serving} ({mix})"),
    }
}
