//! `ship init`: prints which files were written and the next steps.

use super::args::InitArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use crate::app::verbs::init::{init, init_stack};

pub(super) fn run(args: InitArgs) -> Result<Exit, CliError> {
    let files = if args.stack {
        init_stack(args.inventory)?
    } else {
        init(args.inventory)?
    };
    let inventory = files.inventory.display();
    let playbooks = files.playbooks.iter().map(|playbook| {
        format!(
            "wrote {}: describe your service there\n",
            playbook.display()
        )
    });
    let checked = if args.stack {
        "all files"
    } else {
        "both files"
    };
    print(&format!(
        "wrote {inventory}: list your hosts there\n{}\nnext steps:\n  ship check {inventory}      # \
         validate {checked} and check every host\n  ship plan {inventory}       # show what a deploy \
         would do\n  ship deploy {inventory}\n",
        playbooks.collect::<String>()
    ))
}
