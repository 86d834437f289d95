//! `ship deploy`: rolls out a version.

use super::args::DeployArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::shared_args::OverrideArgs;
use super::{plan, terminal};
use crate::app::verbs::deploy::{DeployRequest, deploy};
use crate::app::verbs::plan::plan;
use crate::core::policy::unattended::RunMode;

pub(super) async fn run(args: DeployArgs) -> Result<Exit, CliError> {
    let overrides = OverrideArgs {
        set: args.monitor.append_to(args.overrides.set),
        ..args.overrides
    };
    let overrides = overrides.of_service(&args.inventory)?;
    let env = terminal::environment(args.inventory, args.display);
    if args.dry_run {
        let preview = plan(&env, overrides).await?;
        return plan::show(&preview, args.display.output);
    }
    let request = DeployRequest {
        overrides,
        reason: args.reason.reason,
        mode: RunMode {
            unattended: args.unattended,
            force: args.force,
        },
        lock_timeout: args.lock.lock_timeout,
    };
    Ok(conclude(
        &Box::pin(deploy(&env, request)).await?,
        args.display.output,
    ))
}
