//! `ship resume`: go on with a rollout that was stopped.

use std::sync::Arc;

use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::goal::Goal;
use crate::app::notice::Accepted;
use crate::app::rollout;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::continuation::Continuation;
use crate::core::policy::service_state::ServiceCommand;

#[derive(Clone, Debug, Default)]
pub struct ResumeRequest {
    /// The playbook's keys that the command line sets, besides those that the rollout was begun
    /// with.
    pub set: Vec<String>,
    /// Whether nobody is there to be asked.
    pub unattended: bool,
}

/// Resumes the newest rollout.
///
/// # Errors
/// Why it was not resumed, or did not come to its end.
pub async fn resume(
    env: &Arc<dyn Environment>,
    request: ResumeRequest,
) -> Result<Conclusion, Error> {
    let mut session = reopen(env, request.set, "resume", ServiceCommand::Resume)?;
    session.mode.unattended = request.unattended;
    let service = session.subject.service.clone();
    let accepted = Some(Accepted::Resume { service });
    let goal = Goal::of_stopped(&session, Continuation::Resume, accepted)?;
    let verb = goal.verb;
    Ok(rollout::carry_out(&mut session, goal).await?.of_verb(verb))
}

/// Opens the session with what the newest rollout was begun with, and takes the lease.
pub(super) fn reopen(
    env: &Arc<dyn Environment>,
    set: Vec<String>,
    run: &str,
    ask: ServiceCommand,
) -> Result<Session, Error> {
    let begun = Session::begun(env)?;
    let overrides = Overrides {
        version: Some(begun.version()),
        set: begun.set_if(true).chain(set).collect(),
    };
    let session = Session::open_locked(env, &overrides, Reading::LastKnownGood, run)?;
    session.permit(ask)?;
    Ok(session)
}
