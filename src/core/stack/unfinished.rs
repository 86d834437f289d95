//! What a new deployment does with an unfinished one.

use super::deployment::Deployment;
use super::run::{StackDirection, StackOutcome};
use crate::core::policy::unattended::{OnInterrupted, RunMode};

/// What happens before a new deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackResolution {
    /// Nothing.
    Go,
    /// The unfinished deployment is continued first.
    ResumeThenGo,
    /// The unfinished deployment is continued, and nothing else.
    Resume,
    /// The unfinished deployment is undone, and nothing else.
    Abort,
    /// The new deployment is refused, and why.
    Refuse { why: String, is_temporary: bool },
}

/// Decides what to do with an unfinished deployment. Deploying over it could leave services on
/// revisions that never ran together, because each has its own earlier revision.
pub fn resolve_unfinished(
    unfinished: Option<&Deployment>,
    mode: RunMode,
    on_interrupted: &[OnInterrupted],
) -> StackResolution {
    let Some(unfinished) = unfinished.filter(|_| !mode.force) else {
        return StackResolution::Go;
    };
    let number = unfinished.number;
    let needs_person = matches!(
        unfinished.outcome,
        Some(StackOutcome::Held | StackOutcome::RollbackFailed)
    );
    if needs_person || !mode.unattended {
        let why = format!(
            "deployment {number} is not finished\nhint: finish it first with `ship resume`, or undo it with \
             `ship abort`"
        );
        return StackResolution::Refuse {
            why,
            is_temporary: !needs_person,
        };
    }
    if unfinished.direction == StackDirection::Back {
        StackResolution::Resume
    } else if on_interrupted.contains(&OnInterrupted::Abort) {
        StackResolution::Abort
    } else {
        StackResolution::ResumeThenGo
    }
}
