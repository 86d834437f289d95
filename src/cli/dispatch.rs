//! Runs the verb of a command line for one service.

use clap::CommandFactory as _;

use super::args::{Cli, VerbArgs};
use super::exit::{CliError, Exit};
use super::output::print;
use super::{
    abort, adopt, check, cron, deploy, disconnect, freeze, history, init, inventory, logs, migrate,
    pause, plan, promote, report, restart, resume, rollback, scale, state, status, unlock,
};

/// Runs a verb for one service.
pub(super) async fn run_one(verb: VerbArgs) -> Result<Exit, CliError> {
    match verb {
        VerbArgs::Init(args) => init::run(args),
        VerbArgs::Adopt(args) => adopt::run(args).await,
        VerbArgs::Deploy(args) => Box::pin(deploy::run(args)).await,
        VerbArgs::Plan(args) => plan::run(args).await,
        VerbArgs::Check(args) => check::run(args).await,
        VerbArgs::Status(args) => status::run(args).await,
        VerbArgs::History(args) => history::run(args),
        VerbArgs::Logs(args) => logs::run(args).await,
        VerbArgs::Rollback(args) => Box::pin(rollback::run(args)).await,
        VerbArgs::Pause(args) => pause::run(args).await,
        VerbArgs::Resume(args) => Box::pin(resume::run(args)).await,
        VerbArgs::Promote(args) => Box::pin(promote::run(args)).await,
        VerbArgs::Abort(args) => Box::pin(abort::run(args)).await,
        VerbArgs::Restart(args) => Box::pin(restart::run(args)).await,
        VerbArgs::Scale(args) => Box::pin(scale::run(args)).await,
        VerbArgs::Migrate(args) => Box::pin(migrate::run(args)).await,
        VerbArgs::Freeze(args) => freeze::run(args),
        VerbArgs::Thaw(args) => freeze::thaw(args),
        VerbArgs::Report(args) => report::run(args),
        VerbArgs::Unlock(args) => unlock::run(args).await,
        VerbArgs::State(args) => state::run(args).await,
        VerbArgs::Disconnect(args) => disconnect::run(args).await,
        VerbArgs::Inventory(args) => inventory::run(args),
        VerbArgs::Cron(args) => cron::run(args),
        VerbArgs::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ship", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        VerbArgs::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| {
                    let text = format!("error: cannot render the manual page: {error}");
                    CliError::new(Exit::Internal, text)
                })?;
            print(&String::from_utf8_lossy(&page))
        }
    }
}
