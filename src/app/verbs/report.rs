//! `ship report`: builds the report about a rollout.

use std::sync::Arc;

use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::report_destination::{ReportDestination, ReportOutput};
use crate::app::report_page::ReportInput;
use crate::app::rollout_choice;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::store::StoreAccess;

/// Builds the report about a rollout: a number, or `last`.
///
/// # Errors
/// If the rollout does not exist, or the report cannot be written.
pub fn report(
    env: &Arc<dyn Environment>,
    rollout: &str,
    destination: ReportDestination,
) -> Result<ReportOutput, Error> {
    // Not strict: the version does not matter here, and the playbook may have none.
    let overrides = Overrides::default();
    let session = Session::open(env, &overrides, Reading::WithoutHosts, StoreAccess::Read)?;
    let id = rollout_choice::find(
        &**env,
        &**session.store.lock(),
        &session.service_key,
        rollout,
    )?;
    let input = ReportInput::read(&session, id, None)?;
    let html = input.page(&session, input.exit())?;
    destination.deliver(&session, &id.0.to_string(), html)
}
