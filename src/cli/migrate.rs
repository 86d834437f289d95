//! `ship migrate`: runs the contract migrations that are due.

use super::args::MigrateArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::migrate::{MigrateRequest, migrate};

pub(super) async fn run(args: MigrateArgs) -> Result<Exit, CliError> {
    let request = MigrateRequest {
        set: args.set,
        reason: args.reason.reason,
        lock_timeout: args.lock.lock_timeout,
    };
    let env = terminal::environment(args.inventory, args.display);
    Ok(conclude(
        &migrate(&env, request).await?,
        args.display.output,
    ))
}
