//! `ship init`: says what was written to begin with, and what comes next.

use super::args::InitArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use crate::app::verbs::init::init;

pub(super) fn run(args: InitArgs) -> Result<Exit, CliError> {
    let files = init(args.inventory.inventory)?;
    let (inventory, playbook) = (files.inventory.display(), files.playbook.display());
    print(&format!(
        "wrote {inventory}: name your machines in it\nwrote {playbook}: say in it what runs \
         there\n\nthen:\n  ship check \
         {inventory}      # the files and every machine, all problems at once\n  ship plan \
         {inventory}       # what a \
         deploy would do\n  ship deploy {inventory}\n"
    ))
}
