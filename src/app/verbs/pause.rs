//! `ship pause`: asks the controller to start nothing new, and waits until it has paused.

use std::sync::Arc;
use std::time::Duration;

use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::service_state::ServiceCommand;
use crate::core::rollout::failure::Outcome;
use crate::store::StoreAccess;
use crate::store::{ControlRequest, RolloutId, ServiceKey};

/// How often to check whether the controller has carried out a request.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long `ship pause` waits. In-flight actions have their own deadlines, which may be longer.
pub const PAUSE_TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseOutcome {
    Paused,
    /// In-flight actions have not finished within [`PAUSE_TIMEOUT`].
    Pending,
}

/// The result of `ship pause`.
pub struct PauseResult {
    pub service_key: ServiceKey,
    pub outcome: PauseOutcome,
}

/// Asks the controller to pause, and waits until it has.
///
/// # Errors
/// If there is nothing to pause, or the rollout ended before it could pause.
pub async fn pause(env: &Arc<dyn Environment>) -> Result<PauseResult, Error> {
    let overrides = Overrides::default();
    let mut session = Session::open(env, &overrides, Reading::WithoutHosts, StoreAccess::Write)?;
    let service_key = session.service_key.clone();
    let rollout = send_request(&mut session, ServiceCommand::Pause, ControlRequest::Pause)?;
    let outcome = match wait_for_end(&session, rollout, PAUSE_TIMEOUT).await? {
        Some(Outcome::Paused { .. }) => PauseOutcome::Paused,
        Some(outcome) => {
            let (service, outcome) = (service_key.service, outcome.word());
            return Err(Refused::EndedBeforePause { service, outcome }.into());
        }
        None => PauseOutcome::Pending,
    };
    Ok(PauseResult {
        service_key,
        outcome,
    })
}

/// Sends a request to the controller of the newest rollout; returns the rollout.
pub(super) fn send_request(
    session: &mut Session,
    command: ServiceCommand,
    request: ControlRequest,
) -> Result<RolloutId, Error> {
    let state = session.state()?;
    if let Some(refusal) = state.refusal(command, &session.service_key.service) {
        return Err(refusal.into());
    }
    let rollout = session.newest_rollout()?.ok_or(Refused::NothingDeployed)?;
    session.send_request(rollout, request)?;
    Ok(rollout)
}

/// Waits until a rollout has ended or its controller is gone; returns the outcome, if there is one.
pub(super) async fn wait_for_end(
    session: &Session,
    rollout: RolloutId,
    timeout: Duration,
) -> Result<Option<Outcome>, Error> {
    let waited = async {
        loop {
            let records = session.records()?;
            let has_live_controller = records.holder(&session.env.machine()).is_some();
            let outcome = records.outcome(rollout);
            if outcome.is_some() || !has_live_controller {
                return Ok(outcome);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(timeout, waited)
        .await
        .unwrap_or(Ok(None))
}
