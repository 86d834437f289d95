//! `ship restart`: replaces every instance with a new one of the same release.

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
use crate::core::policy::service_state::ServiceCommand;
use crate::core::rollout::verb::Verb;

#[derive(Clone, Debug, Default)]
pub struct RestartRequest {
    /// Overrides from the command line.
    pub set: Vec<String>,
    pub reason: Option<String>,
    /// How long to wait for another process to release the lock.
    pub lock_timeout: Duration,
}

/// Replaces every instance with a new one of the same release.
///
/// # Errors
/// Why there was no rollout, or it did not end.
pub async fn restart(
    env: &Arc<dyn Environment>,
    request: RestartRequest,
) -> Result<Conclusion, Error> {
    let overrides = Overrides {
        version: None,
        set: request.set,
    };
    let mut session = Session::open_locked(
        env,
        &overrides,
        Reading::Strict,
        ("restart", request.lock_timeout),
    )
    .await?;
    session.adopt_from_hosts().await?;
    session.permit(ServiceCommand::Restart)?;
    session.use_last_replicas();
    let current = session.current_record()?.clone();
    let reason = request
        .reason
        .unwrap_or_else(|| format!("restart of revision {}", current.revision));
    let service = session.service_key.service.clone();
    let accepted = Some(Accepted::Restart { service });
    let goal = Goal::for_revision(&session, &current, Verb::Restart, reason, accepted);
    Ok(rollout::carry_out(&mut session, goal)
        .await?
        .with_exit_of(Verb::Restart))
}
