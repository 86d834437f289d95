//! `ship resume`: go on with a rollout that was stopped.

use super::args::ResumeArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::resume::{ResumeRequest, resume};

pub(super) async fn run(args: ResumeArgs) -> Result<Exit, CliError> {
    let request = ResumeRequest {
        set: args.monitor.after(args.set),
        unattended: args.unattended,
    };
    let env = terminal::environment(args.inventory, args.display);
    Ok(conclude(&resume(&env, request).await?, args.display.output))
}
