//! `ship promote`: continues a rollout that is waiting at a step.

use super::args::PromoteArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::output::print;
use super::terminal;
use crate::app::verbs::promote::{PromoteRequest, Promotion, promote};

pub(super) async fn run(args: PromoteArgs) -> Result<Exit, CliError> {
    let request = PromoteRequest {
        fully: args.full,
        set: args.monitor.append_to(args.set),
        unattended: args.unattended,
    };
    let env = terminal::environment(args.inventory, args.display);
    match promote(&env, request).await? {
        Promotion::Requested(accepted) => print(&format!("{accepted}\n")),
        Promotion::Concluded(conclusion) => Ok(conclude(&conclusion, args.display.output)),
    }
}
