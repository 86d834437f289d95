//! `ship pause`: asks the controller to start nothing new, and waits until it has paused.

use serde_json::json;

use super::args::PauseArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;
use super::terminal;
use crate::app::verbs::pause::{PAUSE_TIMEOUT, PauseOutcome, PauseResult, pause};
use crate::core::time::Human;

pub(super) async fn run(args: PauseArgs) -> Result<Exit, CliError> {
    let paused = pause(&terminal::quiet(args.inventory)).await?;
    show(&paused, args.output.output)
}

/// Prints what has been paused.
pub(super) fn show(paused: &PauseResult, output: OutputFormat) -> Result<Exit, CliError> {
    let service = &paused.service_key.service;
    if output == OutputFormat::Json {
        return print(&format!(
            "{}\n",
            json!({
                "service": service,
                "fleet": paused.service_key.fleet,
                "paused": paused.outcome == PauseOutcome::Paused,
            })
        ));
    }
    print(&match paused.outcome {
        PauseOutcome::Paused => format!(
            "service `{service}` paused\nhint: `ship resume` continues, `ship abort` rolls back\n"
        ),
        PauseOutcome::Pending => format!(
            "service `{service}`: pause requested, but in-flight actions have not finished after \
             {}\nhint: follow them with `ship status --watch`\n",
            Human(PAUSE_TIMEOUT)
        ),
    })
}
