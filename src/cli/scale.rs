//! `ship scale`: changes the number of instances.

use super::args::ScaleArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::scale::{ScaleRequest, scale};

pub(super) async fn run(args: ScaleArgs) -> Result<Exit, CliError> {
    let request = ScaleRequest {
        replicas: args.replicas,
        set: args.set,
        lock_timeout: args.lock.lock_timeout,
    };
    let env = terminal::environment(args.inventory, args.display);
    Ok(conclude(&scale(&env, request).await?, args.display.output))
}
