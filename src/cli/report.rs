//! `ship report`: prints the path of the report about a rollout, or the report itself.

use std::path::{Path, PathBuf};

use super::args::ReportArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::terminal;
use crate::app::verbs::report::{ReportDestination, ReportOutput, report};

pub(super) fn run(args: ReportArgs) -> Result<Exit, CliError> {
    let env = terminal::quiet(args.inventory);
    match report(&env, &args.rollout, destination(args.output_file))? {
        ReportOutput::Written(path) => print(&format!("{}\n", path.display())),
        ReportOutput::Html(html) => print(&html),
    }
}

fn destination(to: Option<PathBuf>) -> ReportDestination {
    match to {
        None => ReportDestination::StateDirectory,
        Some(path) if path == Path::new("-") => ReportDestination::Caller,
        Some(path) => ReportDestination::File(path),
    }
}
