//! `ship report` for a stack: the page about a deployment.

use super::super::args::ReportArgs;
use super::super::exit::{CliError, Exit};
use super::super::report::{destination, show};
use super::super::shared_args::DisplayArgs;
use super::target::StackTarget;
use crate::app::stack;
use crate::core::stack::DeploymentNumber;

pub(super) fn run(args: ReportArgs, stack: &StackTarget) -> Result<Exit, CliError> {
    let services = stack.services(DisplayArgs::default());
    let number = args.deployment.map(DeploymentNumber);
    show(&stack::report(
        &services,
        number,
        destination(args.output_file),
    )?)
}
