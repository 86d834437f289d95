//! `ship restart`: replaces every instance with a new one of the same release.

use super::args::RestartArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::restart::{RestartRequest, restart};

pub(super) async fn run(args: RestartArgs) -> Result<Exit, CliError> {
    let request = RestartRequest {
        set: args.monitor.append_to(args.set),
        reason: args.reason.reason,
        lock_timeout: args.lock.lock_timeout,
    };
    let env = terminal::environment(args.inventory, args.display);
    Ok(conclude(
        &restart(&env, request).await?,
        args.display.output,
    ))
}
