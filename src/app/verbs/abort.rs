//! `ship abort`: rolls back a running or stopped rollout.

use std::sync::Arc;
use std::time::Duration;

use super::{pause, resume};
use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::exit::Exit;
use crate::app::goal::Goal;
use crate::app::notice::{Accepted, Notice};
use crate::app::rollout;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::continuation::{Continuation, check_abort, stopped_rollout};
use crate::core::policy::service_state::{ServiceCommand, ServiceState};
use crate::core::rollout::failure::Outcome;
use crate::store::ControlRequest;
use crate::store::StoreAccess;

/// Longer than any rollback takes, because a rollback has deadlines of its own.
const ROLLBACK_TIMEOUT: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, Default)]
pub struct AbortRequest {
    /// Overrides from the command line, in addition to those of the rollout.
    pub set: Vec<String>,
}

/// Aborts the newest rollout: in its controller, or in this process if there is none.
///
/// # Errors
/// Why the rollout was not aborted, or did not end.
pub async fn abort(env: &Arc<dyn Environment>, request: AbortRequest) -> Result<Conclusion, Error> {
    let overrides = Overrides::default();
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    if session.state()? == ServiceState::Running {
        check_abort(&session.history)?;
        let id = pause::send_request(&mut session, ServiceCommand::Abort, ControlRequest::Abort)?;
        env.notify(&Notice::Accepted(accepted(&session)?));
        if let Some(outcome) = pause::wait_for_end(&session, id, ROLLBACK_TIMEOUT).await? {
            return ended_elsewhere(&session, outcome);
        }
        // The controller has died meanwhile; this process takes over.
    }
    drop(session);
    abort_stopped(env, request).await
}

/// Rolls back the newest rollout, which no process carries out.
///
/// # Errors
/// Why the rollout was not aborted, or did not end.
pub(crate) async fn abort_stopped(
    env: &Arc<dyn Environment>,
    request: AbortRequest,
) -> Result<Conclusion, Error> {
    let mut session = resume::reopen(
        env,
        request.set,
        ("abort", Duration::ZERO),
        ServiceCommand::Abort,
    )
    .await?;
    check_abort(&session.history)?;
    let by = session.operator().to_string();
    let accepted = accepted(&session)?;
    let goal = Goal::for_stopped_rollout(&session, Continuation::RollBack { by }, Some(accepted))?;
    let ended = Box::pin(rollout::carry_out(&mut session, goal)).await?;
    Ok(ended.with_exit(Exit::of_abort))
}

fn accepted(session: &Session) -> Result<Accepted, Error> {
    let (rollout, _) = stopped_rollout(&session.history)?;
    let to = rollout.rollback_target.as_ref().unwrap_or(&rollout.goal);
    Ok(Accepted::Abort {
        service: session.service_key.service.clone(),
        version: to.version.clone(),
        revision: to.revision,
    })
}

/// The conclusion of a rollout that the other process has ended.
fn ended_elsewhere(session: &Session, outcome: Outcome) -> Result<Conclusion, Error> {
    let service = session.service_key.service.clone();
    if outcome == Outcome::Succeeded {
        return Err(Refused::SucceededBeforeAbort(service).into());
    }
    let exit = Exit::of_abort(&outcome);
    Ok(Conclusion::EndedElsewhere {
        service,
        outcome,
        exit,
    })
}
