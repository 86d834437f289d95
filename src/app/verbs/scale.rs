//! `ship scale`: changes the number of instances.

use std::sync::Arc;
use std::time::Duration;

use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::app::goal::Goal;
use crate::app::notice::Accepted;
use crate::app::rollout;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::continuation::{Continuation, stopped_rollout};
use crate::core::policy::service_state::ServiceCommand;
use crate::core::rollout::verb::Verb;

#[derive(Clone, Debug, Default)]
pub struct ScaleRequest {
    pub replicas: u32,
    /// Overrides from the command line.
    pub set: Vec<String>,
    /// How long to wait for another process to release the lock.
    pub lock_timeout: Duration,
}

/// Changes the number of instances.
///
/// # Errors
/// Why there was no rollout, or it did not end.
pub async fn scale(env: &Arc<dyn Environment>, request: ScaleRequest) -> Result<Conclusion, Error> {
    let last = Session::last_start(env)?;
    // The requested number replaces any number in the overrides.
    let set = last
        .overrides_if(last.state.is_between_revisions())
        .chain(request.set)
        .filter(|setting| !Session::is_replicas(setting));
    let overrides = Overrides {
        version: Some(last.version()),
        set: set.collect(),
    };
    let reason = format!("scale to {}", request.replicas);
    let mut session = Session::open_locked(
        env,
        &overrides,
        Reading::Strict,
        (&reason, request.lock_timeout),
    )
    .await?;
    session.adopt_from_hosts().await?;
    let state = session.permit(ServiceCommand::Scale)?;
    session.set_scale(request.replicas);
    let service = session.service_key.service.clone();
    let accepted = Some(Accepted::Scale { service });
    if state.is_between_revisions() && session.history.newest.is_some() {
        return scale_stopped(&mut session, accepted).await;
    }
    let current = session.current_record()?;
    let goal = Goal::for_revision(&session, current, Verb::Scale, reason, accepted);
    Ok(rollout::carry_out(&mut session, goal)
        .await?
        .with_exit_of(Verb::Scale))
}

/// Changes the number of instances of a fleet between two revisions, after a stopped rollout.
async fn scale_stopped(
    session: &mut Session,
    accepted: Option<Accepted>,
) -> Result<Conclusion, Error> {
    let (rollout, _) = stopped_rollout(&session.history)?;
    let continuation = Continuation::scale(rollout);
    let goal = Goal::for_stopped_rollout(session, continuation.clone(), accepted)?;
    let ended = rollout::carry_out(session, goal).await?;
    // The rollout stays stopped as before, with the requested number of instances.
    Ok(ended.with_exit(|outcome| {
        if continuation == Continuation::Scale(outcome.clone()) {
            Exit::Done
        } else {
            Exit::of(Verb::Scale, outcome)
        }
    }))
}
