//! `ship resume`: resumes a stopped rollout.

use super::args::ResumeArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::resume::{ResumeRequest, resume};

pub(super) async fn run(args: ResumeArgs) -> Result<Exit, CliError> {
    let request = ResumeRequest {
        set: args.monitor.append_to(args.set),
        unattended: args.unattended,
        lock_timeout: args.lock.lock_timeout,
    };
    let env = terminal::environment(args.inventory, args.display);
    Ok(conclude(&resume(&env, request).await?, args.display.output))
}
