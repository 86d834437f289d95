//! `ship abort`: rolls back a running or stopped rollout.

use super::args::AbortArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::abort::{AbortRequest, abort};

pub(super) async fn run(args: AbortArgs) -> Result<Exit, CliError> {
    let env = terminal::environment(args.inventory, args.display);
    let request = AbortRequest { set: args.set };
    Ok(conclude(&abort(&env, request).await?, args.display.output))
}
