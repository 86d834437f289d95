//! `ship abort`: back to the revision proven healthy, from a rollout that runs or was stopped.

use std::sync::Arc;
use std::time::Duration;

use super::{pause, resume};
use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading, StoreAccess};
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

/// A rollout on its way back ends by its own deadlines; this is longer than any of them.
const PATIENCE: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, Default)]
pub struct AbortRequest {
    /// The playbook's keys that the command line sets, besides those that the rollout was begun
    /// with.
    pub set: Vec<String>,
}

/// Aborts the newest rollout, in the process that carries it out or, where there is none, here.
///
/// # Errors
/// Why it was not aborted, or did not come to its end.
pub async fn abort(env: &Arc<dyn Environment>, request: AbortRequest) -> Result<Conclusion, Error> {
    let overrides = Overrides::default();
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    if session.standing()? == ServiceState::Running {
        check_abort(&session.history)?;
        let id = pause::ask(&mut session, ServiceCommand::Abort, ControlRequest::Abort)?;
        env.tell(&Notice::Accepted(accepted(&session)?));
        if let Some(outcome) = pause::await_end(&session, id, PATIENCE).await? {
            return ended_elsewhere(&session, outcome);
        }
        // Its process has died meanwhile: its part is taken over.
    }
    drop(session);
    let mut session = resume::reopen(env, request.set, "abort", ServiceCommand::Abort)?;
    check_abort(&session.history)?;
    let by = session.operator().to_string();
    let accepted = accepted(&session)?;
    let goal = Goal::of_stopped(&session, Continuation::RollBack { by }, Some(accepted))?;
    let ended = rollout::carry_out(&mut session, goal).await?;
    Ok(ended.with_exit(Exit::of_abort))
}

fn accepted(session: &Session) -> Result<Accepted, Error> {
    let (rollout, _) = stopped_rollout(&session.history)?;
    let to = rollout.fallback.as_ref().unwrap_or(&rollout.goal);
    Ok(Accepted::Abort {
        service: session.subject.service.clone(),
        version: to.version.clone(),
        revision: to.revision,
    })
}

/// How the other process has done it.
fn ended_elsewhere(session: &Session, outcome: Outcome) -> Result<Conclusion, Error> {
    let service = session.subject.service.clone();
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
