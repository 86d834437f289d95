//! `ship migrate`: takes away what only older versions needed, because a person says so.

use std::sync::Arc;

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
    /// The playbook's keys that the command line sets.
    pub set: Vec<String>,
    pub reason: Option<String>,
}

/// Makes the contract migrations that are due.
///
/// # Errors
/// Why no rollout was made, or none came to its end.
pub async fn migrate(
    env: &Arc<dyn Environment>,
    request: MigrateRequest,
) -> Result<Conclusion, Error> {
    let begun = Session::begun(env)?;
    let overrides = Overrides {
        version: Some(begun.version()),
        set: request.set,
    };
    let mut session = Session::open_locked(env, &overrides, Reading::Strict, "migrate")?;
    session.permit(ServiceCommand::Contract)?;
    session.want_as_many();
    let current = session.current_record()?.clone();
    let due = session.history.contracts_due(&current.definition);
    if due.is_empty() {
        return Ok(Conclusion::NoContractDue(current.definition.version));
    }
    let reason = request.reason.unwrap_or_else(|| {
        let names: Vec<_> = due.into_iter().map(|task| task.name).collect();
        names.join(", ")
    });
    let goal = Goal::of_revision(&session, &current, Verb::Migrate, reason, None);
    Ok(rollout::carry_out(&mut session, goal)
        .await?
        .of_verb(Verb::Migrate))
}
