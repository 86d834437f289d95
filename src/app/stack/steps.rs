//! The steps of a deployment for one service, and how they end.

use std::sync::Arc;

use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::goal::Goal;
use crate::app::rollout::{self, PreparedRollout};
use crate::app::session::Session;
use crate::app::verbs::promote::{PromoteRequest, Promotion, promote};
use crate::app::verbs::resume::{ResumeRequest, resume};
use crate::config::Overrides;
use crate::core::policy::continuation::ContinuationRefusal;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{DeployedService, ServiceEnd};
use crate::store::StoreAccess;

/// How a step ended.
pub(super) fn end_of(conclusion: &Conclusion) -> ServiceEnd {
    match conclusion {
        Conclusion::Ended { outcome, .. } | Conclusion::EndedElsewhere { outcome, .. } => {
            ServiceEnd::of(outcome)
        }
        Conclusion::NothingToDo { .. }
        | Conclusion::Skipped { .. }
        | Conclusion::AlreadyCurrent(_)
        | Conclusion::NoContractDue { .. } => ServiceEnd::Reached,
    }
}

/// Carries out a prepared rollout and publishes it.
pub(super) async fn finish(
    session: &mut Session,
    rollout: PreparedRollout,
) -> Result<Conclusion, Error> {
    let verb = rollout.goal.verb;
    let conclusion = Box::pin(rollout::run(session, rollout)).await?;
    rollout::publish(session, &conclusion).await;
    Ok(conclusion.with_exit_of(verb))
}

/// Continues an unfinished rollout, past the step at which it waits if that is promoted.
pub(super) async fn promote_or_resume(
    env: &Arc<dyn Environment>,
    request: ResumeRequest,
    promotion: Option<PromoteRequest>,
) -> Result<Conclusion, Error> {
    if let Some(promotion) = promotion {
        match Box::pin(promote(env, promotion)).await {
            Ok(Promotion::Concluded(conclusion)) => return Ok(conclusion),
            Err(error) if !is_not_at_step(&error) => return Err(error),
            Ok(Promotion::Requested(_)) | Err(_) => {}
        }
    }
    Box::pin(resume(env, request)).await
}

/// Whether a rollout cannot be promoted because it does not wait at a step.
fn is_not_at_step(error: &Error) -> bool {
    matches!(
        error,
        Error::Refused(Refused::Continuation(ContinuationRefusal::NotAtStep { .. }))
    )
}

/// Begins the rollout of a service that an earlier process recorded, but did not begin.
pub(super) async fn roll_out_recorded(
    env: &Arc<dyn Environment>,
    deployed: &DeployedService,
    verb: Verb,
    reason: String,
    request: ResumeRequest,
) -> Result<Conclusion, Error> {
    let overrides = Overrides {
        version: Some(deployed.version.clone()),
        set: deployed.set.iter().cloned().chain(request.set).collect(),
    };
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    session.mode.unattended = request.unattended;
    session.adopt_from_hosts().await?;
    let planned = session.planned_record(deployed.revision)?;
    let goal = Goal::for_revision(&session, &planned, verb, reason, None);
    let conclusion = Box::pin(rollout::carry_out(&mut session, goal)).await?;
    Ok(conclusion.with_exit_of(verb))
}
