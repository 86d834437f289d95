//! `ship init`: prints which files were written and the next steps.

use super::args::InitArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use crate::app::verbs::init::init;

pub(super) fn run(args: InitArgs) -> Result<Exit, CliError> {
    let files = init(args.inventory)?;
    let (inventory, playbook) = (files.inventory.display(), files.playbook.display());
    print(&format!(
        "wrote {inventory}: list your hosts there\nwrote {playbook}: describe your service \
         there\n\nnext steps:\n  ship check {inventory}      # validate both files and check every \
         host\n  ship plan {inventory}       # show what a deploy would do\n  ship deploy \
         {inventory}\n"
    ))
}
