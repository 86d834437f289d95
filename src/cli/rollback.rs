//! `ship rollback`: rolls back to a proven revision.

use super::args::RollbackArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::{plan, terminal};
use crate::app::verbs::rollback::{RollbackRequest, preview, rollback};
use crate::core::ids::Revision;

pub(super) async fn run(args: RollbackArgs) -> Result<Exit, CliError> {
    let request = RollbackRequest {
        to_revision: args.to_revision.map(Revision),
        set: args.monitor.append_to(args.set),
        reason: args.reason.reason,
        lock_timeout: args.lock.lock_timeout,
    };
    let env = terminal::environment(args.inventory, args.display);
    if !args.dry_run {
        return Ok(conclude(
            &rollback(&env, request).await?,
            args.display.output,
        ));
    }
    match Box::pin(preview(&env, request)).await? {
        Ok(preview) => plan::show(&preview, args.display.output),
        Err(conclusion) => Ok(conclude(&conclusion, args.display.output)),
    }
}
