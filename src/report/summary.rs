//! The last word on a rollout: how it ended, in one line, and how to go on where it did not
//! succeed.

use super::course::{Course, mix, named};
use super::failure::labelled;
use super::text;
use crate::core::journal::status::Status;
use crate::core::rollout::failure::{FailureKind, Outcome};
use crate::core::time::{Human, Time};

/// What can be done about a rollout that stands still.
const GO_ON: &str = "`ship resume` goes on from here, `ship abort` goes back";

/// The one line, and the lines below it.
pub(super) fn summary(
    course: &Course,
    outcome: &Outcome,
    status: &Status,
    now: Time,
) -> (String, Vec<String>) {
    let title = course.title();
    let took = Human(now.since(course.started));
    let serving = course.serving(status);
    let mixed = match mix(status) {
        mix if mix.is_empty() => serving.clone(),
        mix => format!("{serving} ({mix})"),
    };
    let updated = format!("{} of {} updated", status.replicas.updated, course.replicas);
    let mut lines = Vec::new();
    lines.extend(
        course
            .failure
            .as_ref()
            .map(|failure| labelled("why", &failure.to_string())),
    );
    if course.stands.as_ref() == Some(outcome) {
        let line = format!(
            "{} is scaled to {}: {mixed} in {took}",
            course.service,
            text::count(course.replicas as usize, "replica")
        );
        let stands = format!("the rollout stands as before ({}); {GO_ON}", outcome.word());
        return (
            text::clean(&line),
            vec![labelled("next", &text::clean(&stands))],
        );
    }
    let line = match outcome {
        Outcome::Succeeded => format!("{title}: {serving} in {took}"),
        Outcome::RolledBack => {
            let back = course
                .fallback
                .as_ref()
                .map(|fallback| format!(" to {}", named(fallback)))
                .unwrap_or_default();
            let was_asked = course
                .failure
                .as_ref()
                .is_some_and(|failure| failure.kind == FailureKind::Aborted);
            if !was_asked {
                lines.push(labelled(
                    "next",
                    "mend it and deploy again; `ship history` lists what happened",
                ));
            }
            let why = if was_asked { "was aborted" } else { "failed" };
            format!("{title} {why} and was rolled back{back}: {serving} after {took}")
        }
        Outcome::Held { why } => {
            lines.push(labelled("held", why));
            let then = if course.fallback.is_some() {
                "`ship resume` tries again, `ship abort` goes back"
            } else {
                "mend it, then `ship resume` tries again"
            };
            lines.push(labelled(
                "next",
                &format!("`ship status` shows where it stands; {then}"),
            ));
            format!("{title} failed and is held: {mixed} after {took}")
        }
        Outcome::RollbackFailed { failure } => {
            lines.push(labelled("back", &failure.to_string()));
            lines.push(labelled(
                "next",
                "`ship status` shows where it stands; once mended, `ship resume` tries again",
            ));
            format!("{title} failed, and so did the way back: {mixed} after {took}")
        }
        Outcome::Fenced { host, seen } => {
            lines.push(labelled(
                "why",
                &format!("{host} has seen epoch {seen}, newer than this rollout's"),
            ));
            lines.push(labelled(
                "next",
                "`ship status` and `ship history` show what the other one does",
            ));
            format!("{title} was taken over by another ship after {took}: {mixed}")
        }
        Outcome::Interrupted => {
            lines.push(labelled("next", GO_ON));
            format!("{title} was interrupted after {took}: {updated}, {serving}")
        }
        Outcome::Closed { why } => {
            lines.push(labelled("why", why));
            lines.push(labelled(
                "next",
                "the next deploy goes on from here, as does `ship resume`; `ship abort` goes back",
            ));
            format!("{title} has stopped after {took}, as its time is over: {updated}, {serving}")
        }
        Outcome::Paused { by, .. } => {
            lines.push(labelled("next", GO_ON));
            format!("{title} is paused by {by} after {took}: {updated}, {serving}")
        }
    };
    lines.extend(
        status
            .debt
            .iter()
            .map(|held| labelled("debt", &format!("left behind: {}", held.why))),
    );
    (
        text::clean(&line),
        lines.iter().map(|line| text::clean(line)).collect(),
    )
}
