//! The phrases about a rollout that several reports share.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::{InstanceStatus, Status, StatusRow};
use crate::core::rollout::Direction;
use crate::core::rollout::event::{Event, RevisionRef};
use crate::core::rollout::failure::Outcome;
use crate::core::time::{Human, Time};
use crate::report::message::{RolloutMessage, notable};
use crate::report::text;

/// The service and the revision: `testpage 0.9 (revision 2)`.
pub(super) fn title(rollout: &RolloutView) -> String {
    format!("{} {}", rollout.start.service, named(rollout.goal()))
}

/// The versions that ran before: `0.7, 0.8`; empty if none did.
pub(super) fn versions_before(rollout: &RolloutView) -> String {
    let versions = rollout.versions_before.iter();
    versions.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The rollout has reached a step. With `pause`, the step waits for a promotion after its soak.
fn step_reached((step, of): (u32, u32), instances: u32, soak: Duration, pause: bool) -> String {
    let new = text::count(instances as usize, "new instance");
    let soak = if soak.is_zero() {
        String::new()
    } else {
        format!(", soaking for {}", Human(soak))
    };
    let wait = if pause {
        ", then waiting for `ship promote`"
    } else {
        ""
    };
    format!("step {step} of {of} reached: {new}{soak}{wait}")
}

/// What an event about a step says; `None` for other events.
pub(super) fn step(event: &Event) -> Option<String> {
    match event {
        Event::StepReached {
            step,
            of,
            instances,
            soak,
            pause,
        } => Some(step_reached((*step, *of), *instances, *soak, *pause)),
        Event::StepPassed { step, of } => Some(format!("step {step} of {of} passed")),
        Event::Promoted { by, full } => {
            let scope = if *full { " through all steps" } else { "" };
            Some(format!("promoted{scope} by {by}"))
        }
        _ => None,
    }
}

/// The state of a rollout in a few words.
pub(super) fn state(rollout: &RolloutView) -> &'static str {
    match (rollout.outcome(), rollout.direction()) {
        (Some(Outcome::Succeeded), _) => "rolled out",
        (Some(Outcome::RolledBack), _) => "rolled back",
        (Some(Outcome::Held { .. }), _) => "held, needs a decision",
        (Some(Outcome::RollbackFailed { .. }), _) => "rollback failed, needs a decision",
        (Some(Outcome::Fenced { .. }), _) => "taken over by another ship process",
        (Some(Outcome::Interrupted), _) => "interrupted",
        (Some(Outcome::WindowClosed { .. }), _) => "stopped, outside its window",
        (Some(Outcome::Paused { .. }), _) => "paused",
        (None, _) if rollout.rollout.requests.interrupted => "finishing in-flight actions",
        (None, Direction::Forward) => "rolling out",
        (None, Direction::RollingBack(_)) => "rolling back",
        (None, Direction::Held { .. }) => "holding",
    }
}

/// The last sentence of `kubectl rollout status`, if the rollout ended in a way that Kubernetes
/// knows. `ship scale` in the middle of a rollout does not end that rollout.
pub(super) fn last_sentence(rollout: &RolloutView, outcome: &Outcome) -> Option<String> {
    let how = match outcome {
        _ if rollout.outcome_before_scaling().is_some() => return None,
        Outcome::Succeeded => "rolled out",
        Outcome::RolledBack => "rolled back",
        _ => return None,
    };
    let service = &rollout.start.service;
    Some(format!("deployment \"{service}\" successfully {how}"))
}

/// The available instances: `3 of 3 available`.
pub(super) fn serving(rollout: &RolloutView, status: &Status) -> String {
    let (available, replicas) = (status.replicas.available, rollout.replicas());
    if available > replicas {
        return format!("{available} available, {replicas} wanted");
    }
    format!("{available} of {replicas} available")
}

/// `0.9 (revision 2)`.
pub(super) fn named(revision: &RevisionRef) -> String {
    format!("{} (revision {})", revision.version, revision.revision)
}

/// The instances that were started and not asked to stop.
pub(super) fn started(status: &Status) -> impl Iterator<Item = &StatusRow> {
    let rows = status.instances.iter();
    rows.filter(|row| row.status != InstanceStatus::Creating && !row.status.is_retired())
}

/// The number of instances of each version: `2 on 0.8, 1 on 0.9`.
pub(super) fn mix(status: &Status) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for row in started(status) {
        *counts.entry(&row.version).or_default() += 1;
    }
    let counts = counts
        .iter()
        .map(|(version, count)| format!("{count} on {version}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// The state store cannot be used. ship waits for it for at most `wait`.
pub(super) fn store_lost(at: Time, error: &str, wait: Duration) -> RolloutMessage {
    let first = error.lines().next().unwrap_or_default();
    let wait = Human(wait);
    let text = format!("{first}; nothing new starts, waiting for up to {wait}");
    notable(at, String::new(), "", &text)
}

/// The state store works again.
pub(super) fn store_recovered(at: Time, after: Duration) -> RolloutMessage {
    let text = format!("the state can be used again after {}", Human(after));
    notable(at, String::new(), "", &text)
}
