//! `ship report`: prints the path of the report about a rollout, or the report itself.

use std::path::{Path, PathBuf};

use super::args::ReportArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::terminal;
use crate::app::verbs::report::{MadePage, PageDestination, report};

pub(super) fn run(args: ReportArgs) -> Result<Exit, CliError> {
    let env = terminal::quiet(args.inventory);
    match report(&env, &args.rollout, destination(args.output_file))? {
        MadePage::Written(path) => print(&format!("{}\n", path.display())),
        MadePage::Html(html) => print(&html),
    }
}

fn destination(to: Option<PathBuf>) -> PageDestination {
    match to {
        None => PageDestination::StateDirectory,
        Some(path) if path == Path::new("-") => PageDestination::Caller,
        Some(path) => PageDestination::File(path),
    }
}
