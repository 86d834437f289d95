//! `ship resume`: resumes a stopped rollout.

use std::sync::Arc;
use std::time::Duration;

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
    /// Overrides from the command line, in addition to those of the rollout.
    pub set: Vec<String>,
    pub unattended: bool,
    /// How long to wait for another process to release the lock.
    pub lock_timeout: Duration,
}

/// Resumes the newest rollout.
///
/// # Errors
/// Why the rollout was not resumed, or did not end.
pub async fn resume(
    env: &Arc<dyn Environment>,
    request: ResumeRequest,
) -> Result<Conclusion, Error> {
    let mut session = reopen(
        env,
        request.set,
        ("resume", request.lock_timeout),
        ServiceCommand::Resume,
    )
    .await?;
    session.mode.unattended = request.unattended;
    let service = session.service_key.service.clone();
    let accepted = Some(Accepted::Resume { service });
    let goal = Goal::for_stopped_rollout(&session, Continuation::Resume, accepted)?;
    let verb = goal.verb;
    Ok(rollout::carry_out(&mut session, goal)
        .await?
        .with_exit_of(verb))
}

/// Opens the session with the version and the overrides of the newest rollout, and takes the lease.
pub(super) async fn reopen(
    env: &Arc<dyn Environment>,
    set: Vec<String>,
    lease: (&str, Duration),
    command: ServiceCommand,
) -> Result<Session, Error> {
    let last = Session::last_start(env)?;
    let overrides = Overrides {
        version: Some(last.version()),
        set: last.overrides_if(true).chain(set).collect(),
    };
    let session = Session::open_locked(env, &overrides, Reading::LastKnownGood, lease).await?;
    session.permit(command)?;
    Ok(session)
}
