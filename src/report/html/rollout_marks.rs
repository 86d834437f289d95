//! What the journal marks on the timeline of a service: failures, steps and waits.

use super::time_axis::{Band, Span, Tick};
use super::timeline::InstanceFailure;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::FailureKind;
use crate::core::rollout::verb::Verb;

/// The failures of single instances, which the timeline labels.
pub(super) fn instance_failures(journal: &[Entry]) -> Vec<InstanceFailure> {
    let failure = |entry: &Entry| match &entry.event {
        Event::RolloutFailed { failure, .. } | Event::HostFailed { failure, .. } => {
            Some(InstanceFailure {
                slot: failure.slot.clone()?,
                at: entry.at,
                what: match failure.kind {
                    FailureKind::Exited => "exited",
                    FailureKind::NotReady => "not ready",
                    FailureKind::Liveness => "not alive",
                    FailureKind::Start => "not started",
                    FailureKind::Reload => "not reloaded",
                    _ => "failed",
                },
            })
        }
        _ => None,
    };
    journal.iter().filter_map(failure).collect()
}

/// The times at which a rollout soaked or waited for a person.
pub(super) fn bands(journal: &[Entry], span: Span) -> Vec<Band> {
    let mut bands = Vec::new();
    for (nth, entry) in journal.iter().enumerate() {
        let Event::StepReached { soak, pause, .. } = entry.event else {
            continue;
        };
        let ends_gate = |entry: &&Entry| {
            matches!(
                entry.event,
                Event::StepPassed { .. }
                    | Event::Promoted { .. }
                    | Event::Aborted { .. }
                    | Event::RolloutFailed { .. }
                    | Event::RolloutFinished { .. }
                    // The process of this rollout died.
                    | Event::RolloutStarted(_)
            )
        };
        let end = journal[nth + 1..].iter().find(ends_gate);
        let end = end.map_or(span.end, |entry| entry.at);
        let soaked = (entry.at + soak).min(end);
        if soaked > entry.at {
            bands.push(Band::between(entry.at, soaked, span, "soak", "soaking"));
        }
        if pause && end > soaked {
            bands.push(Band::between(
                soaked,
                end,
                span,
                "wait",
                "waiting for promote",
            ));
        }
    }
    bands
}

/// The times that matter to all hosts: steps, failures, aborts, and the rollout that takes the
/// service back.
pub(super) fn marks(journal: &[Entry], span: Span) -> Vec<Tick> {
    let mark = |(nth, entry): (usize, &Entry)| {
        let (label, class) = match &entry.event {
            Event::RolloutFailed { .. } => ("✗".to_owned(), "failure"),
            Event::Aborted { .. } => ("↩".to_owned(), "failure"),
            Event::RolloutStarted(start) if nth > 0 && start.verb == Verb::Rollback => {
                ("↩".to_owned(), "failure")
            }
            Event::StepReached { step, .. } => (format!("step {step}"), "step"),
            _ => return None,
        };
        Some(Tick::at(entry.at, span, label, class))
    };
    journal.iter().enumerate().filter_map(mark).collect()
}
