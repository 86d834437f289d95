//! `ship pause`: asks the process that carries out a rollout to start nothing new.

use std::sync::Arc;
use std::time::Duration;

use crate::app::environment::{Environment, Reading, StoreAccess};
use crate::app::error::{Error, Refused};
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::service_state::ServiceCommand;
use crate::core::rollout::failure::Outcome;
use crate::store::{ControlRequest, RolloutId};

/// How often to look whether the other process has done it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is in flight has bounds of its own; after this long the caller is not kept any longer.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// How a rollout took the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    Done,
    /// What is in flight has not ended within [`PATIENCE`].
    NotYet,
}

/// Asks that the rollout pauses, and waits for it; gives the service's name, too.
///
/// # Errors
/// If there is nothing to pause, or it ended before it could.
pub async fn pause(env: &Arc<dyn Environment>) -> Result<(String, Paused), Error> {
    let overrides = Overrides::default();
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    let service = session.subject.service.clone();
    let rollout = ask(&mut session, ServiceCommand::Pause, ControlRequest::Pause)?;
    match await_end(&session, rollout, PATIENCE).await? {
        Some(Outcome::Paused { .. }) => Ok((service, Paused::Done)),
        Some(outcome) => {
            let outcome = outcome.word();
            Err(Refused::EndedBeforePause { service, outcome }.into())
        }
        None => Ok((service, Paused::NotYet)),
    }
}

/// Asks something of the process that carries out the newest rollout; which that is.
pub(super) fn ask(
    session: &mut Session,
    ask: ServiceCommand,
    wish: ControlRequest,
) -> Result<RolloutId, Error> {
    if let Some(refusal) = session.standing()?.refusal(ask, &session.subject.service) {
        return Err(refusal.into());
    }
    let rollout = session.newest_rollout()?.ok_or(Refused::NothingDeployed)?;
    session.ask(rollout, wish)?;
    Ok(rollout)
}

/// Waits until a rollout has ended, or its process is gone; how it ended, if it did.
pub(super) async fn await_end(
    session: &Session,
    rollout: RolloutId,
    patience: Duration,
) -> Result<Option<Outcome>, Error> {
    let waited = async {
        loop {
            let is_carried_out = session.is_carried_out()?;
            let outcome = session.store.outcome(rollout)?;
            if outcome.is_some() || !is_carried_out {
                return Ok(outcome);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(patience, waited)
        .await
        .unwrap_or(Ok(None))
}
