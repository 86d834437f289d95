//! `ship pause`: asks the process that carries out a rollout to start nothing new.

use super::args::PauseArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::terminal;
use crate::app::verbs::pause::{PATIENCE, Paused, pause};
use crate::core::time::Human;

pub(super) async fn run(args: PauseArgs) -> Result<Exit, CliError> {
    let (service, paused) = pause(&terminal::quiet(args.inventory)).await?;
    print(&match paused {
        Paused::Done => format!(
            "deployment \"{service}\" paused; `ship resume` goes on, `ship abort` goes back\n"
        ),
        Paused::NotYet => format!(
            "deployment \"{service}\" is asked to pause, but has not ended what is in flight \
             after {}; `ship status` shows it\n",
            Human(PATIENCE)
        ),
    })
}
