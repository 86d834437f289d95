//! The verbs that roll out a whole stack.

use super::super::args::{AbortArgs, DeployArgs, PauseArgs, PromoteArgs, ResumeArgs, RollbackArgs};
use super::super::exit::{CliError, Exit};
use super::super::output::print;
use super::super::pause;
use super::super::shared_args::DisplayArgs;
use super::conclusion::conclude;
use super::plan;
use super::target::StackTarget;
use crate::app::stack::{self, StackDeployRequest, StackPromotion, StackRollbackRequest};
use crate::app::verbs::abort::AbortRequest;
use crate::app::verbs::promote::PromoteRequest;
use crate::app::verbs::resume::ResumeRequest;
use crate::config::StackOverrides;
use crate::core::policy::unattended::RunMode;
use crate::core::stack::DeploymentNumber;

pub(super) async fn deploy(args: DeployArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let overrides = StackOverrides {
        services: args.inventory.services,
        versions: args.overrides.version,
        set: args.monitor.append_to(args.overrides.set),
    };
    // Report the errors of all files at once, and those between the services.
    stack.machine.read_stack(&overrides)?;
    let request = StackDeployRequest {
        overrides,
        reason: args.reason.reason,
        mode: RunMode {
            unattended: args.unattended,
            force: args.force,
        },
        lock_timeout: args.lock.lock_timeout,
    };
    let services = stack.services(args.display);
    let conclusion = Box::pin(stack::deploy(&services, request)).await?;
    conclude(&conclusion, args.display.output)
}

pub(super) async fn rollback(args: RollbackArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let request = StackRollbackRequest {
        to_deployment: args.to_deployment.map(DeploymentNumber),
        set: args.monitor.append_to(args.set),
        reason: args.reason.reason,
        lock_timeout: args.lock.lock_timeout,
    };
    let services = stack.services(args.display);
    if args.dry_run {
        let plans = Box::pin(stack::preview_rollback(&services, request)).await?;
        return plan::show_rollback(&stack, &plans, args.display.output);
    }
    let conclusion = Box::pin(stack::rollback(&services, request)).await?;
    conclude(&conclusion, args.display.output)
}

pub(super) async fn resume(args: ResumeArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let services = stack.services(args.display);
    let request = ResumeRequest {
        set: args.monitor.append_to(args.set),
        unattended: args.unattended,
        lock_timeout: args.lock.lock_timeout,
    };
    let conclusion = Box::pin(stack::resume(&services, request)).await?;
    conclude(&conclusion, args.display.output)
}

pub(super) async fn abort(args: AbortArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let services = stack.services(args.display);
    let request = AbortRequest { set: args.set };
    let conclusion = Box::pin(stack::abort(&services, request)).await?;
    conclude(&conclusion, args.display.output)
}

pub(super) async fn promote(args: PromoteArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let request = PromoteRequest {
        fully: args.full,
        set: args.monitor.append_to(args.set),
        unattended: args.unattended,
    };
    let services = stack.services(args.display);
    match Box::pin(stack::promote(&services, request)).await? {
        StackPromotion::Requested(accepted) => {
            let lines = accepted.iter().map(|accepted| format!("{accepted}\n"));
            print(&lines.collect::<String>())
        }
        StackPromotion::Concluded(conclusion) => conclude(&conclusion, args.display.output),
    }
}

pub(super) async fn pause(args: PauseArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let services = stack.services(DisplayArgs::default());
    for paused in stack::pause(&services).await? {
        pause::show(&paused, args.output.output)?;
    }
    Ok(Exit::Done)
}
