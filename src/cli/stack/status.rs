//! `ship status` for a stack: the status of each service.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::ops::ControlFlow;

use futures::future::try_join_all;

use super::super::args::StatusArgs;
use super::super::exit::{CliError, Exit};
use super::super::output::print_while_read;
use super::super::shared_args::{DisplayArgs, OutputFormat};
use super::super::status::{self, CLEAR};
use super::target::StackTarget;
use crate::app::stack::{self, StackServices};
use crate::app::verbs::status::{Observer, ServiceStatus};
use crate::core::stack::DeploymentNumber;
use crate::report::LocalClock;

pub(super) async fn run(args: StatusArgs, stack: StackTarget) -> Result<Exit, CliError> {
    let services = stack.services(DisplayArgs::default());
    let opened = services.services.iter().map(|it| Observer::open(&it.env));
    let mut observers = opened.collect::<Result<Vec<_>, _>>()?;
    let output = args.output.output;
    if !args.watch {
        let shown = show(&services, &mut observers, output, None).await;
        return shown.map(|_| Exit::Done);
    }
    let heading = if std::io::stdout().is_terminal() {
        CLEAR
    } else {
        ""
    };
    status::repeat(async || {
        for observer in &mut observers {
            observer.refresh()?;
        }
        show(&services, &mut observers, output, Some(heading)).await
    })
    .await
}

/// Prints the status once; `heading` precedes the time of a repeated one. Breaks if the reader has
/// closed the pipe.
async fn show(
    stack: &StackServices,
    observers: &mut [Observer],
    output: OutputFormat,
    heading: Option<&str>,
) -> Result<ControlFlow<()>, CliError> {
    let seen = try_join_all(observers.iter_mut().map(Observer::observe)).await?;
    let unfinished = stack::unfinished(stack)?.map(|it| it.number);
    let fleet = &stack.fleet;
    print_while_read(&match output {
        OutputFormat::Json => {
            let services: Vec<_> = seen.into_iter().map(status::json).collect();
            let object = serde_json::json!({
                "fleet": fleet, "unfinished_deployment": unfinished, "services": services,
            });
            format!("{object}\n")
        }
        OutputFormat::Text => text(seen, fleet, unfinished, heading),
    })
}

fn text(
    seen: Vec<ServiceStatus>,
    fleet: &str,
    unfinished: Option<DeploymentNumber>,
    heading: Option<&str>,
) -> String {
    let mut text = String::new();
    let is_running = seen.iter().any(|seen| seen.holder.is_some());
    if let (Some(clear), Some(first)) = (heading, seen.first()) {
        let time = LocalClock::local().day_and_time(first.now);
        // Writing to a string does not fail.
        let _ = write!(text, "{clear}{fleet}, {time}\n\n");
    }
    for (index, seen) in seen.into_iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let service = seen.status.service.clone();
        let _ = write!(text, "{gap}service {service}\n{}", status::text(seen));
    }
    let _ = match unfinished {
        Some(number) if is_running => writeln!(text, "\ndeployment {number} is running"),
        Some(number) => writeln!(
            text,
            "\ndeployment {number} is not finished: `ship resume` continues, `ship abort` undoes it"
        ),
        None => Ok(()),
    };
    text
}
