//! `ship report`: prints the path of a report, or the report itself.

use std::path::{Path, PathBuf};

use super::args::ReportArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::terminal;
use crate::app::report_destination::{ReportDestination, ReportOutput};
use crate::app::verbs::report::report;

pub(super) fn run(args: ReportArgs) -> Result<Exit, CliError> {
    if args.deployment.is_some() {
        return Err(CliError::refused(
            "error: `--deployment` is for an inventory with `[[services]]`, and this one has one \
             playbook\nhint: choose a rollout with `--rollout`"
                .to_owned(),
        ));
    }
    let env = terminal::quiet(args.inventory);
    let rollout = args.rollout.as_deref().unwrap_or("last");
    show(&report(&env, rollout, destination(args.output_file))?)
}

pub(super) fn show(output: &ReportOutput) -> Result<Exit, CliError> {
    match output {
        ReportOutput::Written(path) => print(&format!("{}\n", path.display())),
        ReportOutput::Html(html) => print(html),
    }
}

pub(super) fn destination(to: Option<PathBuf>) -> ReportDestination {
    match to {
        None => ReportDestination::StateDirectory,
        Some(path) if path == Path::new("-") => ReportDestination::Caller,
        Some(path) => ReportDestination::File(path),
    }
}
