//! `ship report`: one page about a rollout.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::environment::{Environment, Reading, StoreAccess};
use crate::app::error::Error;
use crate::app::page::{self, ReportInput};
use crate::app::rollout_choice;
use crate::app::session::Session;
use crate::config::Overrides;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageDestination {
    /// To its place in the state directory.
    StateDirectory,
    /// To a file; the directory is made for it.
    File(PathBuf),
    /// To the caller.
    Caller,
}

/// A page that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MadePage {
    /// It lies there.
    Written(PathBuf),
    Html(String),
}

/// Makes the page about a rollout: a number, or `last`.
///
/// # Errors
/// If the rollout does not exist, or the page cannot be written.
pub fn report(
    env: &Arc<dyn Environment>,
    rollout: &str,
    destination: PageDestination,
) -> Result<MadePage, Error> {
    // The version is of no account here, and the playbook may name none.
    let overrides = Overrides::default();
    let session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Read)?;
    let id = rollout_choice::find(&**env, &*session.store, &session.subject, rollout)?;
    let past = ReportInput::of(&session, id, None)?;
    let html = past.page(&session, past.exit())?;
    match destination {
        PageDestination::StateDirectory => Ok(MadePage::Written(page::keep(&session, id, &html)?)),
        PageDestination::File(path) => {
            page::write(&path, &html)?;
            Ok(MadePage::Written(path))
        }
        PageDestination::Caller => Ok(MadePage::Html(html)),
    }
}
