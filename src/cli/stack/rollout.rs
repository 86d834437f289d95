//! The verbs that roll out a whole stack.

use super::super::args::{AbortArgs, DeployArgs, ResumeArgs, RollbackArgs};
use super::super::exit::{CliError, Exit};
use super::StackTarget;
use super::conclusion::conclude;
use crate::app::stack::{self, StackDeployRequest, StackRollbackRequest};
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
    let conclusion = Box::pin(stack::rollback(&services, request)).await?;
    conclude(&conclusion, args.display.output)
}

pub(super) async fn resume(args: ResumeArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let services = stack.services(args.display);
    let conclusion = Box::pin(stack::resume(&services, args.lock.lock_timeout)).await?;
    conclude(&conclusion, args.display.output)
}

pub(super) async fn abort(args: AbortArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let services = stack.services(args.display);
    let conclusion = Box::pin(stack::abort(&services)).await?;
    conclude(&conclusion, args.display.output)
}
