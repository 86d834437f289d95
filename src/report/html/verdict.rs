//! The headline of a page, and its tone.

use serde::Serialize;

use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::rollout::failure::{FailureKind, Outcome};
use crate::core::stack::StackOutcome;

/// The headline and its tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PageVerdict {
    pub(super) sign: &'static str,
    pub(super) headline: &'static str,
    /// `good`, `bad` or `wait`.
    pub(super) tone: &'static str,
}

impl PageVerdict {
    pub(super) fn of_rollout(summary: &RolloutSummary) -> Self {
        match &summary.outcome {
            Some(Outcome::Succeeded) => Self::SUCCEEDED,
            Some(Outcome::RolledBack) if was_aborted(summary) => Self::ABORTED,
            Some(Outcome::RolledBack) => Self::FAILED,
            Some(Outcome::Held { .. }) => Self::HELD,
            Some(Outcome::RollbackFailed { .. }) => Self::ROLLBACK_FAILED,
            Some(Outcome::Fenced { .. }) => Self::bad("Taken over by another ship process"),
            Some(Outcome::Interrupted) => Self::stopped("Interrupted"),
            Some(Outcome::WindowClosed { .. }) => Self::INCOMPLETE,
            Some(Outcome::Paused { .. }) => Self::stopped("Paused: waiting for a person"),
            None => Self::RUNNING,
        }
    }

    /// The verdict on a deployment with these rollouts.
    pub(super) fn of_deployment<'a>(
        outcome: Option<StackOutcome>,
        rollouts: impl Iterator<Item = &'a RolloutSummary>,
    ) -> Self {
        let mut failed = rollouts.filter(|summary| summary.failure.is_some());
        match outcome {
            Some(StackOutcome::Deployed) => Self::SUCCEEDED,
            Some(StackOutcome::RolledBack) if failed.all(was_aborted) => Self::ABORTED,
            Some(StackOutcome::RolledBack) => Self::FAILED,
            Some(StackOutcome::Held) => Self::HELD,
            Some(StackOutcome::RollbackFailed) => Self::ROLLBACK_FAILED,
            Some(StackOutcome::Stopped) => Self::INCOMPLETE,
            None => Self::RUNNING,
        }
    }

    pub(super) const SUCCEEDED: Self = Self {
        sign: "✓",
        headline: "Succeeded",
        tone: "good",
    };

    /// For a service whose contract migrations succeeded, too.
    pub(super) const MIGRATED: Self = Self {
        headline: "Succeeded, with contract migrations",
        ..Self::SUCCEEDED
    };

    /// For a service that runs its earlier revision again.
    pub(super) const ROLLED_BACK: Self = Self {
        sign: "↩",
        headline: "Rolled back",
        tone: "quiet",
    };

    /// For a service of a deployment that has no rollout.
    pub(super) const NOT_BEGUN: Self = Self {
        sign: "–",
        headline: "Not begun",
        tone: "quiet",
    };

    const ABORTED: Self = Self::bad("Aborted and rolled back");
    const FAILED: Self = Self::bad("Failed and rolled back");
    const HELD: Self = Self::bad("Failed and held: a person is needed");
    const ROLLBACK_FAILED: Self = Self::bad("Rollback failed: a person is needed");
    const INCOMPLETE: Self = Self::stopped("Stopped before it was complete");

    /// Nothing shows whether the process of an unfinished rollout still runs.
    const RUNNING: Self = Self {
        sign: "…",
        headline: "Running, or interrupted",
        tone: "wait",
    };

    const fn bad(headline: &'static str) -> Self {
        Self {
            sign: "✗",
            headline,
            tone: "bad",
        }
    }

    const fn stopped(headline: &'static str) -> Self {
        Self {
            sign: "‖",
            headline,
            tone: "wait",
        }
    }
}

pub(super) fn was_aborted(summary: &RolloutSummary) -> bool {
    summary
        .failure
        .as_ref()
        .is_some_and(|failure| failure.kind == FailureKind::Aborted)
}
