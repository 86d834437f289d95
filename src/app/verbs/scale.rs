//! `ship scale`: more or fewer instances of what runs.

use std::sync::Arc;

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
    /// The playbook's keys that the command line sets.
    pub set: Vec<String>,
}

/// Changes the number of instances.
///
/// # Errors
/// Why no rollout was made, or none came to its end.
pub async fn scale(env: &Arc<dyn Environment>, request: ScaleRequest) -> Result<Conclusion, Error> {
    let begun = Session::begun(env)?;
    // The number that is asked for now is the last word on it.
    let set = begun
        .set_if(begun.standing.is_between())
        .chain(request.set)
        .filter(|setting| !Session::is_replicas(setting));
    let overrides = Overrides {
        version: Some(begun.version()),
        set: set.collect(),
    };
    let reason = format!("scale to {}", request.replicas);
    let mut session = Session::open_locked(env, &overrides, Reading::Strict, &reason)?;
    session.go_by_hosts().await?;
    let standing = session.permit(ServiceCommand::Scale)?;
    session.scale_to(request.replicas);
    let service = session.subject.service.clone();
    let accepted = Some(Accepted::Scale { service });
    if standing.is_between() && session.history.newest.is_some() {
        return scale_stopped(&mut session, accepted).await;
    }
    let current = session.current_record()?;
    let goal = Goal::of_revision(&session, current, Verb::Scale, reason, accepted);
    Ok(rollout::carry_out(&mut session, goal)
        .await?
        .of_verb(Verb::Scale))
}

/// Changes the number in a fleet that a rollout has left between two revisions.
async fn scale_stopped(
    session: &mut Session,
    accepted: Option<Accepted>,
) -> Result<Conclusion, Error> {
    let (rollout, _) = stopped_rollout(&session.history)?;
    let continuation = Continuation::scale(rollout);
    let goal = Goal::of_stopped(session, continuation.clone(), accepted)?;
    let ended = rollout::carry_out(session, goal).await?;
    // To stand as before, in other numbers, is what was asked for.
    Ok(ended.with_exit(|outcome| {
        if continuation == Continuation::Scale(outcome.clone()) {
            Exit::Done
        } else {
            Exit::of(Verb::Scale, outcome)
        }
    }))
}
