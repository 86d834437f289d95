//! The conclusion of a command for a stack.

use crate::app::conclusion::Conclusion;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::core::stack::{Deployment, StackOutcome};

/// How a deployment ended, or that there was nothing to do.
pub struct StackConclusion {
    /// `None` if there was nothing to do for any service.
    pub deployment: Option<Deployment>,
    /// The services for which there was nothing to do, and why.
    pub unchanged: Vec<Conclusion>,
    /// The errors of services, which stopped the deployment.
    pub errors: Vec<Error>,
    /// The exit code of the command.
    pub exit: Exit,
}

/// The exit code of a deployment. `stopped` are the exit codes of the services that were stopped. For
/// an abort, a rollback is a success.
pub(super) fn exit_of(outcome: StackOutcome, stopped: &[Exit], is_abort: bool) -> Exit {
    match outcome {
        StackOutcome::Deployed => Exit::Done,
        StackOutcome::RolledBack if is_abort => Exit::Done,
        StackOutcome::RolledBack => Exit::RolledBack,
        StackOutcome::Held => Exit::Held,
        StackOutcome::RollbackFailed => Exit::RollbackFailed,
        StackOutcome::Stopped => stopped
            .iter()
            .copied()
            .max_by_key(|exit| exit.code())
            .unwrap_or(Exit::Interrupted),
    }
}
