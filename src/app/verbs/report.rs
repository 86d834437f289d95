//! `ship report`: builds the report about a rollout.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::report_page::{self, ReportInput};
use crate::app::rollout_choice;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::store::StoreAccess;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportDestination {
    StateDirectory,
    /// A file; its directory is created.
    File(PathBuf),
    /// Return the report to the caller.
    Caller,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutput {
    Written(PathBuf),
    Html(String),
}

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
    match destination {
        ReportDestination::StateDirectory => Ok(ReportOutput::Written(
            report_page::write_to_state_dir(&session, id, &html)?,
        )),
        ReportDestination::File(path) => {
            report_page::write(&path, &html)?;
            Ok(ReportOutput::Written(path))
        }
        ReportDestination::Caller => Ok(ReportOutput::Html(html)),
    }
}
