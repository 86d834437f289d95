//! The phrases about a rollout that several reports share.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::Direction;
use crate::core::rollout::event::RevisionRef;
use crate::core::rollout::failure::Outcome;
use crate::core::time::Human;
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

/// The rollout has reached a step. `wait` is what follows the soak: a clause, or nothing.
pub(super) fn step_reached(
    (step, of): (u32, u32),
    instances: u32,
    soak: Duration,
    wait: &str,
) -> String {
    let new = text::count(instances as usize, "new instance");
    let soak = if soak.is_zero() {
        String::new()
    } else {
        format!("; it soaks for {}", Human(soak))
    };
    format!("step {step} of {of} is reached, with {new}{soak}{wait}")
}

/// How a rollout stands, in a few words.
pub(super) fn phase(rollout: &RolloutView) -> &'static str {
    match (rollout.outcome(), rollout.direction()) {
        (Some(Outcome::Succeeded), _) => "rolled out",
        (Some(Outcome::RolledBack), _) => "rolled back",
        (Some(Outcome::Held { .. }), _) => "held: a person is needed",
        (Some(Outcome::RollbackFailed { .. }), _) => "rollback failed: a person is needed",
        (Some(Outcome::Fenced { .. }), _) => "taken over by another ship",
        (Some(Outcome::Interrupted), _) => "interrupted",
        (Some(Outcome::WindowClosed { .. }), _) => "stopped: its time is over",
        (Some(Outcome::Paused { .. }), _) => "paused",
        (None, _) if rollout.rollout.requests.interrupted => {
            "interrupted: ending what is in flight"
        }
        (None, Direction::Forward) => "rolling out",
        (None, Direction::RollingBack(_)) => "rolling back",
        (None, Direction::Held { .. }) => "holding",
    }
}

/// Kubernetes' sentence about a rollout that has ended, where it has one. A change of numbers alone
/// leaves a rollout as it stood.
pub(super) fn last_sentence(rollout: &RolloutView, outcome: &Outcome) -> Option<String> {
    let how = match outcome {
        _ if rollout.stood().is_some() => return None,
        Outcome::Succeeded => "rolled out",
        Outcome::RolledBack => "rolled back",
        _ => return None,
    };
    let service = &rollout.start.service;
    Some(format!("deployment \"{service}\" successfully {how}"))
}

/// How many instances serve: `3 of 3 available`.
pub(super) fn serving(rollout: &RolloutView, status: &Status) -> String {
    let (available, replicas) = (status.replicas.available, rollout.replicas());
    if available > replicas {
        return format!("{available} available, {replicas} wanted");
    }
    format!("{available} of {replicas} available")
}

/// `0.9 (revision 2)`.
pub(super) fn named(generation: &RevisionRef) -> String {
    format!("{} (revision {})", generation.version, generation.revision)
}

/// How many run which version: `2 on 0.8, 1 on 0.9`.
pub(super) fn mix(status: &Status) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &status.instances {
        *counts.entry(&row.version).or_default() += 1;
    }
    let counts = counts
        .iter()
        .map(|(version, count)| format!("{count} on {version}"));
    counts.collect::<Vec<_>>().join(", ")
}
