//! `ship contract`: takes away what only older versions needed, because a person says so.

use super::args::ContractArgs;
use super::conclusion::conclude;
use super::exit::{CliError, Exit};
use super::terminal;
use crate::app::verbs::contract::{ContractRequest, contract};

pub(super) async fn run(args: ContractArgs) -> Result<Exit, CliError> {
    let request = ContractRequest {
        set: args.set,
        cause: args.cause,
    };
    let env = terminal::environment(args.inventory, args.output);
    Ok(conclude(&contract(&env, request).await?, args.output))
}
