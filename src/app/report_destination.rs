//! Where a report goes: the state directory, a file, or the caller.

use std::path::PathBuf;

use super::error::Error;
use super::report_page;
use super::session::Session;

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

impl ReportDestination {
    /// Delivers a report; `name` is its name in the state directory.
    pub(super) fn deliver(
        self,
        session: &Session,
        name: &str,
        html: String,
    ) -> Result<ReportOutput, Error> {
        match self {
            Self::StateDirectory => {
                let path = report_page::write_to_state_dir(session, name, &html)?;
                Ok(ReportOutput::Written(path))
            }
            Self::File(path) => {
                report_page::write(&path, &html)?;
                Ok(ReportOutput::Written(path))
            }
            Self::Caller => Ok(ReportOutput::Html(html)),
        }
    }
}
