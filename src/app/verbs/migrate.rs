//! `ship migrate`: runs the contract migrations that are due.

use std::sync::Arc;
use std::time::Duration;

use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::goal::Goal;
use crate::app::rollout;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::service_state::ServiceCommand;
use crate::core::rollout::verb::Verb;

#[derive(Clone, Debug, Default)]
pub struct MigrateRequest {
    /// Overrides from the command line.
    pub set: Vec<String>,
    pub reason: Option<String>,
    /// How long to wait for another process to release the lock.
    pub lock_timeout: Duration,
}

/// Runs the contract migrations that are due.
///
/// # Errors
/// Why there was no rollout, or it did not end.
pub async fn migrate(
    env: &Arc<dyn Environment>,
    request: MigrateRequest,
) -> Result<Conclusion, Error> {
    let last = Session::last_start(env)?;
    let overrides = Overrides {
        version: Some(last.version()),
        set: request.set,
    };
    let mut session = Session::open_locked(
        env,
        &overrides,
        Reading::Strict,
        ("migrate", request.lock_timeout),
    )
    .await?;
    session.permit(ServiceCommand::Contract)?;
    session.use_last_replicas();
    let current = session.current_record()?.clone();
    let due = session.history.contracts_due(&current.definition);
    if due.is_empty() {
        return Ok(Conclusion::NoContractDue {
            service: session.service_key.service.clone(),
            version: current.definition.version,
        });
    }
    let reason = request.reason.unwrap_or_else(|| {
        let names: Vec<_> = due.into_iter().map(|task| task.name).collect();
        names.join(", ")
    });
    let goal = Goal::for_revision(&session, &current, Verb::Migrate, reason, None);
    Ok(rollout::carry_out(&mut session, goal)
        .await?
        .with_exit_of(Verb::Migrate))
}
