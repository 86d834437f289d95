//! `ship migrate`: takes away what only older versions needed, because a person says so.

use super::args::MigrateArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::migrate::{MigrateRequest, migrate};

pub(super) async fn run(args: MigrateArgs) -> Result<Exit, CliError> {
    let request = MigrateRequest {
        set: args.set,
        reason: args.reason.reason,
    };
    let env = terminal::environment(args.inventory, args.display);
    Ok(conclude(
        &migrate(&env, request).await?,
        args.display.output,
    ))
}
