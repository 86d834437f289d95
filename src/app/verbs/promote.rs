//! `ship promote`: a rollout that waits at a step may go on.

use std::sync::Arc;

use super::{pause, resume};
use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading, StoreAccess};
use crate::app::error::{Error, Refused};
use crate::app::goal::Goal;
use crate::app::notice::Accepted;
use crate::app::rollout;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::continuation::{Continuation, check_promotion};
use crate::core::policy::service_state::{ServiceCommand, ServiceState};
use crate::store::ControlRequest;

#[derive(Clone, Debug, Default)]
pub struct PromoteRequest {
    /// Through all steps that are left.
    pub fully: bool,
    /// The playbook's keys that the command line sets, besides those that the rollout was begun
    /// with.
    pub set: Vec<String>,
    /// Whether nobody is there to be asked.
    pub unattended: bool,
}

pub enum Promotion {
    /// The process that carries out the rollout goes on.
    Asked(Accepted),
    /// The rollout had been stopped, and went on here.
    Concluded(Conclusion),
}

/// Promotes the newest rollout, in the process that carries it out or, where there is none, here.
///
/// # Errors
/// Why it was not promoted, or did not come to its end.
pub async fn promote(
    env: &Arc<dyn Environment>,
    request: PromoteRequest,
) -> Result<Promotion, Error> {
    let overrides = Overrides::default();
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    let service = session.subject.service.clone();
    let fully = request.fully;
    let accepted = Accepted::Promote {
        service: service.clone(),
        fully,
    };
    if session.standing()? == ServiceState::Running {
        check_promotion(&session.history, &service, fully)?;
        let newest = session.history.newest.as_ref();
        let newest = newest.ok_or(Refused::NothingDeployed)?;
        let wish = if fully {
            ControlRequest::PromoteFully
        } else {
            ControlRequest::Promote {
                step: newest.step.passed + 1,
            }
        };
        pause::ask(&mut session, ServiceCommand::Promote, wish)?;
        return Ok(Promotion::Asked(accepted));
    }
    drop(session);
    let mut session = resume::reopen(env, request.set, "promote", ServiceCommand::Promote)?;
    session.mode.unattended = request.unattended;
    check_promotion(&session.history, &service, fully)?;
    let continuation = Continuation::Promote {
        by: session.operator().to_string(),
        full: fully,
    };
    let goal = Goal::of_stopped(&session, continuation, Some(accepted))?;
    let verb = goal.verb;
    let ended = rollout::carry_out(&mut session, goal).await?;
    Ok(Promotion::Concluded(ended.of_verb(verb)))
}
