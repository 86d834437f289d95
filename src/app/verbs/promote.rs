//! `ship promote`: continues a rollout that is waiting at a step.

use std::sync::Arc;
use std::time::Duration;

use super::{pause, resume};
use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::goal::Goal;
use crate::app::notice::Accepted;
use crate::app::rollout;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::continuation::{Continuation, check_promotion};
use crate::core::policy::service_state::{ServiceCommand, ServiceState};
use crate::store::ControlRequest;
use crate::store::StoreAccess;

#[derive(Clone, Debug, Default)]
pub struct PromoteRequest {
    /// Skip all remaining steps.
    pub fully: bool,
    /// Overrides from the command line, in addition to those of the rollout.
    pub set: Vec<String>,
    pub unattended: bool,
}

pub enum Promotion {
    /// The request was sent to the controller.
    Requested(Accepted),
    /// The rollout was stopped, and this process has continued it.
    Concluded(Conclusion),
}

/// Promotes the newest rollout: in its controller, or in this process if there is none.
///
/// # Errors
/// Why the rollout was not promoted, or did not end.
pub async fn promote(
    env: &Arc<dyn Environment>,
    request: PromoteRequest,
) -> Result<Promotion, Error> {
    let overrides = Overrides::default();
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    let service = session.service_key.service.clone();
    let fully = request.fully;
    let accepted = Accepted::Promote {
        service: service.clone(),
        fully,
    };
    if session.state()? == ServiceState::Running {
        check_promotion(&session.history, &service, fully)?;
        let newest = session.history.newest.as_ref();
        let newest = newest.ok_or(Refused::NothingDeployed)?;
        let request = if fully {
            ControlRequest::PromoteFully
        } else {
            ControlRequest::Promote {
                step: newest.step.passed + 1,
            }
        };
        pause::send_request(&mut session, ServiceCommand::Promote, request)?;
        return Ok(Promotion::Requested(accepted));
    }
    drop(session);
    let mut session = resume::reopen(
        env,
        request.set,
        ("promote", Duration::ZERO),
        ServiceCommand::Promote,
    )
    .await?;
    session.mode.unattended = request.unattended;
    check_promotion(&session.history, &service, fully)?;
    let continuation = Continuation::Promote {
        by: session.operator().to_string(),
        full: fully,
    };
    let goal = Goal::for_stopped_rollout(&session, continuation, Some(accepted))?;
    let verb = goal.verb;
    let ended = Box::pin(rollout::carry_out(&mut session, goal)).await?;
    Ok(Promotion::Concluded(ended.with_exit_of(verb)))
}
